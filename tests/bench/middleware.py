"""The cost of a round trip whose Signals pass middleware."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial

from cosmo_core import Signal
from cosmo_core.plugins import Dropped, Forward, PluginManager, SignalMiddleware, hookimpl
from tests.bench.bus import echo_bus
from tests.bench.measure import alternate, per_cpu_second
from tests.bench.report import Figure, Pair


def figures(scale: float) -> Iterator[Figure]:
    """Yield the CPU time of a round trip with one and with ten middlewares, against one without.

    Both sides have them, in both directions, so a round trip passes each of them four times.
    """
    trips, rounds = max(10, int(4_000 * scale)), max(3, int(25 * scale))
    for count, target in ((1, "≤ 1.25"), (10, "")):
        yield Figure(
            name=f"a round trip with {count} middleware{'s' if count > 1 else ''}",
            unit="µs",
            against="without",
            measure=partial(_measure, count, trips, rounds),
            target=target,
        )


class _Passing:
    """A plugin with middlewares that pass every Signal on unchanged."""

    def __init__(self, count: int) -> None:
        self._count = count

    @hookimpl
    def cosmo_signal_middleware(self) -> list[SignalMiddleware]:
        return [_pass] * self._count


async def _pass(signal: Signal, forward: Forward) -> Signal | Dropped:
    return await forward(signal)


def _measure(count: int, trips: int, rounds: int) -> Pair:
    return asyncio.run(_compare(count, trips, rounds))


async def _compare(count: int, trips: int, rounds: int) -> Pair:
    manager = PluginManager()
    manager.register(_Passing(count), name="passing")
    async with echo_bus(manager) as passing, echo_bus(PluginManager()) as bare:

        async def value() -> float:
            return 1e6 / await per_cpu_second(passing.round_trips(trips), trips)

        async def baseline() -> float:
            return 1e6 / await per_cpu_second(bare.round_trips(trips), trips)

        return await alternate(value, baseline, rounds)
