"""The growth of memory over a hundred thousand dispatches."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Iterator
from functools import partial
from typing import Final

from tests.bench.bus import INPUT, NEURON, Bus, echo_bus
from tests.bench.measure import in_fresh_process, memory_in_use
from tests.bench.report import Figure, Pair

WINDOW: Final = 20_000
"""The size of a worker's window of TASK ids; at multiples of it, the window is equally full."""


def figures(scale: float) -> Iterator[Figure]:
    """Yield the memory in use after the dispatches, against the memory after a warm-up."""
    warm_up = max(100, int(WINDOW * min(5 * scale, 1)))
    count = warm_up * max(1, int(5 * scale))
    for closing in (True, False):
        way = "dispatch_and_wait" if closing else "dispatch, wait, no close"
        for traced in (True, False):
            yield Figure(
                name=f"memory after {count:,} x {way}, {'allocated' if traced else 'resident'}",
                unit="KiB",
                against=f"after {warm_up:,}",
                measure=partial(_measure, warm_up, count, closing=closing, traced=traced),
                target="no growth",
                peer="no growth",
            )


def _measure(warm_up: int, count: int, *, closing: bool, traced: bool) -> Pair:
    before, after = in_fresh_process(_memory, warm_up, count, closing=closing, traced=traced)
    return Pair(after / 1024, before / 1024, after / before)


def _memory(warm_up: int, count: int, *, closing: bool, traced: bool) -> tuple[int, int]:
    return asyncio.run(_dispatch(warm_up, count, closing=closing, traced=traced))


async def _dispatch(warm_up: int, count: int, *, closing: bool, traced: bool) -> tuple[int, int]:
    async with echo_bus() as bus:
        # Only what the dispatches allocate: the modules and plugins are several times as large.
        if traced:
            tracemalloc.start()
        dispatch = bus.round_trips if closing else partial(_without_closing, bus)
        await dispatch(warm_up)
        before = memory_in_use(traced=traced)
        await dispatch(count)
        return before, memory_in_use(traced=traced)


async def _without_closing(bus: Bus, count: int) -> None:
    for _ in range(count):
        pathway = await bus.orchestrator.dispatch(neuron=NEURON, input=INPUT)
        await pathway.wait()
