"""A context that a state machine works in, from a thread of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future
    from contextlib import AbstractAsyncContextManager

T = TypeVar("T")
Given = TypeVar("Given")
_Job = tuple[Coroutine[Any, Any, Any], "asyncio.Future[Any]"]


class Session(Generic[Given]):
    """Enters a context, and runs what it is given inside it, all in one task of an event loop.

    One task, because the context may hold time limits and task groups open. Every method is called from
    another thread than the loop's.

    Args:
        context: The context.
        loop: The event loop.

    Attributes:
        given: What the context gives.
    """

    def __init__(self, context: AbstractAsyncContextManager[Given], loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._jobs: asyncio.Queue[_Job | None] = asyncio.Queue()
        started: Future[Given] = asyncio.run_coroutine_threadsafe(self._start(context), loop)
        self.given = started.result()

    async def _start(self, context: AbstractAsyncContextManager[Given]) -> Given:
        ready: asyncio.Future[Given] = self._loop.create_future()
        self._serving = asyncio.ensure_future(self._serve(context, ready))
        # If the context cannot be entered, that is the outcome.
        self._serving.add_done_callback(lambda serving: _pass_on(serving, ready))
        return await ready

    async def _serve(self, context: AbstractAsyncContextManager[Given], ready: asyncio.Future[Given]) -> None:
        async with context as given:
            ready.set_result(given)
            while (job := await self._jobs.get()) is not None:
                work, outcome = job
                try:
                    outcome.set_result(await work)
                except Exception as error:  # noqa: BLE001 - it is raised where the work was given
                    outcome.set_exception(error)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run one coroutine, and return what it does."""

        async def give() -> T:
            outcome: asyncio.Future[T] = self._loop.create_future()
            await self._jobs.put((work, outcome))
            return await outcome

        return asyncio.run_coroutine_threadsafe(give(), self._loop).result()

    def close(self) -> None:
        """Leave the context."""

        async def end() -> None:
            await self._jobs.put(None)
            await self._serving

        asyncio.run_coroutine_threadsafe(end(), self._loop).result()


def _pass_on(serving: asyncio.Task[None], ready: asyncio.Future[Any]) -> None:
    if not ready.done() and (error := serving.exception()) is not None:
        ready.set_exception(error)
