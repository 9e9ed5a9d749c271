"""Waiting for what tells nobody when it happens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def until(holds: Callable[[], bool], *, within_s: float = 20) -> None:
    """Return once ``holds`` is true.

    Raises:
        TimeoutError: It was not in time.
    """
    async with asyncio.timeout(within_s):
        while not holds():  # noqa: ASYNC110 - counters have no event
            await asyncio.sleep(0.01)
