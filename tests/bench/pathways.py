"""The memory of an open Pathway, on the orchestrator's side."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Final

from cosmo_core.protocol.ids import new_trace_id
from tests.bench.bus import INPUT, NEURON, Bus, stub_bus
from tests.bench.measure import in_fresh_process, memory_in_use
from tests.bench.report import Figure, Pair

Opener = Callable[[Bus], Awaitable[object]]

_futures: Final[dict[str, asyncio.Future[None]]] = {}


def figures(scale: float) -> Iterator[Figure]:
    """Yield the bytes per Pathway among 10,000 of them, as counted by Python and by the system."""
    count = max(100, int(10_000 * min(5 * scale, 1)))
    kinds: list[tuple[str, Opener, bool, Opener, str]] = [
        ("open Pathway, no answer yet", _pathway, False, _future, "a Future under an id"),
        ("open Pathway, one answer buffered", _pathway, True, _future, "a Future under an id"),
        ("dispatch_and_wait under way", _caller, False, _task, "a task on such a Future"),
    ]
    for name, opener, answers, least, against in kinds:
        for traced in (True, False):
            yield Figure(
                name=f"{name}, {'allocated' if traced else 'resident'}",
                unit="B",
                against=against,
                measure=partial(_measure, opener, least, count, answers=answers, traced=traced),
                target="≤ 1.5 KB" if opener is _pathway else "",
                peer="4.4 KB" if opener is _pathway else "",
            )


# --- the opened objects ---------------------------------------------------------------------------------


async def _pathway(bus: Bus) -> object:
    return await bus.orchestrator.dispatch(neuron=NEURON, input=INPUT)


async def _caller(bus: Bus) -> object:
    return asyncio.create_task(bus.orchestrator.dispatch_and_wait(neuron=NEURON, input=INPUT))


async def _future(bus: Bus) -> object:
    return _new_future()


async def _task(bus: Bus) -> object:
    return asyncio.create_task(_await(_new_future()))


def _new_future() -> asyncio.Future[None]:
    """Return the minimum for waiting for an answer: a Future under an id."""
    future = _futures[new_trace_id()] = asyncio.get_running_loop().create_future()
    return future


async def _await(future: asyncio.Future[None]) -> None:
    await future


# --- measurement ----------------------------------------------------------------------------------------


def _measure(opener: Opener, least: Opener, count: int, *, answers: bool, traced: bool) -> Pair:
    value = in_fresh_process(_bytes_each, opener, count, answers=answers, traced=traced)
    baseline = in_fresh_process(_bytes_each, least, count, answers=False, traced=traced)
    return Pair(value, baseline, value / baseline if baseline else float("inf"))


def _bytes_each(opener: Opener, count: int, *, answers: bool, traced: bool) -> float:
    return asyncio.run(_hold_open(opener, count, answers=answers, traced=traced))


async def _hold_open(opener: Opener, count: int, *, answers: bool, traced: bool) -> float:
    async with stub_bus(answers=answers) as bus:
        await _end([await opener(bus) for _ in range(100)])
        held: list[object] = [None] * count
        if traced:
            tracemalloc.start()
        before = memory_in_use(traced=traced)
        for index in range(count):
            held[index] = await opener(bus)
            # The stub answers in a separate asyncio task.
            await asyncio.sleep(0)
        after = memory_in_use(traced=traced)
        await _end(held)
    return (after - before) / count


async def _end(held: list[object]) -> None:
    tasks = [each for each in held if isinstance(each, asyncio.Task)]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
