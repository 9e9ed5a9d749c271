"""The cost of a round trip through the ZeroMQ hub over an echo between two bare sockets."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

from tests.bench.cross_process import IN_FLIGHT, Opener, RoundTripper, compare, dispatching
from tests.bench.report import Figure, Pair
from tests.bench.subprocesses import command, script
from tests.bench.zmq_echo import caller

_ANY_PORT: Final = "//127.0.0.1:*"


def figures(scale: float) -> Iterator[Figure]:
    """Yield each form of the bus, one TASK at a time and a hundred in flight."""
    rounds = max(3, int(9 * scale))
    # The target is for two processes: a hub in a third one has to be woken twice per round trip.
    forms: list[tuple[str, Opener, Opener, bool]] = [
        ("2 processes, ipc", _with_hub_inside, partial(_bare, "ipc"), True),
        ("hub in a third process, tcp", _with_hub_outside, partial(_bare, "tcp"), False),
    ]
    for form, ours, bare, promised in forms:
        for name, at_once, trips, target in (
            ("sequential", 1, 2_000, "≥ 0.4"),
            (f"{IN_FLIGHT} in flight", IN_FLIGHT, 10_000, "≥ 0.35"),
        ):
            yield Figure(
                name=f"zmq: {name}, {form}",
                unit="/s",
                against="bare DEALER-ROUTER echo",
                measure=partial(_measure, ours, bare, max(1, int(trips * scale)), at_once, rounds),
                target=target if promised else "",
            )


def _measure(ours: Opener, bare: Opener, trips: int, at_once: int, rounds: int) -> Pair:
    return asyncio.run(compare(ours, bare, trips, at_once, rounds))


@asynccontextmanager
async def _with_hub_inside() -> AsyncIterator[RoundTripper]:
    """Start a bus with the hub embedded in this process, which connects first."""
    with tempfile.TemporaryDirectory() as folder:
        async with dispatching(f"zmq+ipc://{Path(folder, 'bus')}?hub=auto") as trips:
            yield trips


@asynccontextmanager
async def _with_hub_outside() -> AsyncIterator[RoundTripper]:
    """Start a bus with the hub in a separate process."""
    hub = (sys.executable, "-m", "cosmo_synapse_zmq", "hub", "zmq://127.0.0.1:0")
    async with command(*hub) as url, dispatching(url) as trips:
        yield trips


@asynccontextmanager
async def _bare(transport: str) -> AsyncIterator[RoundTripper]:
    """Start an echo between two sockets over the same transport."""
    with tempfile.TemporaryDirectory() as folder:
        where = f"ipc://{Path(folder, 'echo')}" if transport == "ipc" else f"tcp:{_ANY_PORT}"
        async with script("zmq_echo.py", where) as endpoint, caller(endpoint) as trips:
            yield trips
