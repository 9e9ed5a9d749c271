"""The cost of a dispatch beside unrelated Dendrites."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from functools import partial

from cosmo_core import Dendrite
from tests.bench.bus import NAMESPACE, Bus, echo_bus
from tests.bench.measure import alternate, per_second
from tests.bench.report import Figure, Pair


def figures(scale: float) -> Iterator[Figure]:
    """Yield a sequential dispatch beside many Dendrites, against the same alone."""
    neighbours = max(3, int(100 * min(5 * scale, 1)))
    yield Figure(
        name=f"a dispatch beside {neighbours} orchestrators and {neighbours} other namespaces",
        unit="µs",
        against="alone",
        measure=partial(_measure, neighbours, max(50, int(4_000 * scale)), max(3, int(25 * scale))),
        target="≤ 1.10",
        peer="1.69",
    )


def _measure(neighbours: int, trips: int, rounds: int) -> Pair:
    return asyncio.run(_compare(neighbours, trips, rounds))


async def _compare(neighbours: int, trips: int, rounds: int) -> Pair:
    async with echo_bus() as bus:

        async def alone() -> float:
            return 1e6 / await per_second(bus.round_trips(trips), trips)

        async def beside_others() -> float:
            async with AsyncExitStack() as others:
                await _start_others(others, bus, neighbours)
                # The replies to their announcements are not part of the measurement.
                await bus.round_trips(100)
                return await alone()

        return await alternate(beside_others, alone, rounds)


async def _start_others(others: AsyncExitStack, bus: Bus, neighbours: int) -> None:
    for index in range(neighbours):
        for namespace in (NAMESPACE, f"other-{index}"):
            await others.enter_async_context(Dendrite(synapse=bus.synapse, namespace=namespace))
