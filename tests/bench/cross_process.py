"""Round trips to a worker in another process, one at a time and a hundred in flight, and its streams."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final, Protocol

from cosmo_core import Dendrite, Synapse, Undelivered, connect_synapse
from tests.bench.bus import BACK, NAMESPACE, NEURON, STREAMER, THERE, Bus
from tests.bench.measure import alternate, per_second
from tests.bench.report import Pair
from tests.bench.subprocesses import script

IN_FLIGHT: Final = 100


class RoundTripper(Protocol):
    """A client that makes round trips to another process."""

    async def round_trips(self, count: int) -> None:
        """Make ``count`` round trips, one after the other."""
        ...


class Streamer(Protocol):
    """A reader of streams of another process."""

    async def deltas(self, count: int) -> None:
        """Read a stream of ``count`` texts."""
        ...


Opener = Callable[[], AbstractAsyncContextManager[RoundTripper]]
StreamOpener = Callable[[], AbstractAsyncContextManager[Streamer]]


@asynccontextmanager
async def dispatching(url: str) -> AsyncIterator[Bus]:
    """Start a bus with a worker in a child process, which starts after this process has connected."""
    synapse = await connect_synapse(url)
    try:
        async with (
            script("echo_worker.py", url),
            Dendrite(synapse=synapse, namespace=NAMESPACE) as orchestrator,
        ):
            await orchestrator.wait_until_ready(neuron=NEURON)
            await orchestrator.wait_until_ready(neuron=STREAMER)
            yield Bus(synapse, orchestrator)
    finally:
        await synapse.close()


class Frames:
    """Sends frames without a Dendrite, as a Dendrite sends TASKs. Echoes arrive in their order."""

    def __init__(self, synapse: Synapse, frame: bytes) -> None:
        self._synapse = synapse
        self._frame = frame
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._loop = asyncio.get_running_loop()

    def receive(self, frame: bytes) -> None:
        """Take an echo."""
        self._waiting.popleft().set_result(None)

    def _undelivered(self, frame: bytes, why: Undelivered) -> None:
        self._waiting.popleft().set_exception(RuntimeError(f"a frame was not delivered: {why}"))

    async def round_trips(self, count: int) -> None:
        """Send ``count`` frames, each after the echo of the previous one."""
        for _ in range(count):
            echoed = self._loop.create_future()
            self._waiting.append(echoed)
            await self._synapse.publish(THERE, self._frame, undelivered=self._undelivered)
            await echoed


@asynccontextmanager
async def sending_frames(url: str, frame: bytes) -> AsyncIterator[RoundTripper]:
    """Start a child process that echoes frames, after this process has connected."""
    synapse = await connect_synapse(url)
    try:
        frames = Frames(synapse, frame)
        await synapse.subscribe(BACK, frames.receive)
        async with script("echo_worker.py", url, "frames"):
            yield frames
    finally:
        await synapse.close()


async def compare(ours: Opener, bare: Opener, trips: int, at_once: int, rounds: int) -> Pair:
    """Measure both with ``at_once`` round trips in flight."""
    async with ours() as value, bare() as baseline:
        return await alternate(
            lambda: _rate(value, trips, at_once), lambda: _rate(baseline, trips, at_once), rounds
        )


async def compare_streams(ours: StreamOpener, raw: StreamOpener, count: int, rounds: int) -> Pair:
    """Measure how many texts of a stream each side reads in a second."""
    async with ours() as value, raw() as baseline:
        return await alternate(
            lambda: per_second(value.deltas(count), count),
            lambda: per_second(baseline.deltas(count), count),
            rounds,
        )


def _rate(side: RoundTripper, trips: int, at_once: int) -> Awaitable[float]:
    each = max(1, trips // at_once)
    return per_second(_together(side, each, at_once), each * at_once)


async def _together(side: RoundTripper, each: int, at_once: int) -> None:
    await asyncio.gather(*(side.round_trips(each) for _ in range(at_once)))
