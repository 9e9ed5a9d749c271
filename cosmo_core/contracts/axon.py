"""The Axon: gives a Neuron identity, capabilities and validation, and never touches a Synapse."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, Protocol, cast

import msgspec

from cosmo_core.contracts.clarification import AskBack, asked_back, marked
from cosmo_core.contracts.engram import EngramBinding, check_bindings
from cosmo_core.contracts.neuron import AnyNeuronFn, Emit, NeuronFn, invoker, is_streaming, streamer
from cosmo_core.contracts.task_context import begin
from cosmo_core.errors import NeuronError
from cosmo_core.protocol.ids import check_token
from cosmo_core.protocol.signal import Directed, Signal, new_unvalidated
from cosmo_core.protocol.signal_type import SignalType

ContextFetcher = Callable[[str | None], Awaitable[list[Any]]]

logger = logging.getLogger("cosmo_core.contracts.axon")


# Named once: up to Python 3.11, looking up an enum's member costs as much as a call.
_AGENT_OUTPUT: Final = SignalType.AGENT_OUTPUT


class AxonPort(Protocol):
    """What an Axon may ask of whoever hosts it."""

    async def emit(self, task: Signal, signal: Signal) -> None:
        """Send ``signal`` to whoever asked for ``task``."""
        ...

    def error_payload(self, error: Exception, task: Signal) -> dict[str, Any]:
        """Return the payload of the ERROR that tells of an exception no Neuron meant to raise."""
        ...


class Axon:
    """Hosts one Neuron under an address, and turns a TASK into the Signals that answer it.

    Args:
        neuron_id: The address; a token. Several Dendrites may host one id: they share its TASKs.
        neuron_fn: The Neuron.
        capabilities: Tokens that say what it can do, for those who do not know its id.
        version: Of the Neuron; announced, and otherwise not looked at.
        input_type: Any type msgspec can check, such as a TypedDict or a dataclass. A TASK whose input
            does not fit is answered with ERROR ``INPUT_INVALID`` and never reaches the Neuron (P-5.14).
        output_type: The same for the output; ERROR ``OUTPUT_INVALID``. What asks back is no output.
        context_fetcher: Turns the TASK's ``context_ref`` (or None) into the Neuron's ``context``.
        max_concurrency: TASKs that run at once.
        max_backlog: TASKs that wait beyond those; one more is answered with ERROR ``OVERLOADED`` (P-5.11).

    Raises:
        MalformedSignalError: The id or a capability is not a token.
        TypeError: ``neuron_fn`` cannot be called, or ``capabilities`` is one string.
        ValueError: A limit makes no sense.
    """

    def __init__(
        self,
        *,
        neuron_id: str,
        neuron_fn: AnyNeuronFn,
        capabilities: Iterable[str] = (),
        version: str | None = None,
        input_type: Any = None,
        output_type: Any = None,
        context_fetcher: ContextFetcher | None = None,
        engrams: Iterable[EngramBinding] = (),
        max_concurrency: int = 256,
        max_backlog: int = 1024,
    ) -> None:
        if isinstance(capabilities, str):
            raise TypeError(f"capabilities is a list of names, not {capabilities!r}")
        if max_concurrency < 1 or max_backlog < 0:
            raise ValueError(f"Axon {neuron_id!r}: max_concurrency starts at 1 and max_backlog at 0")
        self.neuron_id = check_token("neuron_id", neuron_id)
        # What it needs of memory its host gives it, before anybody calls it.
        self.neuron_fn = cast("NeuronFn", neuron_fn)
        self.capabilities = tuple(check_token("capability", name) for name in capabilities)
        self.version = version
        self.input_type = input_type
        self.output_type = output_type
        self.context_fetcher = context_fetcher
        self.engrams = check_bindings(self.neuron_fn, engrams)
        self.max_concurrency = max_concurrency
        self.max_backlog = max_backlog
        self.directed = Directed(id=neuron_id, type="neuron", capabilities=self.capabilities)
        self._stream = streamer(self.neuron_fn) if is_streaming(self.neuron_fn) else None
        self._invoke = invoker(self.neuron_fn)

    def wrapped(self, wrappers: Iterable[Callable[[NeuronFn], NeuronFn]]) -> Axon:
        """Return a copy of this Axon with its Neuron inside ``wrappers``; the first is the outermost."""
        neuron = self.neuron_fn
        for wrap in reversed(list(wrappers)):
            neuron = wrap(neuron)
        return Axon(
            neuron_id=self.neuron_id,
            neuron_fn=neuron,
            capabilities=self.capabilities,
            version=self.version,
            input_type=self.input_type,
            output_type=self.output_type,
            context_fetcher=self.context_fetcher,
            engrams=self.engrams,
            max_concurrency=self.max_concurrency,
            max_backlog=self.max_backlog,
        )

    @property
    def runs_in_loop(self) -> bool:
        """Whether the Neuron runs in the event loop, and could block it; a plain function has a thread."""
        return self._stream is not None or self._invoke is self.neuron_fn

    async def answer(self, task: Signal, port: AxonPort, deadline: float | None = None) -> Signal:
        """Run the Neuron on ``task`` and return the Signal that ends it.

        That is AGENT_OUTPUT, or CLARIFICATION or PERMISSION if the Neuron asks back, or ERROR. Nothing but
        cancellation is raised: whatever else goes wrong is in the ERROR. Call it in an asyncio task of its
        own: `current_task` answers from there on.

        Args:
            task: The TASK.
            port: What the Axon may ask of its host.
            deadline: From when on the answer is of no use, by `time.monotonic`.
        """
        begin((task, self.neuron_id, deadline))
        input: dict[str, Any] = task.payload["input"]
        context: list[Any] = []
        try:
            if self.input_type is not None:
                _check("INPUT_INVALID", f"the input of Neuron {self.neuron_id!r}", input, self.input_type)
            if self.context_fetcher is not None:
                context = await self.context_fetcher(task.payload.get("context_ref"))
            if self._stream is None:
                return self._answered(task, await self._invoke(input, context))
            return self._answered(task, await self._stream(input, context, _deltas(task, port)))
        except NeuronError as error:
            return error_reply(task, error.code, str(error), recoverable=error.recoverable)
        except Exception as error:
            logger.exception("Neuron %r failed on %s", self.neuron_id, task.id)
            return task.reply(SignalType.ERROR, port.error_payload(error, task))

    def _answered(self, task: Signal, output: Any) -> Signal:
        payload = {"output": output}
        if isinstance(output, dict):
            # Three look-ups are cheaper than one call.
            if "__clarification__" in output or "__permission__" in output or "__error__" in output:
                request = marked(output)
                if request is not None:
                    return asked_back(task, self.neuron_id, request)
        elif isinstance(output, AskBack):
            return asked_back(task, self.neuron_id, output)
        elif output is None:
            raise NeuronError(f"Neuron {self.neuron_id!r} returned nothing", code="OUTPUT_INVALID")
        else:
            payload = {"output": {"value": output}}
        if self.output_type is not None:
            _check("OUTPUT_INVALID", f"the output of Neuron {self.neuron_id!r}", output, self.output_type)
        return new_unvalidated(_AGENT_OUTPUT, payload, task.trace_id, task.id, task.directed)

    def __repr__(self) -> str:
        return f"<Axon {self.neuron_id!r} {list(self.capabilities)}>"


def _deltas(task: Signal, port: AxonPort) -> Emit:
    seq = itertools.count()

    async def emit(delta: str) -> None:
        await port.emit(task, task.reply(SignalType.THOUGHT_DELTA, {"delta": delta, "seq": next(seq)}))

    return emit


def error_reply(task: Signal, code: str, message: str, *, recoverable: bool) -> Signal:
    """Return the ERROR that answers ``task``."""
    return task.reply(SignalType.ERROR, {"code": code, "message": message, "recoverable": recoverable})


def _check(code: str, what: str, value: Any, type: Any) -> None:
    try:
        msgspec.convert(value, type)
    except msgspec.ValidationError as error:
        raise NeuronError(f"{what} is wrong: {error}", code=code) from None
