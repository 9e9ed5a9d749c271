"""What costs more because more others exist: each cost beside many, against the same beside ten."""

from __future__ import annotations

import asyncio
import gc
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import Any, Final

from cosmo_core import Axon, Dendrite, SignalType
from cosmo_core.contracts.pathway import Pathway
from cosmo_synapse_memory import MemorySynapse
from tests.bench.bus import CAPABILITY, INPUT, NAMESPACE, NEURON, SILENT, Bus, announce, echo, stub_bus
from tests.bench.measure import Measurement, alternate
from tests.bench.report import Figure, Pair

FEW: Final = 10
"""The number of others in every baseline."""

LOADS: Final = 10
"""How many different loads the HEARTBEATs of a Neuron announce, at random."""

WAIT_S: Final = 0.01
"""The time limit of the wait that expires beside many that do not."""

PASSES: Final = 3
"""The timer passes of which the shortest counts."""

PERIOD_S: Final = 1.0
"""The interval of heartbeats in measured programs, and a multiple of the interval of every other timer."""

Beside = Callable[[int], Awaitable[float]]
"""Returns a cost beside so many others."""


def figures(scale: float) -> Iterator[Figure]:
    """Yield every slope; the growth is the ratio."""
    yield from _selections(scale)
    yield from _pathways(scale)
    yield from _dendrites(scale)


def _many(count: int, scale: float) -> int:
    return max(2 * FEW, int(count * min(1, scale)))


def _seconds(scale: float) -> float:
    """Return how long to watch a program: two periods, less where the figures are not read."""
    return min(2 * PERIOD_S, 20 * scale)


def _in_turn(beside: Beside, count: int) -> Pair:
    """Measure a cost beside ``count`` others and beside `FEW`, once each."""
    baseline = asyncio.run(_awaited(beside(FEW)))
    value = asyncio.run(_awaited(beside(count)))
    return Pair(value, baseline, value / baseline)


async def _awaited(cost: Awaitable[float]) -> float:
    return await cost


# --- the Neurons that are known -------------------------------------------------------------------------


def _selections(scale: float) -> Iterator[Figure]:
    samples, rounds = max(5, int(100 * scale)), max(3, int(9 * scale))
    for count in (_many(10_000, scale), _many(100_000, scale)):
        for name, is_dispatch, target in (
            ("dispatch by capability", True, "≤ 1.2"),
            ("a HEARTBEAT that changes a load", False, ""),
        ):
            yield Figure(
                name=f"slopes: {name}, {count:,} Neurons known",
                unit="µs",
                against=f"{FEW} Neurons",
                measure=partial(_measure_selection, count, samples, rounds, is_dispatch=is_dispatch),
                target=target,
            )


def _measure_selection(count: int, samples: int, rounds: int, *, is_dispatch: bool) -> Pair:
    async def measure() -> Pair:
        async with _known(count) as large, _known(FEW) as small:
            with _frozen_heap():
                return await alternate(
                    partial(_select, large, count, samples, is_dispatch=is_dispatch),
                    partial(_select, small, FEW, samples, is_dispatch=is_dispatch),
                    rounds,
                )

    return asyncio.run(measure())


def _name(number: int) -> str:
    return f"{NEURON}-{number}"


def _load(number: int, below: int) -> int:
    """Return a load for a Neuron.

    The first `FEW` stay the least busy: a bus needs longer for the first TASK of a Neuron, so both sides must
    send TASKs to equally many Neurons.
    """
    return below if number < FEW else LOADS + below


@asynccontextmanager
async def _known(count: int) -> AsyncIterator[Bus]:
    """Start a bus whose orchestrator knows so many Neurons."""
    async with stub_bus(answers=True, neurons=map(_name, range(FEW))) as bus:
        for number in range(FEW, count):
            await announce(bus.synapse, SignalType.REGISTER, _name(number), load=_load(number, 0))
        yield bus


async def _select(bus: Bus, count: int, samples: int, *, is_dispatch: bool) -> float:
    """Return the CPU time of a dispatch by capability, or of the HEARTBEAT before it, in µs.

    One HEARTBEAT comes with each dispatch: a thousand a second with a thousand dispatches a second.
    """
    choose = random.Random(0)  # noqa: S311 - loads, not secrets
    beating, dispatching = 0, 0
    for _ in range(samples):
        number = choose.randrange(count)
        load = _load(number, choose.randrange(LOADS))
        start = time.thread_time_ns()
        await announce(bus.synapse, SignalType.HEARTBEAT, _name(number), load=load)
        announced = time.thread_time_ns()
        answer = await bus.orchestrator.dispatch_and_wait(capabilities=[CAPABILITY], input=INPUT)
        dispatching += time.thread_time_ns() - announced
        beating += announced - start
        assert answer.type is SignalType.AGENT_OUTPUT
    return (dispatching if is_dispatch else beating) / samples / 1000


# --- Pathways, their deadlines and their TASKs ----------------------------------------------------------


def _pathways(scale: float) -> Iterator[Figure]:
    rounds, seconds = max(3, int(9 * scale)), _seconds(scale)
    timer_pass = partial(_alternate, _waiting, rounds)
    dispatch = partial(_alternate, _holding, rounds)
    idle = partial(_in_turn, partial(_for_seconds, _idle_share, seconds))
    stall = partial(_in_turn, partial(_for_seconds, _stall_beside_tasks, seconds))
    kinds: list[tuple[str, str, int, Callable[[int], Pair], str, str]] = [
        ("timer pass, {:,} different deadlines", "ms", 50_000, timer_pass, "deadlines", "< 0.1 ms"),
        ("back-pressured dispatch, {:,} held open", "µs", 5_000, dispatch, "held open", "≤ 1.2"),
        ("idle CPU, {:,} open Pathways", "% of a core", 100_000, idle, "Pathways", "< 1 %"),
        ("longest stall, {:,} open TASKs", "ms", 20_000, stall, "TASKs", "< 3 ms"),
    ]
    for name, unit, full, measure, against, target in kinds:
        count = _many(full, scale)
        yield Figure(
            name="slopes: " + name.format(count),
            unit=unit,
            against=f"{FEW} {against}",
            measure=partial(measure, count),
            target=target,
        )


def _alternate(opened: Callable[[int], Any], rounds: int, count: int) -> Pair:
    async def measure() -> Pair:
        async with opened(count) as value, opened(FEW) as baseline:
            return await alternate(value, baseline, rounds)

    return asyncio.run(measure())


async def _for_seconds(cost: Callable[[int, float], Awaitable[float]], seconds: float, count: int) -> float:
    return await cost(count, seconds)


@asynccontextmanager
async def _waiting(count: int) -> AsyncIterator[Measurement]:
    """Start callers with different time limits; yield the longest turn while another one expires."""
    async with stub_bus(answers=False) as bus:
        dispatch = bus.orchestrator.dispatch_and_wait
        callers = [
            asyncio.create_task(dispatch(neuron=NEURON, input=INPUT, timeout_s=3_600 + number / 10))
            for number in range(count)
        ]
        pathway = await bus.orchestrator.dispatch(neuron=NEURON, input=INPUT)

        async def expire() -> None:
            with suppress(TimeoutError):
                await pathway.wait(timeout_s=WAIT_S)

        async def shortest() -> float:
            # A turn that the system interrupts takes longer than the timer pass.
            return min([await _longest_stall(expire()) for _ in range(PASSES)])

        async with pathway:
            with _frozen_heap():
                yield shortest
        for caller in callers:
            caller.cancel()
        await asyncio.gather(*callers, return_exceptions=True)


@asynccontextmanager
async def _holding(count: int) -> AsyncIterator[Measurement]:
    """Open back-pressured Pathways; yield the cost of a further one that is answered and closed."""
    async with stub_bus(answers=True, neurons=(NEURON, SILENT)) as bus:
        dispatch = bus.orchestrator.dispatch
        held = [await dispatch(neuron=SILENT, input=INPUT, backpressure=True) for _ in range(count)]

        async def open_one() -> float:
            trips = FEW
            start = time.thread_time()
            for _ in range(trips):
                async with await dispatch(neuron=NEURON, input=INPUT, backpressure=True) as pathway:
                    await pathway.wait()
            return (time.thread_time() - start) / trips * 1e6

        yield open_one
        held.clear()


async def _idle_share(count: int, seconds: float) -> float:
    """Return the share of a core that open Pathways take while nothing happens, in per cent."""
    async with stub_bus(answers=False) as bus:
        held: list[Pathway] = []
        for _ in range(count):
            held.append(await bus.orchestrator.dispatch(neuron=NEURON, input=INPUT))  # noqa: PERF401
        # New ones are looked at once more, by the next timer.
        await asyncio.sleep(seconds / 2)
        with _frozen_heap():
            start = time.thread_time()
            await asyncio.sleep(seconds)
            return (time.thread_time() - start) / seconds * 100


async def _stall_beside_tasks(count: int, seconds: float) -> float:
    """Return the longest stall beside TASKs that run in the same process, in ms."""
    done = asyncio.Semaphore(0)

    async def wait(input: dict[str, Any], context: list[Any]) -> None:
        await done.acquire()

    axon = Axon(neuron_id=SILENT, neuron_fn=wait, max_concurrency=count)
    async with _program([axon]) as orchestrator:
        held: list[Pathway] = []
        for _ in range(count):
            held.append(await orchestrator.dispatch(neuron=SILENT, input=INPUT))
            await asyncio.sleep(0)
        with _frozen_heap():
            stall = await _longest_stall(asyncio.sleep(seconds))
        for _ in held:
            done.release()
            await asyncio.sleep(0)
        return stall


# --- Dendrites and Axons --------------------------------------------------------------------------------


def _dendrites(scale: float) -> Iterator[Figure]:
    workers, axons = _many(300, scale) - 1, _many(5_000, scale)
    rows: list[tuple[str, str, int, Beside, str, str]] = [
        (
            f"start of one of {workers} workers and an orchestrator",
            "ms",
            workers,
            _start,
            "workers",
            "≤ 2 ms",
        ),
        (
            f"a heartbeat of all of {workers} workers and an orchestrator",
            "ms",
            workers,
            partial(_heartbeat_of_all, PERIOD_S * max(0.05, 5 * scale)),
            "workers",
            "≤ 150 ms",
        ),
        (
            f"longest stall, heartbeat of {axons:,} Axons",
            "ms",
            axons,
            partial(_for_seconds, _stall_beside_axons, _seconds(scale)),
            "Axons",
            "< 2 ms",
        ),
    ]
    for name, unit, count, beside, against, target in rows:
        yield Figure(
            name=f"slopes: {name}",
            unit=unit,
            against=f"{FEW} {against}",
            measure=partial(_in_turn, beside, count),
            target=target,
        )


@asynccontextmanager
async def _population(workers: int, heartbeat_s: float) -> AsyncIterator[None]:
    """Start workers with a Neuron each, and an orchestrator."""
    synapse = MemorySynapse()
    await synapse.connect()
    async with AsyncExitStack() as stack:
        for number in range(workers):
            worker = Dendrite(synapse=synapse, namespace=NAMESPACE, role="worker", heartbeat_s=heartbeat_s)
            worker.attach_axon(Axon(neuron_id=_name(number), neuron_fn=echo))
            await stack.enter_async_context(worker)
            await asyncio.sleep(0)
        await stack.enter_async_context(
            Dendrite(synapse=synapse, namespace=NAMESPACE, heartbeat_s=heartbeat_s)
        )
        yield
    await synapse.close()


async def _start(workers: int) -> float:
    """Return the mean CPU time to start a Dendrite, in ms."""
    async with _population(1, heartbeat_s=3_600):
        pass  # The first Dendrite of a process loads the plugins.
    with _frozen_heap():
        start = time.thread_time()
        async with _population(workers, heartbeat_s=3_600):
            return (time.thread_time() - start) / (workers + 1) * 1000


async def _heartbeat_of_all(heartbeat_s: float, workers: int) -> float:
    """Return the CPU time of an interval, in which each Dendrite sends one heartbeat, in ms."""
    async with _population(workers, heartbeat_s):
        with _frozen_heap():
            start = time.thread_time()
            await asyncio.sleep(heartbeat_s)
            return (time.thread_time() - start) * 1000


async def _stall_beside_axons(count: int, seconds: float) -> float:
    """Return the longest stall while a worker announces its Axons to an orchestrator, in ms."""
    axons = [Axon(neuron_id=_name(number), neuron_fn=echo) for number in range(count)]
    async with _program(axons):
        with _frozen_heap():
            return await _longest_stall(asyncio.sleep(seconds))


@asynccontextmanager
async def _program(axons: Sequence[Axon]) -> AsyncIterator[Dendrite]:
    """Start a worker with these Axons, and an orchestrator."""
    synapse = MemorySynapse()
    await synapse.connect()
    worker = Dendrite(synapse=synapse, namespace=NAMESPACE, role="worker", heartbeat_s=PERIOD_S)
    for axon in axons:
        worker.attach_axon(axon)
    async with (
        worker,
        Dendrite(synapse=synapse, namespace=NAMESPACE, heartbeat_s=PERIOD_S) as orchestrator,
    ):
        yield orchestrator
    await synapse.close()


async def _longest_stall(until: Coroutine[Any, Any, None]) -> float:
    """Return the longest CPU time, in ms, from one turn of the event loop to the next, until a work ends."""
    longest = 0.0
    working = asyncio.create_task(until)
    before = time.thread_time()
    while not working.done():
        await asyncio.sleep(0)
        now = time.thread_time()
        longest, before = max(longest, now - before), now
    await working
    return longest * 1000


@contextmanager
def _frozen_heap() -> Iterator[None]:
    """Let the garbage collector skip what exists already: its pauses are not those of the program."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
