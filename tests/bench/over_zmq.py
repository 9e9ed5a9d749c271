"""The cost of round trips and streams through the ZeroMQ hub, over the same with raw pyzmq.

The baselines of the round trips are an echo between two bare sockets, and an echo through a hub in raw pyzmq,
which is in the same process as ours is.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from tests.bench.bus import Bus
from tests.bench.cross_process import (
    IN_FLIGHT,
    Opener,
    RoundTripper,
    compare,
    compare_streams,
    dispatching,
    sending_frames,
)
from tests.bench.report import Figure, Pair
from tests.bench.subprocesses import command, script
from tests.bench.zmq_echo import BODY, Caller, caller, caller_to_hub, caller_with_hub


def figures(scale: float) -> Iterator[Figure]:
    """Yield each form of the bus, one TASK at a time and a hundred in flight, and a stream."""
    rounds = max(3, int(9 * scale))
    echo, through_hub = "bare DEALER-ROUTER echo", "raw pyzmq through a ROUTER hub"
    # The targets are for two processes: a hub in a third one has to be woken twice per round trip.
    forms: list[tuple[str, Opener, str, Opener, tuple[str, str]]] = [
        ("2 processes, ipc", _with_hub_inside, echo, _bare, ("≥ 0.4", "≥ 0.35")),
        (
            "2 processes, hub against hub, ipc",
            _with_hub_inside,
            through_hub,
            _raw_hub_inside,
            ("goal 0.7", "goal 0.6"),
        ),
        # What the Synapse itself costs: the rest is the Dendrites.
        ("frames without Dendrites, 2 processes, ipc", _frames, through_hub, _raw_hub_inside, ("", "")),
        ("hub in a third process, tcp", _with_hub_outside, through_hub, _raw_hub_outside, ("", "")),
    ]
    for form, ours, against, raw, targets in forms:
        for name, at_once, trips, target in (
            ("sequential", 1, 2_000, targets[0]),
            (f"{IN_FLIGHT} in flight", IN_FLIGHT, 10_000, targets[1]),
        ):
            yield Figure(
                name=f"zmq: {name}, {form}",
                unit="/s",
                against=against,
                measure=partial(_measure, ours, raw, max(1, int(trips * scale)), at_once, rounds),
                target=target,
            )
    yield Figure(
        name="zmq: deltas of one stream, 2 processes, ipc",
        unit="/s",
        against=through_hub,
        measure=partial(_measure_stream, max(1, int(10_000 * scale)), rounds),
        target="goal 0.40",
    )


def _measure(ours: Opener, bare: Opener, trips: int, at_once: int, rounds: int) -> Pair:
    return asyncio.run(compare(ours, bare, trips, at_once, rounds))


def _measure_stream(count: int, rounds: int) -> Pair:
    return asyncio.run(compare_streams(_with_hub_inside, _raw_hub_inside, count, rounds))


@asynccontextmanager
async def _with_hub_inside() -> AsyncIterator[Bus]:
    """Start a bus with the hub embedded in this process, which connects first."""
    with tempfile.TemporaryDirectory() as folder:
        async with dispatching(f"zmq+ipc://{Path(folder, 'bus')}?hub=auto") as trips:
            yield trips


@asynccontextmanager
async def _with_hub_outside() -> AsyncIterator[Bus]:
    """Start a bus with the hub in a separate process."""
    hub = (sys.executable, "-m", "cosmo_synapse_zmq", "hub", "zmq://127.0.0.1:0")
    async with command(*hub) as url, dispatching(url) as trips:
        yield trips


@asynccontextmanager
async def _frames() -> AsyncIterator[RoundTripper]:
    """Start two Synapses without Dendrites, with the hub embedded in this process."""
    with tempfile.TemporaryDirectory() as folder:
        async with sending_frames(f"zmq+ipc://{Path(folder, 'bus')}?hub=auto", BODY) as trips:
            yield trips


@asynccontextmanager
async def _bare() -> AsyncIterator[RoundTripper]:
    """Start an echo between two sockets."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"ipc://{Path(folder, 'echo')}"
        async with script("zmq_echo.py", "echo", url) as endpoint, caller(endpoint) as trips:
            yield trips


@asynccontextmanager
async def _raw_hub_inside() -> AsyncIterator[Caller]:
    """Start a worker, and a hub in this process, in raw pyzmq."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"ipc://{Path(folder, 'hub')}"
        async with caller_with_hub(url) as trips, script("zmq_echo.py", "work", url):
            yield trips


@asynccontextmanager
async def _raw_hub_outside() -> AsyncIterator[Caller]:
    """Start a worker, and a hub in a process of its own, in raw pyzmq."""
    async with (
        script("zmq_echo.py", "hub", "tcp://127.0.0.1:*") as url,
        script("zmq_echo.py", "work", url),
        caller_to_hub(url) as trips,
    ):
        yield trips
