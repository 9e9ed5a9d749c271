"""A clock that stands still until a test moves it."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from typing import Final

TURNS: Final = 100
"""How often the event loop turns for those who were woken, before time goes on."""


class FakeClock:
    """A `Clock` for ``Dendrite(clock=…)``: heartbeats come, and are missed, when the test says so.

    Args:
        now: The time at the beginning.
    """

    def __init__(self, now: float = 0.0) -> None:
        self._now = now
        self._order = itertools.count()
        # By time, then first come, first served.
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> float:
        """Return the time in seconds."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Return when `advance` has come so far; at once, if that is no later than now."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._order), woken))
        await woken

    async def advance(self, seconds: float) -> None:
        """Let time pass: wake every sleeper whose time comes, in order, and let it run.

        Whoever sleeps again is woken again, if that is due in the same time. Only what is ready to run is
        waited for: who goes on to wait for a socket or a thread is not.

        Raises:
            ValueError: Time does not go backwards.
        """
        if seconds < 0:
            raise ValueError(f"time does not go backwards: {seconds!r}")
        until = self._now + seconds
        await _settle()
        while self._sleepers and self._sleepers[0][0] <= until:
            time, _, woken = heapq.heappop(self._sleepers)
            if woken.done():
                continue  # It was cancelled.
            self._now = max(self._now, time)
            woken.set_result(None)
            await _settle()
        self._now = max(self._now, until)


async def _settle() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)
