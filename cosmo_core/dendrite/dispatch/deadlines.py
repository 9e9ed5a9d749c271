"""The deadlines of a Dendrite: time limits of waits, on one timer of the event loop."""

from __future__ import annotations

import asyncio
from asyncio import current_task
from collections import OrderedDict
from heapq import heapify, heappop, heappush
from types import TracebackType
from typing import Final, Self

from cosmo_core.arguments import check_wait
from cosmo_core.dendrite.life_cycle import foreign_loop

# A power of two: times are then rounded to slots, and slots converted to times, without an error.
SLOTS_PER_S: Final = 128
"""Slots in a second, for which deadlines share a bucket."""

RESOLUTION_S: Final = 1 / SLOTS_PER_S
"""Seconds that a deadline may fire late; it never fires early."""

MAX_EXPIRED: Final = 32
"""The number of deadlines that expire in one turn of the event loop; the others expire in the next turns."""

_SPARE_SLOTS: Final = 64


class Deadlines:
    """The deadlines of one Dendrite, on a single timer of the event loop.

    A timer per wait would cost several times as much as the wait, and nearly all of them are cancelled. The
    deadlines of one slot of `RESOLUTION_S` share a bucket, and a heap orders the slots. So adding, discarding
    and expiring a deadline cost the same however many others there are.

    Attributes:
        loop: The event loop. Stored: up to Python 3.11 every lookup of the running one is a system call.
        buckets: The open deadlines by slot, in the order in which `add_bucket` checks whether there are any.
    """

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self.buckets: OrderedDict[int, set[Deadline]] = OrderedDict()
        # A heap that has each slot with a bucket, and some whose bucket was removed.
        self._slots: list[int] = []
        # Set for the first slot of the heap, or earlier.
        self._timer: asyncio.TimerHandle | None = None

    @property
    def open(self) -> int:
        """The number of deadlines that neither expired nor were discarded."""
        return sum(map(len, self.buckets.values()))

    def time_limit(self, timeout_s: float | None) -> Deadline:
        """Return a context that raises TimeoutError after ``timeout_s`` seconds; None for no limit."""
        check_wait(timeout_s)
        return Deadline(self, timeout_s)

    def add_bucket(self, slot: int, loop: asyncio.AbstractEventLoop) -> set[Deadline]:
        """Make the bucket of a slot; the deadlines that are in it when the slot has passed expire."""
        buckets, slots = self.buckets, self._slots
        # Two others are checked for each new bucket, so at most about half of all are empty.
        for _ in range(min(2, len(buckets))):
            other = next(iter(buckets))
            if buckets[other]:
                buckets.move_to_end(other)
            else:
                del buckets[other]
        bucket = buckets[slot] = set()
        heappush(slots, slot)
        if slots[0] == slot:
            self._arm(loop)
        if len(slots) > 2 * len(buckets) + _SPARE_SLOTS:
            slots[:] = buckets
            heapify(slots)
        return bucket

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
        # At the end of the slot, when all in its bucket are due.
        self._timer = loop.call_at((self._slots[0] + 1) / SLOTS_PER_S, self._fire, loop)

    def _fire(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        current = int(loop.time() * SLOTS_PER_S)
        slots = self._slots
        for _ in range(MAX_EXPIRED):
            if not slots:
                return
            bucket = self.buckets.get(slots[0])
            if not bucket:
                self.buckets.pop(heappop(slots), None)
            elif slots[0] < current:
                bucket.pop().expire()
            else:
                break
        if slots:
            self._arm(loop)

    def close(self) -> None:
        """Cancel the timer, unless a deadline is left."""
        if self._timer is not None and not self.open:
            self._timer.cancel()
            self._timer = None
            self.buckets.clear()
            self._slots.clear()


class Deadline:
    """A context with a time limit: `asyncio.timeout`, on the shared timer.

    Attributes:
        expired: Whether it expired before the context was left.
    """

    __slots__ = ("_bucket", "_cancelling", "_deadlines", "_task", "_timeout_s", "expired")

    # Set where the context is entered with a limit: most of the cost of a deadline is what it sets.
    _bucket: set[Deadline]
    _cancelling: int

    def __init__(self, deadlines: Deadlines, timeout_s: float | None) -> None:
        self.expired = False
        self._deadlines = deadlines
        self._timeout_s = timeout_s
        self._task: asyncio.Task[object] | None = None

    def __enter__(self) -> Self:
        if self._timeout_s is None:
            return self
        deadlines = self._deadlines
        loop = deadlines.loop
        if loop is None:
            loop = deadlines.loop = asyncio.get_running_loop()
        task = self._task = current_task(loop)
        if task is None:
            raise foreign_loop()
        self._cancelling = task.cancelling()
        # Not in a method of `Deadlines`, since that costs a call for every TASK.
        slot = int((loop.time() + self._timeout_s) * SLOTS_PER_S)
        try:
            bucket = deadlines.buckets[slot]
        except KeyError:
            bucket = deadlines.add_bucket(slot, loop)
        self._bucket = bucket
        bucket.add(self)
        return self

    def expire(self) -> None:
        """Cancel the asyncio task that is in the context."""
        if self._task is not None:
            self.expired = True
            self._task.cancel()

    def __exit__(
        self, type: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._task is None:
            return
        if not self.expired:
            self._bucket.discard(self)
        # A cancellation from elsewhere takes precedence over the time limit.
        elif self._task.uncancel() <= self._cancelling and type is asyncio.CancelledError:
            raise TimeoutError from error
