"""Every deadline of a Dendrite behind one timer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Final

RESOLUTION_S: Final = 0.01
"""Deadlines are kept to this grain: never early, at most this much late."""


class Deadlines:
    """Fails futures that are not done in time.

    A timer of the event loop costs several times what waiting for an answer does, and nearly every one of
    them is cancelled. So deadlines go into buckets, one for each tick, and one timer serves them all.
    """

    def __init__(self) -> None:
        self._buckets: dict[int, set[asyncio.Future[Any]]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._armed_for = 0

    def add(self, future: asyncio.Future[Any], timeout_s: float) -> Callable[[], None]:
        """Fail ``future`` with TimeoutError after ``timeout_s`` seconds; call the result to call it off."""
        loop = future.get_loop()
        tick = int((loop.time() + timeout_s) / RESOLUTION_S) + 1
        bucket = self._buckets.get(tick)
        if bucket is None:
            bucket = self._buckets[tick] = set()
            if self._timer is None or tick < self._armed_for:
                self._arm(loop, tick)
        bucket.add(future)
        return partial(self._discard, tick, future)

    def _discard(self, tick: int, future: asyncio.Future[Any]) -> None:
        bucket = self._buckets.get(tick)
        if bucket is not None:
            bucket.discard(future)
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
            for future in self._buckets.pop(tick):
                if not future.done():
                    future.set_exception(TimeoutError())
        if self._buckets:
            self._arm(loop, min(self._buckets))

    def close(self) -> None:
        """Forget every deadline."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._buckets.clear()
