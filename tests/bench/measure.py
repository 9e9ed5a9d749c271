"""Ways to measure: alternating rounds, medians, and a fresh process for memory."""

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

Measurement = Callable[[], Awaitable[float]]


class MissingError(Exception):
    """A program to measure is not installed; the message says how to install it."""


async def alternate(value: Measurement, baseline: Measurement, rounds: int) -> Pair:
    """Measure both in turn, ``rounds`` times after one warm-up round; return the medians.

    The ratio is the median of the ratios of all rounds, so it does not change if the machine slows down.
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
    """Return the operations per second of ``work``, which does ``count`` of them."""
    start = time.perf_counter()
    await work
    return count / (time.perf_counter() - start)


async def per_cpu_second(work: Awaitable[object], count: int) -> float:
    """Return the operations of ``work`` per second of CPU time of this thread; it does ``count`` of them."""
    start = time.thread_time()
    await work
    return count / (time.thread_time() - start)


async def ping_pong(count: int) -> float:
    """Return the round trips per second between two asyncio tasks through two queues."""
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
    """Call ``function`` in a new process, whose memory has only what was imported, and return its result."""
    context = multiprocessing.get_context("forkserver")
    # A process of its own imports them once, and is copied for each call.
    context.set_forkserver_preload(["__main__", "tests.bench.preloaded"])
    with ProcessPoolExecutor(1, mp_context=context) as process:
        return process.submit(function, *args, **kwargs).result()


def memory_in_use(*, traced: bool) -> int:
    """Return the bytes in use: allocated by Python (``traced``), or resident in the process.

    ``traced`` requires that tracemalloc runs. It takes memory, so measure the two in different processes.
    """
    gc.collect()
    if traced:
        return tracemalloc.get_traced_memory()[0]
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
