"""A bus that a state machine drives from a thread of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from cosmo_core.testing.synapses.network import Network, running

if TYPE_CHECKING:
    from concurrent.futures import Future

    from cosmo_core.testing.synapses.subject import SynapseUnderTest

T = TypeVar("T")
_Job = tuple[Coroutine[Any, Any, Any], "asyncio.Future[Any]"]


class Session:
    """Runs a bus, and what it is given on it, all in one task of an event loop.

    One task, because whoever supplies the bus may hold time limits and task groups open around it.
    Every method is called from another thread than the loop's.

    Args:
        under_test: What supplies the bus.
        loop: The event loop.
    """

    def __init__(self, under_test: SynapseUnderTest, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._jobs: asyncio.Queue[_Job | None] = asyncio.Queue()
        self._started: Future[Network] = asyncio.run_coroutine_threadsafe(self._start(under_test), loop)
        self.network = self._started.result()

    async def _start(self, under_test: SynapseUnderTest) -> Network:
        ready: asyncio.Future[Network] = self._loop.create_future()
        self._serving = asyncio.ensure_future(self._serve(under_test, ready))
        # If the bus does not start, that is the outcome.
        self._serving.add_done_callback(lambda serving: _pass_on(serving, ready))
        return await ready

    async def _serve(self, under_test: SynapseUnderTest, ready: asyncio.Future[Network]) -> None:
        async with running(under_test) as (network, _):
            ready.set_result(network)
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
        """Close every peer, and the bus."""

        async def end() -> None:
            await self._jobs.put(None)
            await self._serving

        asyncio.run_coroutine_threadsafe(end(), self._loop).result()


def _pass_on(serving: asyncio.Task[None], ready: asyncio.Future[Network]) -> None:
    if not ready.done() and (error := serving.exception()) is not None:
        ready.set_exception(error)
