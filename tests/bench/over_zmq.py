"""What a round trip through the ZeroMQ hub costs over an echo between two bare sockets."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

from tests.bench.across import IN_FLIGHT, Opened, Trips, compare, dispatching
from tests.bench.children import command, script
from tests.bench.report import Figure, Pair
from tests.bench.zmq_echo import caller

_ANY_PORT: Final = "//127.0.0.1:*"


def figures(scale: float) -> Iterator[Figure]:
    """Yield each form of the bus, one TASK at a time and a hundred at once."""
    rounds = max(3, int(9 * scale))
    # The reach is that of two processes: a hub in a third one is one more to wake, twice in a round trip.
    forms: list[tuple[str, Opened, Opened, bool]] = [
        ("2 processes, ipc", _with_hub_inside, partial(_bare, "ipc"), True),
        ("hub in a third process, tcp", _with_hub_outside, partial(_bare, "tcp"), False),
    ]
    for form, ours, bare, promised in forms:
        for name, at_once, trips, reach in (
            ("sequential", 1, 2_000, "≥ 0.4"),
            (f"{IN_FLIGHT} in flight", IN_FLIGHT, 10_000, "≥ 0.35"),
        ):
            yield Figure(
                name=f"zmq: {name}, {form}",
                unit="/s",
                against="bare DEALER-ROUTER echo",
                measure=partial(_measure, ours, bare, max(1, int(trips * scale)), at_once, rounds),
                reach=reach if promised else "",
            )


def _measure(ours: Opened, bare: Opened, trips: int, at_once: int, rounds: int) -> Pair:
    return asyncio.run(compare(ours, bare, trips, at_once, rounds))


@asynccontextmanager
async def _with_hub_inside() -> AsyncIterator[Trips]:
    """Open a bus whose hub is carried by this process, which is the first on it."""
    with tempfile.TemporaryDirectory() as folder:
        async with dispatching(f"zmq+ipc://{Path(folder, 'bus')}?hub=auto") as trips:
            yield trips


@asynccontextmanager
async def _with_hub_outside() -> AsyncIterator[Trips]:
    """Open a bus whose hub has a process to itself."""
    hub = (sys.executable, "-m", "cosmo_synapse_zmq", "hub", "zmq://127.0.0.1:0")
    async with command(*hub) as url, dispatching(url) as trips:
        yield trips


@asynccontextmanager
async def _bare(transport: str) -> AsyncIterator[Trips]:
    """Open an echo between two sockets over the same transport."""
    with tempfile.TemporaryDirectory() as folder:
        where = f"ipc://{Path(folder, 'echo')}" if transport == "ipc" else f"tcp:{_ANY_PORT}"
        async with script("zmq_echo.py", where) as endpoint, caller(endpoint) as trips:
            yield trips
