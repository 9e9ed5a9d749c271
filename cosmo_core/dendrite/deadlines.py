"""Every deadline of a Dendrite behind one timer."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Final, Self

RESOLUTION_S: Final = 0.01
"""Deadlines are kept to this grain: never early, at most this much late."""


class Deadlines:
    """Ends what is not done in time.

    A timer of the event loop costs several times what waiting for an answer does, and nearly every one of
    them is cancelled. So deadlines go into buckets, one for each tick, and one timer serves them all.
    """

    def __init__(self) -> None:
        self._buckets: dict[int, set[Deadline]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._armed_for = 0

    def within(self, timeout_s: float | None) -> Deadline:
        """Return a context that raises TimeoutError when it takes longer than ``timeout_s`` seconds."""
        return Deadline(self, timeout_s)

    def add(self, deadline: Deadline, timeout_s: float) -> int:
        """Let ``deadline`` expire after ``timeout_s`` seconds; return the tick to `discard` it from."""
        loop = asyncio.get_running_loop()
        tick = int((loop.time() + timeout_s) / RESOLUTION_S) + 1
        bucket = self._buckets.get(tick)
        if bucket is None:
            bucket = self._buckets[tick] = set()
            if self._timer is None or tick < self._armed_for:
                self._arm(loop, tick)
        bucket.add(deadline)
        return tick

    def discard(self, tick: int, deadline: Deadline) -> None:
        """Call off a deadline, if it has not expired."""
        bucket = self._buckets.get(tick)
        if bucket is not None:
            bucket.discard(deadline)
            if not bucket:
                del self._buckets[tick]

    def _arm(self, loop: asyncio.AbstractEventLoop, tick: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._armed_for = tick
        self._timer = loop.call_at(tick * RESOLUTION_S, self._fire, loop)

    def _fire(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        # At least the tick it was set for: dividing the time may round to just below it.
        now = max(int(loop.time() / RESOLUTION_S), self._armed_for)
        for tick in [tick for tick in self._buckets if tick <= now]:
            for deadline in self._buckets.pop(tick):
                deadline.expire()
        if self._buckets:
            self._arm(loop, min(self._buckets))

    def close(self) -> None:
        """Forget every deadline."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._buckets.clear()


class Deadline:
    """A context that must be left in time: `asyncio.timeout`, on the shared timer.

    Attributes:
        expired: Whether the time was up before the context was left.
    """

    __slots__ = ("_cancelling", "_deadlines", "_task", "_tick", "_timeout_s", "expired")

    def __init__(self, deadlines: Deadlines, timeout_s: float | None) -> None:
        self.expired = False
        self._deadlines = deadlines
        self._timeout_s = timeout_s
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._tick = 0

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        if self._timeout_s is not None and task is not None:
            self._task = task
            self._cancelling = task.cancelling()
            self._tick = self._deadlines.add(self, self._timeout_s)
        return self

    def expire(self) -> None:
        """Interrupt whoever is inside."""
        if self._task is not None:
            self.expired = True
            self._task.cancel()

    def __exit__(
        self, type: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._task is None:
            return
        if not self.expired:
            self._deadlines.discard(self._tick, self)
        # Only if nobody else cancelled the task too: that would have to be obeyed.
        elif self._task.uncancel() <= self._cancelling and type is asyncio.CancelledError:
            raise TimeoutError from error
