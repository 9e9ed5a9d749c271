"""The clock of a Dendrite's heartbeats and expiry."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Monotonic time, and a way to wait for it to pass."""

    def now(self) -> float:
        """Return the time in seconds since an arbitrary start."""

    async def sleep(self, seconds: float) -> None:
        """Return after this many seconds."""


class SystemClock:
    """The system's monotonic time."""

    # The function itself: a method around it would double its cost, for every TASK.
    now = staticmethod(time.monotonic)

    async def sleep(self, seconds: float) -> None:
        """Return after this many seconds."""
        await asyncio.sleep(seconds)
