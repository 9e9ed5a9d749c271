"""The tails of a round trip: percentiles of its CPU time, one at a time and a hundred together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from time import thread_time_ns
from typing import Final

from tests.bench.bus import Bus, echo_bus
from tests.bench.measure import alternate
from tests.bench.report import Figure, Pair

TOGETHER: Final = 100
PERCENTILES: Final = (50, 99, 99.9)

Work = Callable[[int], Awaitable[object]]


def figures(scale: float) -> Iterator[Figure]:
    """Yield each percentile against the same one of two queues.

    Of a hundred round trips together, only the CPU time of all can be measured: a sample is their mean.
    """
    for name, together, samples, rounds in (
        ("sequential dispatch_and_wait", 1, max(100, int(5_000 * scale)), max(3, int(15 * scale))),
        (f"{TOGETHER} together, mean", TOGETHER, max(10, int(500 * scale)), max(3, int(5 * scale))),
    ):
        for percent in PERCENTILES:
            yield Figure(
                name=f"tails: {name}, p{percent}",
                unit="µs",
                against="two queues, two tasks",
                measure=partial(_measure, together, samples, rounds, percent),
            )


def _measure(together: int, samples: int, rounds: int, percent: float) -> Pair:
    return asyncio.run(_compare(together, samples, rounds, percent))


async def _compare(together: int, samples: int, rounds: int, percent: float) -> Pair:
    there: asyncio.Queue[int] = asyncio.Queue()
    back: asyncio.Queue[int] = asyncio.Queue()

    async def pong() -> None:
        while True:
            back.put_nowait(await there.get())

    async def ping(_: int) -> None:
        for turn in range(together):
            there.put_nowait(turn)
            await back.get()

    async with echo_bus() as bus:
        ponging = asyncio.create_task(pong())
        pair = await alternate(
            lambda: _percentile(partial(_round_trips, bus), together, samples, percent),
            lambda: _percentile(ping, together, samples, percent),
            rounds,
        )
        ponging.cancel()
    return pair


async def _round_trips(bus: Bus, together: int) -> None:
    if together == 1:
        await bus.round_trips(1)
    else:
        await asyncio.gather(*(bus.round_trips(1) for _ in range(together)))


async def _percentile(work: Work, together: int, samples: int, percent: float) -> float:
    """Return a percentile of the CPU time of one round trip in ``work``, which makes some together."""
    taken = []
    for _ in range(samples):
        start = thread_time_ns()
        await work(together)
        taken.append(thread_time_ns() - start)
    taken.sort()
    # The nearest rank: a value that was measured.
    return taken[min(samples - 1, int(samples * percent / 100))] / together / 1000
