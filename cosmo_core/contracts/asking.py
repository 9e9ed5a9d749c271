"""The short form of work: the types of ``ask``, ``stream``, ``map`` and ``race``, and the stream of texts."""

from __future__ import annotations

import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable
from contextlib import aclosing
from typing import Any, Final, Literal, Protocol, Self, TypeVar, Unpack, overload

from cosmo_core.contracts.axon import Axon, CallableAxon
from cosmo_core.contracts.options import AskOptions, StreamOptions
from cosmo_core.contracts.pathway import Pathway
from cosmo_core.contracts.task_context import within_task
from cosmo_core.errors import LifecycleError

T = TypeVar("T")

CONCURRENCY: Final = 8
"""The default number of TASKs of a ``map`` that run at once."""

Target = str | Axon | None
"""The id of a Neuron, or its Axon; None where capabilities select it."""

TypedAxon = CallableAxon[..., Any, T]
"""What `neuron` makes of a function whose output is a ``T``."""


class Stream:
    """The texts of one answer, in the order in which they arrive: ``async for text in stream``.

    After the last text, `output` is the output. Leaving the iteration before stops the TASK. As ``async
    with``, the stream can be left and read on; the end of the block stops the TASK. It can be read once.

    Raises:
        RemoteError: The answer is an ERROR; raised after the last text.
        QuestionError: The Neuron asks a question.
        TimeoutError: No answer within the time limit.
        LifecycleError: The stream was read or left before.
        CosmoError: Any error that `Dendrite.dispatch` raises.
    """

    def __init__(
        self, open: Callable[[], Awaitable[Pathway]], timeout_s: float | None, convert: Callable[[Any], Any]
    ) -> None:
        self._open = open
        self._timeout_s = timeout_s
        self._convert = convert
        self._output: list[Any] = []
        # Weak, so that the iteration ends when its reader leaves, also where the stream has a name.
        self._texts: Callable[[], AsyncGenerator[str] | None] | None = None
        self._held: AsyncGenerator[str] | None = None

    async def _read(self) -> AsyncGenerator[str]:
        timeout_s = within_task(self._timeout_s)
        try:
            async with await self._open() as pathway, aclosing(pathway.text(timeout_s)) as texts:
                async for text in texts:
                    yield text
                self._output.append(self._convert(await pathway.result()))
        finally:
            self._held = None

    def _iteration(self) -> AsyncGenerator[str] | None:
        """Return the one iteration, which begins with the first call; None after it was left."""
        if self._texts is not None:
            return self._texts()
        texts = self._read()
        self._texts = weakref.ref(texts)
        return texts

    @property
    def output(self) -> Any:
        """The output of the Neuron.

        Raises:
            LifecycleError: The stream was not read to its end.
        """
        if not self._output:
            raise LifecycleError("the stream has no output yet: read all of its texts first")
        return self._output[0]

    def __aiter__(self) -> AsyncGenerator[str]:
        texts = self._iteration()
        if texts is None:
            raise LifecycleError(
                "the stream was read or left before: read it in one loop, or as `async with` in several"
            )
        return texts

    async def aclose(self) -> None:
        """Stop the TASK if it is not answered."""
        texts = self._iteration()
        self._held = None
        if texts is not None:
            await texts.aclose()

    async def __aenter__(self) -> Self:
        self._held = aiter(self)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


# --- the functions ----------------------------------------------------------------------------------

# Methods of a Dendrite, and what a Neuron gets for the keywords of these names. A Neuron that is a plain
# function gets results in place of awaitables, and a plain iterator of texts, which then has ``output``.


class AskFn(Protocol):
    """``ask``: send a TASK and return the output. In a Neuron that is a plain function, without ``await``.

    When the time limit passes or the caller is cancelled, the worker is sent STOP.

    Args:
        neuron: The id of the Neuron, or its Axon; None to select one by ``capabilities``.
        input: The input: a dictionary, or an object that stands for one, such as a dataclass.
        output_type: Convert the output to this type; by default to that of the Axon, if one is given.
        **options: See `AskOptions`.

    Raises:
        RemoteError: The answer is an ERROR.
        QuestionError: The Neuron asks a question.
        OutputTypeError: The output does not fit ``output_type``.
        TypeError: ``output_type`` cannot be checked; nothing is sent.
        TimeoutError: No answer in time.
        CosmoError: Any other error that `Dendrite.dispatch` raises.
    """

    @overload
    def __call__(
        self, neuron: Target, input: object, *, output_type: type[T], **options: Unpack[AskOptions]
    ) -> Coroutine[Any, Any, T]: ...

    @overload
    def __call__(
        self, neuron: TypedAxon[T], input: object, *, output_type: None = None, **options: Unpack[AskOptions]
    ) -> Coroutine[Any, Any, T]: ...

    @overload
    def __call__(
        self, neuron: str | None, input: object, *, output_type: None = None, **options: Unpack[AskOptions]
    ) -> Coroutine[Any, Any, dict[str, Any]]: ...

    @overload
    def __call__(
        self, neuron: str | None, input: object, *, output_type: Any, **options: Unpack[AskOptions]
    ) -> Coroutine[Any, Any, Any]: ...


class StreamFn(Protocol):
    """``stream``: send a TASK and iterate over the texts of its answer: ``async for text in stream(…)``.

    The stream then has the `Stream.output`. Its Neuron is slowed down while the texts are not read. Arguments
    and errors are those of `AskFn`; see `StreamOptions`.
    """

    def __call__(
        self, neuron: Target, input: object, *, output_type: Any = None, **options: Unpack[StreamOptions]
    ) -> Stream:
        """Send the TASK when the texts are read."""


class MapFn(Protocol):
    """``map``: send a TASK for each input, and return the outputs in the order of the inputs.

    The first exception stops the other TASKs and is raised.

    Args:
        neuron: The id of the Neuron, or its Axon; None to select one by ``capabilities`` for each.
        inputs: The inputs, each as for `AskFn`. Any iterable; it is read as far as TASKs are sent.
        output_type: Convert each output to this type; by default as `AskFn` does.
        concurrency: The number of TASKs at once.
        return_exceptions: Return exceptions in place of outputs, and stop nothing.
        **options: See `AskOptions`; ``timeout_s`` is the time limit of each TASK.

    Raises:
        CosmoError: Any error that `AskFn` raises.
    """

    @overload
    def __call__(
        self,
        neuron: Target,
        inputs: Iterable[object],
        *,
        output_type: type[T],
        concurrency: int = CONCURRENCY,
        return_exceptions: Literal[False] = False,
        **options: Unpack[AskOptions],
    ) -> Coroutine[Any, Any, list[T]]: ...

    @overload
    def __call__(
        self,
        neuron: TypedAxon[T],
        inputs: Iterable[object],
        *,
        output_type: None = None,
        concurrency: int = CONCURRENCY,
        return_exceptions: Literal[False] = False,
        **options: Unpack[AskOptions],
    ) -> Coroutine[Any, Any, list[T]]: ...

    @overload
    def __call__(
        self,
        neuron: str | None,
        inputs: Iterable[object],
        *,
        output_type: Any = None,
        concurrency: int = CONCURRENCY,
        return_exceptions: bool = False,
        **options: Unpack[AskOptions],
    ) -> Coroutine[Any, Any, list[Any]]: ...


class RaceFn(Protocol):
    """``race``: send one input to several Neurons, return the first output, and stop the others.

    Args:
        neurons: The Neurons, each as for `AskFn`.
        input: The input.
        output_type: As for `AskFn`.
        **options: See `AskOptions`.

    Raises:
        ExceptionGroup: All failed; it has their errors in the order of ``neurons``.
    """

    @overload
    def __call__(
        self,
        neurons: Iterable[str | Axon],
        input: object,
        *,
        output_type: type[T],
        **options: Unpack[AskOptions],
    ) -> Coroutine[Any, Any, T]: ...

    @overload
    def __call__(
        self,
        neurons: Iterable[str | Axon],
        input: object,
        *,
        output_type: None = None,
        **options: Unpack[AskOptions],
    ) -> Coroutine[Any, Any, Any]: ...
