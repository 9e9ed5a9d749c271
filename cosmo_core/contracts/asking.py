"""The short form of work: the types of ``ask``, ``stream``, ``map`` and ``race``, and the stream of texts."""

from __future__ import annotations

import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable
from contextlib import aclosing
from typing import Any, Literal, Protocol, Self, TypeVar, Unpack, overload

from cosmo_core.contracts.axon import Axon
from cosmo_core.contracts.options import AskOptions, StreamOptions
from cosmo_core.contracts.pathway import Pathway
from cosmo_core.contracts.task_context import within_task
from cosmo_core.errors import LifecycleError

T = TypeVar("T")


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

    def _begin(self) -> AsyncGenerator[str]:
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
        texts = self._begin() if self._texts is None else self._texts()
        if texts is None:
            raise LifecycleError(
                "the stream was read or left before: read it in one loop, or as `async with` in several"
            )
        return texts

    async def aclose(self) -> None:
        """Stop the TASK if it is not answered."""
        texts = self._begin() if self._texts is None else self._texts()
        self._held = None
        if texts is not None:
            await texts.aclose()

    async def __aenter__(self) -> Self:
        self._held = aiter(self)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


class AskFn(Protocol):
    """The function that a Neuron gets for its keyword ``ask``: `Dendrite.ask`.

    A Neuron that is a plain function gets the output itself, without ``await``.
    """

    @overload
    def __call__(
        self, neuron: str | Axon | None, input: object, *, output_type: type[T], **options: Unpack[AskOptions]
    ) -> Coroutine[Any, Any, T]: ...

    @overload
    def __call__(
        self,
        neuron: str | Axon | None,
        input: object,
        *,
        output_type: None = None,
        **options: Unpack[AskOptions],
    ) -> Coroutine[Any, Any, Any]: ...


class StreamFn(Protocol):
    """The function that a Neuron gets for its keyword ``stream``: `Dendrite.stream`.

    A Neuron that is a plain function gets a plain iterator of texts, which then has ``output``.
    """

    def __call__(
        self,
        neuron: str | Axon | None,
        input: object,
        *,
        output_type: Any = None,
        **options: Unpack[StreamOptions],
    ) -> Stream:
        """Send a TASK and return the texts of its answer."""


class MapFn(Protocol):
    """The function that a Neuron gets for its keyword ``map``: `Dendrite.map`.

    A Neuron that is a plain function gets the list itself, without ``await``.
    """

    @overload
    def __call__(
        self,
        neuron: str | Axon | None,
        inputs: Iterable[object],
        *,
        output_type: type[T],
        concurrency: int = ...,
        return_exceptions: Literal[False] = False,
        **options: Unpack[AskOptions],
    ) -> Coroutine[Any, Any, list[T]]: ...

    @overload
    def __call__(
        self,
        neuron: str | Axon | None,
        inputs: Iterable[object],
        *,
        output_type: Any = None,
        concurrency: int = ...,
        return_exceptions: bool = False,
        **options: Unpack[AskOptions],
    ) -> Coroutine[Any, Any, list[Any]]: ...


class RaceFn(Protocol):
    """The function that a Neuron gets for its keyword ``race``: `Dendrite.race`.

    A Neuron that is a plain function gets the output itself, without ``await``.
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
