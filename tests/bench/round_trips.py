"""The rate of round trips of TASK and answer: one at a time, and a hundred in flight."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from typing import Any, Final

from tests.bench.bus import Bus, echo_bus
from tests.bench.measure import alternate, per_second, ping_pong
from tests.bench.report import Figure, Pair

IN_FLIGHT: Final = 100

SendTasks = Callable[[Bus, int], Coroutine[Any, Any, None]]


def figures(scale: float) -> Iterator[Figure]:
    """Yield both, against a ping-pong over two queues, which is the fastest round trip on asyncio."""
    trips = max(1, int(80 * scale)) * IN_FLIGHT
    rounds = max(3, int(25 * scale))
    for name, send_tasks, target, peer in (
        ("sequential dispatch_and_wait", Bus.round_trips, "≥ 0.55", "0.036"),
        (f"{IN_FLIGHT} in flight", _in_flight, "≥ 0.50", "0.041"),
    ):
        yield Figure(
            name=name,
            unit="/s",
            against="two queues, two tasks",
            measure=partial(_measure, send_tasks, trips, rounds),
            target=target,
            peer=peer,
        )


def _measure(send_tasks: SendTasks, trips: int, rounds: int) -> Pair:
    async def measure() -> Pair:
        async with echo_bus() as bus:
            return await alternate(
                lambda: per_second(send_tasks(bus, trips), trips), lambda: ping_pong(2 * trips), rounds
            )

    return asyncio.run(measure())


async def _in_flight(bus: Bus, trips: int) -> None:
    await asyncio.gather(*(bus.round_trips(trips // IN_FLIGHT) for _ in range(IN_FLIGHT)))
