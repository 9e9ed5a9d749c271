"""Clocks for tests: one that a test moves, and an event loop in virtual time."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import selectors
from typing import Final

TURNS: Final = 100
"""Turns of the event loop that woken sleepers get before time continues."""


class FakeClock:
    """A `Clock` for ``Dendrite(clock=…)`` that only a test advances.

    Heartbeats are sent, and missed, when the test says so.

    Args:
        now: The initial time in seconds.
    """

    def __init__(self, now: float = 0.0) -> None:
        self._now = now
        self._order = itertools.count()
        # By time, then in the order of the calls.
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> float:
        """Return the time in seconds."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Return when `advance` has reached that time; at once if ``seconds`` is not positive."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._order), woken))
        await woken

    async def advance(self, seconds: float) -> None:
        """Advance the time: wake every sleeper whose time comes, in order, and let it run.

        A task that sleeps again is woken again if its time comes within ``seconds``. A woken task that waits
        for a socket or a thread is not waited for.

        Raises:
            ValueError: ``seconds`` is negative.
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


class _Jumping(selectors.DefaultSelector):
    """A selector that advances its clock instead of waiting, if there is a time to wait for."""

    def __init__(self, turn_s: float) -> None:
        super().__init__()
        self.now = 0.0
        self._turn_s = turn_s

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.now += self._turn_s
        if timeout is None:
            return super().select()
        ready = super().select(0)
        if not ready and timeout > 0:
            self.now += timeout
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop in which timeouts, sleeps and heartbeats pass at once, in their order.

    It is for code inside one process. A task that waits for a socket, a thread or another process sees its
    timeouts expire before the answer arrives.

    Args:
        turn_s: Seconds that pass with every turn of the loop. With 0, a task that polls without a pause stops
            the time.
    """

    def __init__(self, turn_s: float = 0.0) -> None:
        self._jumping = _Jumping(turn_s)
        super().__init__(self._jumping)

    def time(self) -> float:
        """Return the virtual time in seconds, from 0 on."""
        return self._jumping.now

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Wait for the threads of the default executor without a time limit, which would pass at once."""
        await super().shutdown_default_executor()
