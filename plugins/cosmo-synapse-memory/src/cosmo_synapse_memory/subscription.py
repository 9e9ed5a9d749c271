"""One subscription: calls its handler, and bounds how much of its work may be unfinished."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cosmo_core.routing import SubjectTable
    from cosmo_core.synapse import FrameHandler

logger = logging.getLogger("cosmo_synapse_memory")


class MemorySubscription:
    """Delivers to one handler.

    A handler that is done at once costs a call. One that returns an awaitable may have ``max_in_flight`` of
    them unfinished; ``max_pending`` further frames wait, and beyond those the oldest is given up and counted.
    A queue group is different: a frame goes to a member with room, and the publisher waits if there is none.

    Attributes:
        dropped: How many frames were given up.
        closed: Whether it was unsubscribed.
    """

    __slots__ = (
        "_handler",
        "_home",
        "_in_flight",
        "_max_in_flight",
        "_max_pending",
        "_pattern",
        "_pending",
        "_room",
        "_table",
        "closed",
        "dropped",
    )

    def __init__(
        self,
        table: SubjectTable[MemorySubscription],
        home: set[MemorySubscription],
        pattern: str,
        handler: FrameHandler,
        *,
        max_in_flight: int,
        max_pending: int,
    ) -> None:
        self.dropped = 0
        self.closed = False
        self._table = table
        self._home = home
        self._pattern = pattern
        self._handler = handler
        self._max_in_flight = max_in_flight
        self._max_pending = max_pending
        self._in_flight: set[asyncio.Task[None]] = set()
        self._pending: deque[bytes] = deque()
        self._room: asyncio.Event | None = None

    @property
    def full(self) -> bool:
        """Whether one more frame would push out another."""
        return len(self._pending) >= self._max_pending and len(self._in_flight) >= self._max_in_flight

    async def room(self) -> None:
        """Return when this subscription may take a frame again."""
        if self._room is None:
            self._room = asyncio.Event()
        await self._room.wait()

    def deliver(self, frame: bytes) -> None:
        """Hand ``frame`` to the handler, now or when there is room."""
        if self.closed:
            return
        if len(self._in_flight) >= self._max_in_flight:
            self._hold(frame)
            return
        try:
            result = self._handler(frame)
        except Exception:
            logger.exception("the handler of %s failed", self._pattern)
            return
        if result is not None:
            work = asyncio.get_running_loop().create_task(self._finish(result))
            self._in_flight.add(work)
            work.add_done_callback(self._done)

    def _hold(self, frame: bytes) -> None:
        if len(self._pending) >= self._max_pending:
            self._pending.popleft()
            self.dropped += 1
            if self.dropped == 1:
                logger.warning("the handler of %s is too slow; its oldest frames are dropped", self._pattern)
        self._pending.append(frame)

    async def _finish(self, result: Awaitable[None]) -> None:
        try:
            await result
        except Exception:
            logger.exception("the handler of %s failed", self._pattern)

    def _done(self, work: asyncio.Task[None]) -> None:
        self._in_flight.discard(work)
        if self._pending:
            self.deliver(self._pending.popleft())
        if self._room is not None and not self.full:
            self._room.set()
            self._room = None

    async def unsubscribe(self) -> None:
        """Deliver nothing more. What the handler works on goes on; doing it twice is not an error."""
        self.closed = True
        self._home.discard(self)
        self._table.remove(self._pattern, self)
        self._pending.clear()
        if self._room is not None:
            self._room.set()
            self._room = None

    async def close(self) -> None:
        """Unsubscribe, and cancel what the handler still works on."""
        await self.unsubscribe()
        # What was handed over only just now begins first: what never began cannot clean up after itself.
        await asyncio.sleep(0)
        for work in self._in_flight:
            work.cancel()
        current = asyncio.current_task()
        others = [work for work in self._in_flight if work is not current]
        if others:
            await asyncio.wait(others)
