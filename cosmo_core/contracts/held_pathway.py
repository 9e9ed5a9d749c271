"""The Pathway for readers who would rather slow a Neuron down than miss what it says."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

from cosmo_core.contracts.pathway import Pathway, PathwayOwner
from cosmo_core.protocol.signal import Signal
from cosmo_core.protocol.signal_type import SignalType


class HeldPathway(Pathway):
    """A Pathway that holds its Neuron back while ``buffer`` Signals are unread.

    A Signal is read when every iteration and handler has gone past it; without any, none is read. Whoever
    awaits an answer reads on to it: nothing is held back meanwhile, and `dropped` counts what the buffer then
    gives up.

    How far a Neuron runs ahead until it is held depends on the Synapse, which has limits of its own; one that
    cannot hold back a publisher loses frames instead, and counts them.
    """

    __slots__ = ("_cursors", "_end", "_in_line", "_line", "_loop", "_missed", "_read_to", "_room")

    def __init__(
        self, owner: PathwayOwner, trace_id: str, task_id: str, neuron: str, buffer: int = 1024
    ) -> None:
        super().__init__(owner, trace_id, task_id, neuron, buffer)
        # Counted from the first Signal ever: where each iteration is, and up to where all have read.
        self._cursors: dict[object, int] = {}
        self._read_to = 0
        self._missed = 0
        self._loop = asyncio.get_running_loop()
        self._line = asyncio.Lock()
        self._in_line = 0
        self._room: asyncio.Future[None] | None = None
        self._end: Callable[[], Coroutine[Any, Any, None]] | None = None

    @property
    def dropped(self) -> int:
        """How many Signals the buffer had to give up that somebody had yet to read."""
        return self._missed

    def when_closed(self, end: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run ``end`` in the background once the Pathway is closed, or gone."""
        self._end = end

    def take(self, signal: Signal) -> Awaitable[None] | None:
        """Take a Signal from the Synapse; the awaitable, if there is one, completes when there is room."""
        if self._in_line or self._full:
            self._in_line += 1
            return _take_in_turn(weakref.ref(self), self._line, signal)
        self.deliver(signal)
        return None

    def wait_for_room(self) -> asyncio.Future[None] | None:
        """Return what is done when there may be room; None if there is."""
        self._room = self._loop.create_future() if self._full else None
        return self._room

    def leave_line(self) -> None:
        """Take note that one less Signal waits for room."""
        self._in_line -= 1

    @property
    def _full(self) -> bool:
        if self.closed or self._waiters or self._signals is None:
            return False
        return len(self._signals) >= self._buffer and self._first >= self._read_to

    def _make_room(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def _overflow(self) -> None:
        self._missed += self._first >= self._read_to
        super()._overflow()

    # --- reading ------------------------------------------------------------------------------------

    async def __aiter__(self) -> AsyncIterator[Signal]:
        """Yield every Signal, from the oldest one buffered until the Pathway closes."""
        me, position = object(), self._first
        self._cursors[me] = position
        try:
            while True:
                position = max(position, self._first)
                signals = self._signals
                if signals is not None and position - self._first < len(signals):
                    yield signals[position - self._first]
                    position += 1
                    self._advance(me, position)
                elif self.closed:
                    return
                else:
                    await self._change()
        finally:
            del self._cursors[me]
            self._advance()

    def _advance(self, cursor: object = None, position: int = 0) -> None:
        if cursor is not None:
            self._cursors[cursor] = position
        if self._cursors:
            self._read_to = max(self._read_to, min(self._cursors.values()))
        self._make_room()

    async def _wait(self, wanted: frozenset[SignalType], timeout_s: float | None) -> Signal:
        # Called once this waits: from then on nothing is held back.
        self._loop.call_soon(self._make_room)
        return await super()._wait(wanted, timeout_s)

    def close(self) -> None:
        """Take no more Signals. What is buffered can still be read; closing twice is not an error."""
        super().close()
        self._make_room()
        end, self._end = self._end, None
        if end is not None:
            self._owner.keep(end())

    def __del__(self) -> None:
        super().__del__()
        end, self._end = self._end, None
        if not self.closed and not self._loop.is_closed():
            # A Pathway nobody holds is gone wherever it is collected, maybe in another thread.
            self._loop.call_soon_threadsafe(_let_go, self._owner, self._room, end)


async def _take_in_turn(held: Callable[[], HeldPathway | None], line: asyncio.Lock, signal: Signal) -> None:
    # Without holding the Pathway: one that nobody reads any more has to go, and to let its Neuron go on.
    try:
        async with line:
            while (pathway := held()) is not None and (room := pathway.wait_for_room()) is not None:
                del pathway
                await room
            if pathway is not None:
                pathway.deliver(signal)
    finally:
        if (pathway := held()) is not None:
            pathway.leave_line()


def _let_go(
    owner: PathwayOwner,
    room: asyncio.Future[None] | None,
    end: Callable[[], Coroutine[Any, Any, None]] | None,
) -> None:
    if room is not None and not room.done():
        room.set_result(None)
    if end is not None:
        owner.keep(end())
