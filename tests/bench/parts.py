"""The cost of the single parts of a round trip."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Final

from cosmo_core import SignalType
from cosmo_core.protocol.signal import address, new_unvalidated
from cosmo_synapse_memory import MemorySynapse
from tests.bench.bus import INPUT, NEURON
from tests.bench.measure import alternate, ping_pong
from tests.bench.report import Figure, Pair

AT_ONCE: Final = 100

Work = Callable[[int], Awaitable[None]]


def figures(scale: float) -> Iterator[Figure]:
    """Yield each part against a round trip through two queues."""
    count = max(1, int(20 * scale)) * AT_ONCE
    rounds = max(3, int(25 * scale))
    parts: list[tuple[str, Work]] = [
        ("a turn of the event loop", _run_loop),
        (f"a task that runs and ends, {AT_ONCE} per turn", _run_tasks),
        ("a TASK made by a Dendrite", _make_tasks),
        ("a frame published to one subscriber", _publish),
    ]
    for name, work in parts:
        yield Figure(
            name=name,
            unit="µs",
            against="two queues, two tasks",
            measure=partial(_measure, work, count, rounds),
        )


def _measure(work: Work, count: int, rounds: int) -> Pair:
    async def value() -> float:
        start = time.perf_counter()
        await work(count)
        return (time.perf_counter() - start) / count * 1e6

    async def baseline() -> float:
        return 1e6 / await ping_pong(count)

    return asyncio.run(alternate(value, baseline, rounds))


async def _run_loop(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def _run_tasks(count: int) -> None:
    create_task = asyncio.get_running_loop().create_task
    for _ in range(count // AT_ONCE):
        for _ in range(AT_ONCE):
            create_task(_nothing())
        # All of them run within this turn of the event loop.
        await asyncio.sleep(0)


async def _nothing() -> None:
    pass


async def _make_tasks(count: int) -> None:
    for _ in range(count):
        new_unvalidated(
            SignalType.TASK, {"input": INPUT}, directed=address(NEURON), meta={"reply_to": "inbox"}
        )


async def _publish(count: int) -> None:
    synapse = MemorySynapse()
    await synapse.connect()
    await synapse.subscribe("cosmonapse.demo.TASK", lambda frame: None)
    for _ in range(count):
        await synapse.publish("cosmonapse.demo.TASK", b"")
    await synapse.close()
