"""The time by which a Dendrite announces itself and counts others as gone."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Monotonic time, and a way to wait for it to pass."""

    def now(self) -> float:
        """Return the time in seconds, from any beginning."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return when so many seconds have passed."""
        ...


class SystemClock:
    """The system's monotonic time."""

    # The function itself: a method around it would cost as much again, for every TASK.
    now = staticmethod(time.monotonic)

    async def sleep(self, seconds: float) -> None:
        """Return when so many seconds have passed."""
        await asyncio.sleep(seconds)
