"""A round trip from this process to a worker in another one, one at a time and a hundred at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final, Protocol

from cosmo_core import Dendrite, connect_synapse
from tests.bench.bus import NAMESPACE, NEURON, Bus
from tests.bench.children import script
from tests.bench.measure import by_turns, per_second
from tests.bench.report import Pair

IN_FLIGHT: Final = 100


class Trips(Protocol):
    """Somebody who goes to another process and back."""

    async def round_trips(self, count: int) -> None:
        """Make ``count`` round trips, one after the other."""
        ...


Opened = Callable[[], AbstractAsyncContextManager[Trips]]


@asynccontextmanager
async def dispatching(url: str) -> AsyncIterator[Trips]:
    """Open a bus with a worker in a process of its own, which comes when this one is connected."""
    synapse = await connect_synapse(url)
    try:
        async with (
            script("echo_worker.py", url),
            Dendrite(synapse=synapse, namespace=NAMESPACE) as orchestrator,
        ):
            await orchestrator.wait_until_ready(neuron=NEURON)
            yield Bus(synapse, orchestrator)
    finally:
        await synapse.close()


async def compare(ours: Opened, bare: Opened, trips: int, at_once: int, rounds: int) -> Pair:
    """Measure both with ``at_once`` in flight."""
    async with ours() as value, bare() as baseline:
        return await by_turns(
            lambda: _rate(value, trips, at_once), lambda: _rate(baseline, trips, at_once), rounds
        )


def _rate(side: Trips, trips: int, at_once: int) -> Awaitable[float]:
    each = max(1, trips // at_once)
    return per_second(_together(side, each, at_once), each * at_once)


async def _together(side: Trips, each: int, at_once: int) -> None:
    await asyncio.gather(*(side.round_trips(each) for _ in range(at_once)))
