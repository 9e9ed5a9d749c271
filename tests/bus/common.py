"""Types of fixtures, and small helpers, that many tests on a bus share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from cosmo_core import Dendrite

Start = Callable[..., Awaitable[Dendrite]]
"""The fixture ``start``: start a Dendrite that hosts the given Neurons."""

WaitUntilIdle = Callable[[Dendrite], Awaitable[None]]
"""The fixture ``wait_until_idle``: wait until a Dendrite has no background tasks."""

Patterns = Callable[[], set[str]]
"""The fixture ``patterns``: return the subscribed patterns."""


async def echo(input: dict[str, Any], context: list[Any]) -> Any:
    """Return the input."""
    return input


async def count(input: dict[str, Any], context: list[Any]) -> AsyncIterator[Any]:
    """Stream the numbers below ``to``, then an object."""
    for number in range(input["to"]):
        yield str(number)
    yield {"response": "done", "meta": {}}


async def run_loop_turns(count: int) -> None:
    """Let the event loop run ``count`` turns."""
    for _ in range(count):
        await asyncio.sleep(0)
