"""Waiting for conditions that have no event."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def wait_until(condition: Callable[[], bool], *, within_s: float = 20) -> None:
    """Wait until ``condition`` is true.

    Raises:
        TimeoutError: It was not true in time.
    """
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - a counter has no event
            await asyncio.sleep(0.01)
