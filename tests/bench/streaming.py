"""The cost of a stream of THOUGHT_DELTAs, and how many of them arrive over NATS with back-pressure."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from typing import Final

from cosmo_synapse_nats.testing import NatsServer
from tests.bench.bus import STREAMER, Bus, echo_bus
from tests.bench.cross_process import dispatching
from tests.bench.measure import MissingError, alternate, per_cpu_second
from tests.bench.report import Figure, Pair

QUEUE: Final = 100
"""The size of the queue of the baseline."""

PAUSE_AFTER: Final = 100
PAUSE_S: Final = 0.01
"""The reader over NATS pauses so long, in seconds, after so many deltas: it is slower than the Neuron."""


def figures(scale: float) -> Iterator[Figure]:
    """Yield the deltas per second of CPU time over memory, and those of one stream that arrive over NATS."""
    yield Figure(
        name="streaming: deltas over memory, per second of CPU time",
        unit="/s",
        against=f"one queue of {QUEUE}, two tasks",
        measure=partial(_measure_memory, max(100, int(5_000 * scale)), max(3, int(25 * scale))),
        target="≥ 0.21 (goal 0.30)",
    )
    yield Figure(
        name="streaming: deltas that arrive at a slow reader over NATS",
        unit="deltas",
        against="sent",
        measure=partial(_measure_nats, max(100, int(20_000 * scale))),
        target="1",
    )


def _measure_memory(count: int, rounds: int) -> Pair:
    async def measure() -> Pair:
        async with echo_bus() as bus:
            return await alternate(
                lambda: per_cpu_second(bus.deltas(count), count),
                lambda: per_cpu_second(_through_queue(count), count),
                rounds,
            )

    return asyncio.run(measure())


async def _through_queue(count: int) -> None:
    queue: asyncio.Queue[str] = asyncio.Queue(QUEUE)

    async def produce() -> None:
        for _ in range(count):
            await queue.put("a token ")

    producing = asyncio.create_task(produce())
    for _ in range(count):
        await queue.get()
    await producing


def _measure_nats(count: int) -> Pair:
    try:
        running = NatsServer.start()
    except FileNotFoundError as error:
        raise MissingError(str(error)) from None
    with running as server:
        arrived = asyncio.run(_arrived_over(server.url, count))
    return Pair(arrived, count, arrived / count)


async def _arrived_over(url: str, count: int) -> int:
    """Return how many of ``count`` texts of a Neuron in another process arrive at a slow reader."""
    async with dispatching(url) as bus:
        assert isinstance(bus, Bus)
        dendrite, arrived = bus.orchestrator, 0
        await dendrite.wait_until_ready(neuron=STREAMER)
        pathway = await dendrite.dispatch(neuron=STREAMER, input={"count": count}, backpressure=True)
        async with pathway:
            async for _ in pathway.text():
                arrived += 1
                if arrived % PAUSE_AFTER == 0:
                    await asyncio.sleep(PAUSE_S)
        return arrived
