"""Calling handlers: what every Synapse does with a frame that arrived."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cosmo_core.contracts.delivery import FrameHandler

Done = Callable[[int, BaseException | None], None]
"""Called when a handler is done with a frame: with the number that came with it, and what was raised if
anything was."""

logger = logging.getLogger("cosmo_core.contracts.synapse")


class HandlerRunner:
    """Calls one handler, and owns what it works on. What it raises is logged, and disturbs nobody.

    Args:
        name: What the handler subscribes to, for the log.
        handler: The handler.
        done: Called when the handler is done with a frame that it was not done with at once.
    """

    __slots__ = ("_done", "_handler", "_loop", "_name", "_work")

    def __init__(self, name: str, handler: FrameHandler, done: Done) -> None:
        self._name = name
        self._handler = handler
        self._done = done
        self._loop: asyncio.AbstractEventLoop | None = None
        self._work: set[asyncio.Future[None]] = set()

    @property
    def in_flight(self) -> int:
        """How many frames the handler works on."""
        return len(self._work)

    def run(self, frame: bytes, number: int = 0, since: float = 0.0) -> bool:
        """Call the handler; tell whether it is done with the frame: a `Send` for a `Member`.

        If it is not, ``done`` is called later from the event loop, once, with ``number``.
        """
        try:
            result = self._handler(frame)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - logged when it is told of
            # Whatever the handler's own calls came to, the publisher is not to end for it.
            result = _failed(error)
        if result is None:
            return True
        work = result if isinstance(result, asyncio.Future) else self._begin(result)
        self._work.add(work)
        work.add_done_callback(lambda work: self._end(work, number))
        return False

    def _begin(self, result: Awaitable[None]) -> asyncio.Future[None]:
        loop = self._loop
        if loop is None:
            # Asked for once: up to Python 3.11 every question is a system call.
            loop = self._loop = asyncio.get_running_loop()
        return loop.create_task(_finish(result))

    def _end(self, work: asyncio.Future[None], number: int) -> None:
        self._work.discard(work)
        if work.cancelled():
            self._done(number, asyncio.CancelledError("the handler was cancelled"))
            return
        error = work.exception()
        if error is not None:
            logger.error("the handler of %s failed", self._name, exc_info=error)
        self._done(number, error)

    async def drain(self) -> None:
        """Return when the handler is done with all that it works on."""
        while others := self._work_of_others():
            await asyncio.wait(others)

    async def close(self) -> None:
        """Cancel what the handler works on, and return when that has ended."""
        # What was handed over only just now begins first: what never began cannot clean up after itself.
        await asyncio.sleep(0)
        others = self._work_of_others()
        for work in others:
            work.cancel()
        if others:
            await asyncio.wait(others)

    def _work_of_others(self) -> set[asyncio.Future[None]]:
        # A handler may be what closes its own Synapse: it cannot wait for itself.
        return self._work - {asyncio.current_task()}


def _failed(error: BaseException) -> asyncio.Future[None]:
    work: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    if isinstance(error, asyncio.CancelledError):
        work.cancel()
    else:
        work.set_exception(error)
    return work


async def _finish(result: Awaitable[None]) -> None:
    await result
