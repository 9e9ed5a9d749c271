"""How things are measured: by turns, by medians, and in a process of their own where memory counts."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import resource
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median
from typing import ParamSpec, TypeVar

from tests.bench.report import Pair

P = ParamSpec("P")
R = TypeVar("R")

Measured = Callable[[], Awaitable[float]]


class MissingError(Exception):
    """This machine lacks what is to be measured; the message says how to get it."""


async def by_turns(value: Measured, baseline: Measured, rounds: int) -> Pair:
    """Measure both in turn, ``rounds`` times, after one round that does not count; return the medians.

    The ratio is the median of the rounds' own ratios, so a machine that slows down does not show in it.
    """
    await baseline()
    await value()
    turns = [(await baseline(), await value()) for _ in range(rounds)]
    return Pair(
        value=median(measured for _, measured in turns),
        baseline=median(compared for compared, _ in turns),
        ratio=median(measured / compared for compared, measured in turns),
    )


async def per_second(work: Awaitable[object], count: int) -> float:
    """Return how many per second they are, if ``work`` does ``count`` things."""
    start = time.perf_counter()
    await work
    return count / (time.perf_counter() - start)


async def ping_pong(count: int) -> float:
    """Return the round trips per second between two tasks through two queues, with nothing else to do."""
    there: asyncio.Queue[int] = asyncio.Queue()
    back: asyncio.Queue[int] = asyncio.Queue()

    async def pong() -> None:
        while True:
            back.put_nowait(await there.get())

    async def ping() -> None:
        for turn in range(count):
            there.put_nowait(turn)
            await back.get()

    ponging = asyncio.create_task(pong())
    rate = await per_second(ping(), count)
    ponging.cancel()
    return rate


def in_fresh_process(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Return what ``function`` returns in a new interpreter, whose memory nothing else has touched."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(function, *args, **kwargs).result()


def memory_in_use(*, traced: bool) -> int:
    """Return the bytes in use: those that Python allocated (``traced``), or the process's resident ones.

    Tracing must have been started; it takes memory itself, so measure the two in different processes.
    """
    gc.collect()
    if traced:
        return tracemalloc.get_traced_memory()[0]
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
