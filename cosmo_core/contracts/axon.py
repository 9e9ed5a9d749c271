"""The Axon: the identity, capabilities, limits and validation of one Neuron. It cannot reach a Synapse.

The decorator ``@neuron`` makes one of a function, which can still be called.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from copy import copy as shallow_copy
from functools import update_wrapper
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    Generic,
    ParamSpec,
    Protocol,
    TypedDict,
    TypeVar,
    Unpack,
    cast,
    overload,
)

import msgspec

from cosmo_core.arguments import check_count, check_options
from cosmo_core.contracts.bindings import check_bindings
from cosmo_core.contracts.boundary import logger, must_pass
from cosmo_core.contracts.clarification import AskBack, parse_question, question_reply
from cosmo_core.contracts.neuron import (
    WORK_KEYWORDS,
    AnyNeuronFn,
    Emit,
    NeuronFn,
    check_neuron,
    declared_keywords,
    invoker,
    is_streaming,
    streamer,
)
from cosmo_core.contracts.neuron_types import (
    convert,
    convert_input,
    find_description,
    find_type,
)
from cosmo_core.contracts.task_context import set_current
from cosmo_core.errors import NeuronError
from cosmo_core.protocol.ids import check_token
from cosmo_core.protocol.payloads import MAX_CAPABILITIES, MAX_DESCRIPTION, check_schema_size, without_none
from cosmo_core.protocol.signal import Directed, Signal, new_unvalidated, plain_value
from cosmo_core.protocol.signal_type import SignalType

if TYPE_CHECKING:
    from cosmo_core.contracts.engram import EngramBinding

ContextFetcher = Callable[[str | None], Awaitable[list[Any]]]


# Named once: up to Python 3.11, looking up an enum's member costs as much as a call.
_AGENT_OUTPUT: Final = SignalType.AGENT_OUTPUT
_THOUGHT_DELTA: Final = SignalType.THOUGHT_DELTA
# The types of outputs that are sent as they are, as the value of an object.
_PLAIN: Final = frozenset({str, int, float, bool, list, tuple})


Emitter = Callable[[Signal], Awaitable[object] | None]
"""Sends a Signal; None if it was sent, otherwise what completes it."""


class AxonPort(Protocol):
    """The part of a host that an Axon uses."""

    def emitter(self, task: Signal, type: SignalType) -> Emitter:
        """Return a function that sends Signals of a type to the sender of ``task``."""

    def error_payload(self, error: BaseException, task: Signal) -> dict[str, Any]:
        """Return the payload of the ERROR for an unexpected exception."""


class Axon:
    """Gives one Neuron an id, and turns a TASK into the Signals that answer it.

    Args:
        neuron_id: The id; a token. Several Dendrites may host one id; they share its TASKs.
        neuron_fn: The Neuron.
        capabilities: Tokens by which callers find the Neuron without its id, at most `MAX_CAPABILITIES`.
        version: The version of the Neuron; it is announced only.
        description: What the Neuron does, for `Dendrite.describe_neuron`: at most `MAX_DESCRIPTION`
            characters. By default it is the first paragraph of the docstring.
        input_type: The type of the input: a TypedDict, a dataclass, an attrs class, a msgspec.Struct, a
            pydantic model, or another type of JSON values. The Neuron gets an object of it; a TypedDict is
            the dictionary that came, with its unknown keys. A TASK whose input does not fit is answered with
            ERROR ``INPUT_INVALID`` and never reaches the Neuron (P-5.14). By default it is the annotation of
            the Neuron's first parameter, unless that is ``dict[str, Any]`` or the like. ``Any`` checks
            nothing. A pydantic dataclass is refused, because its validators would not run.
        output_type: The type of the output; one that does not fit becomes ERROR ``OUTPUT_INVALID``. A
            question is not checked. By default it is the annotation of what the Neuron returns, or yields
            beside texts.
        context_fetcher: Turns the TASK's ``context_ref`` (or None) into the Neuron's ``context``.
        engrams: The Engrams that ``recall`` and ``imprint`` of the Neuron reach, by name.
        max_concurrency: The number of TASKs that run at once, and of the threads of a plain function. A
            thread whose TASK was stopped counts until its call returns.
        max_backlog: The number of TASKs that wait beyond those; one more is answered with ERROR
            ``OVERLOADED`` (P-5.11).

    Raises:
        MalformedSignalError: The id or a capability is not a token.
        TypeError: ``neuron_fn`` cannot be called with (input, context), the type of its input or output
            cannot be resolved or checked, or another argument has a wrong type.
        ValueError: A limit is out of range, two Engrams are bound to one name, the description is too long,
            or the JSON Schema of a type is larger than `MAX_SCHEMA_BYTES`.
        EngramNotBound: The Neuron needs ``recall`` or ``imprint``, and ``engrams`` is empty.
    """

    def __init__(
        self,
        *,
        neuron_id: str,
        neuron_fn: AnyNeuronFn,
        capabilities: Iterable[str] = (),
        version: str | None = None,
        description: str | None = None,
        input_type: Any = None,
        output_type: Any = None,
        context_fetcher: ContextFetcher | None = None,
        engrams: Iterable[EngramBinding] = (),
        max_concurrency: int = 256,
        max_backlog: int = 1024,
    ) -> None:
        if isinstance(capabilities, str):
            raise TypeError(f"capabilities is a list of names, not {capabilities!r}")
        if context_fetcher is not None and not callable(context_fetcher):
            raise TypeError(f"context_fetcher is an async function of a reference, not {context_fetcher!r}")
        self.neuron_id = check_token("neuron_id", neuron_id)
        self.capabilities = tuple(check_token("capability", name) for name in capabilities)
        if len(self.capabilities) > MAX_CAPABILITIES:
            given = len(self.capabilities)
            raise ValueError(f"Axon {neuron_id!r} has {given} capabilities, of at most {MAX_CAPABILITIES}")
        self.version = version
        self.context_fetcher = context_fetcher
        self.max_concurrency = check_count("max_concurrency", max_concurrency)
        self.max_backlog = check_count("max_backlog", max_backlog, 0)
        self.directed = Directed(id=neuron_id, type="neuron", capabilities=self.capabilities)
        # Its host adds `recall` and `imprint` before the first call.
        self._set_neuron(cast("NeuronFn", neuron_fn), engrams)
        self.input_type, self.input_schema = find_type(neuron_fn, "input", input_type)
        self.output_type, self.output_schema = find_type(neuron_fn, "output", output_type)
        self.description = find_description(neuron_fn) if description is None else description
        # The part of its REGISTER that is sent on request.
        self.details = without_none(
            description=self.description, input_schema=self.input_schema, output_schema=self.output_schema
        )
        self._check_details()

    def _check_details(self) -> None:
        if not isinstance(self.description, str | None):
            raise TypeError(f"Axon {self.neuron_id!r}: description is a text, not {self.description!r}")
        if (size := len(self.description or "")) > MAX_DESCRIPTION:
            limit = f"of at most {MAX_DESCRIPTION}"
            raise ValueError(f"Axon {self.neuron_id!r}: description has {size} characters, {limit}")
        for name in self.details.keys() - {"description"}:
            check_schema_size(f"Axon {self.neuron_id!r}: {name}", self.details[name])

    def wrapped(self, wrappers: Iterable[Callable[[NeuronFn], NeuronFn]]) -> Axon:
        """Return a copy of this Axon with its Neuron inside ``wrappers``; the first is the outermost."""
        neuron = self.neuron_fn
        for wrap in reversed(list(wrappers)):
            neuron = wrap(neuron)
        copy = shallow_copy(self)
        copy._set_neuron(neuron, self.engrams)
        return copy

    def _set_neuron(self, neuron: NeuronFn, engrams: Iterable[EngramBinding]) -> None:
        check_neuron(neuron)
        self.neuron_fn = neuron
        self.engrams = check_bindings(neuron, engrams)
        self._stream = streamer(neuron) if is_streaming(neuron) else None
        self._invoke = invoker(neuron, self.max_concurrency)

    @property
    def runs_in_loop(self) -> bool:
        """Whether the Neuron runs in the event loop and could block it; a plain function has a thread."""
        return self._stream is not None or self._invoke is self.neuron_fn

    @property
    def work_keywords(self) -> list[str]:
        """Those of ``ask``, ``stream``, ``map`` and ``race`` that the Neuron needs.

        If there are any, the Dendrite that hosts it needs the role of an orchestrator.
        """
        declared = declared_keywords(self.neuron_fn, WORK_KEYWORDS)
        return [name for name, has_default in declared.items() if not has_default]

    async def answer(self, task: Signal, port: AxonPort, deadline: float | None = None) -> Signal:
        """Run the Neuron on ``task`` and return the Signal that ends it.

        It is AGENT_OUTPUT, CLARIFICATION, PERMISSION or ERROR. Every exception becomes an ERROR, except a
        cancellation of the caller, SystemExit and KeyboardInterrupt, which are raised. Call it in an asyncio
        task of its own, which it sets `current_task` for.

        Args:
            task: The TASK.
            port: The part of the host that the Axon uses.
            deadline: The deadline, in seconds of `time.monotonic`; None without one.
        """
        running = [task, self.neuron_id, deadline]
        set_current(running)
        input: dict[str, Any] = task.payload["input"]
        context: list[Any] = []
        try:
            if self.input_type is not None:
                input = self._converted_input(input)
            if self.context_fetcher is not None:
                context = await self.context_fetcher(task.payload.get("context_ref"))
            if self._stream is None:
                return self._answered(task, await self._invoke(input, context))
            return self._answered(task, await self._stream(input, context, _deltas(task, port)))
        except NeuronError as error:
            return error_reply(task, error.code, str(error), recoverable=error.recoverable)
        except BaseException as error:
            if must_pass(error):
                raise
            logger.exception("Neuron %r failed on %s", self.neuron_id, task.id)
            return task.reply(SignalType.ERROR, port.error_payload(error, task))
        finally:
            # Work in the background that outlives the Neuron is not bound by the deadline.
            running[2] = None

    def _answered(self, task: Signal, output: Any) -> Signal:
        payload = {"output": output}
        if isinstance(output, dict):
            # Three lookups are cheaper than one call.
            if "__clarification__" in output or "__permission__" in output or "__error__" in output:
                request = parse_question(output)
                if request is not None:
                    return question_reply(task, self.neuron_id, request)
        elif isinstance(output, AskBack):
            return question_reply(task, self.neuron_id, output)
        elif output is None:
            reason = f"Neuron {self.neuron_id!r} returned nothing; an output may be empty, such as {{}}"
            raise NeuronError(reason, code="OUTPUT_INVALID")
        else:
            if type(output) not in _PLAIN:
                output = self._plain(output)
            # An object such as a dataclass is the output itself.
            payload = {"output": output if isinstance(output, dict) else {"value": output}}
        if self.output_type is not None:
            self._check_output(output)
        return new_unvalidated(_AGENT_OUTPUT, payload, task.trace_id, task.id, task.directed)

    def _converted_input(self, input: dict[str, Any]) -> Any:
        try:
            return convert_input(input, self.input_type)
        except msgspec.ValidationError as error:
            reason = f"the input of Neuron {self.neuron_id!r} is invalid: {error}"
            raise NeuronError(reason, code="INPUT_INVALID") from None

    def _check_output(self, output: Any) -> None:
        try:
            # The values in a dictionary or a list may still be objects.
            convert(self._plain(output), self.output_type)
        except msgspec.ValidationError as error:
            reason = f"the output of Neuron {self.neuron_id!r} is invalid: {error}"
            raise NeuronError(reason, code="OUTPUT_INVALID") from None

    def _plain(self, output: Any) -> Any:
        try:
            return msgspec.to_builtins(output, str_keys=True, enc_hook=plain_value)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            reason = f"the output of Neuron {self.neuron_id!r} cannot be sent as JSON: {error}"
            raise NeuronError(reason, code="OUTPUT_INVALID") from error

    def __repr__(self) -> str:
        return f"<Axon {self.neuron_id!r} {list(self.capabilities)}>"


def _deltas(task: Signal, port: AxonPort) -> Emit:
    seq, send = itertools.count(), port.emitter(task, _THOUGHT_DELTA)

    def emit(delta: str) -> Awaitable[object] | None:
        payload = {"delta": delta, "seq": next(seq)}
        return send(new_unvalidated(_THOUGHT_DELTA, payload, task.trace_id, task.id, task.directed))

    return emit


def error_reply(task: Signal, code: str, message: str, *, recoverable: bool) -> Signal:
    """Make the ERROR that answers ``task``."""
    return task.reply(SignalType.ERROR, {"code": code, "message": message, "recoverable": recoverable})


# --- the decorator ----------------------------------------------------------------------------------

P = ParamSpec("P")
T = TypeVar("T")
R_co = TypeVar("R_co", covariant=True)
O_co = TypeVar("O_co", covariant=True)

AsyncNeuron = Callable[P, Coroutine[Any, Any, T]]
StreamingNeuron = Callable[P, AsyncIterator[T]]


class AxonOptions(TypedDict, total=False):
    """The options of `neuron`, as in `Axon`."""

    capabilities: Iterable[str]
    version: str | None
    description: str | None
    input_type: Any
    output_type: Any
    context_fetcher: ContextFetcher | None
    engrams: Iterable[EngramBinding]
    max_concurrency: int
    max_backlog: int


class CallableAxon(Axon, Generic[P, R_co, O_co]):
    """An Axon that can be called as its function, and whose output is an ``O_co``; `neuron` makes it."""

    def __init__(self, function: Callable[P, R_co], id: str | None, options: AxonOptions) -> None:
        name = getattr(function, "__name__", None) if id is None else id
        if isinstance(function, Axon):
            raise TypeError(f"@neuron makes an Axon of a function, and {function!r} is one already")
        if not callable(function):
            raise TypeError(f"a Neuron is a function or an Axon, not {function!r}; pass several one by one")
        if name is None or name == "<lambda>":
            raise TypeError(f"{function!r} has no name that could be its id: neuron(id=…)(function) sets one")
        check_options("@neuron", options, AxonOptions.__annotations__)
        super().__init__(neuron_id=name, neuron_fn=cast("AnyNeuronFn", function), **options)
        self._function = function
        update_wrapper(self, function, updated=())

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call the function itself, without a bus."""
        return self._function(*args, **kwargs)


StreamingAxon = CallableAxon[P, AsyncIterator[T], dict[str, Any]]


class NeuronDecorator(Protocol):
    """Makes an Axon of a function: what `neuron` with options returns."""

    # The output of an async function is what it returns, and that of an async generator an object.

    @overload
    def __call__(self, function: AsyncNeuron[P, T], /) -> CallableAxon[P, Coroutine[Any, Any, T], T]: ...

    @overload
    def __call__(self, function: StreamingNeuron[P, T], /) -> StreamingAxon[P, T]: ...

    @overload
    def __call__(self, function: Callable[P, T], /) -> CallableAxon[P, T, T]: ...


@overload
def neuron(function: AsyncNeuron[P, T], /) -> CallableAxon[P, Coroutine[Any, Any, T], T]: ...


@overload
def neuron(function: StreamingNeuron[P, T], /) -> StreamingAxon[P, T]: ...


@overload
def neuron(function: Callable[P, T], /) -> CallableAxon[P, T, T]: ...


@overload
def neuron(*, id: str | None = None, **options: Unpack[AxonOptions]) -> NeuronDecorator: ...


def neuron(function: Any = None, /, *, id: str | None = None, **options: Unpack[AxonOptions]) -> Any:
    """Make an Axon of a function: ``@neuron``, or ``@neuron(capabilities=[…])``.

    Args:
        function: The Neuron.
        id: The id; the name of the function by default.
        **options: As for `Axon`.

    Returns:
        The Axon. It can be called as its function.

    Raises:
        TypeError: It is not a function, it has no name and no ``id`` is given, or an option is unknown.
        CosmoError: Any error that `Axon` raises.
    """
    if function is None:
        return lambda function: CallableAxon(function, id, options)
    return CallableAxon(function, id, options)
