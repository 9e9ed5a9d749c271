"""The time of ``import cosmo_core``, and its CPU time over that of the libraries that it needs."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from typing import Final

from tests.bench.measure import Measurement, alternate
from tests.bench.report import Figure, Pair

LIBRARIES: Final = "import asyncio, attrs, msgspec"


def figures(scale: float) -> Iterator[Figure]:
    """Yield the time that the import adds to the start of an interpreter, and the time of both together.

    The CPU time does not contain the start, on either side.
    """
    rounds = max(3, int(25 * scale))
    for name, measured, target, peer in (
        ("import cosmo_core", _added, "≤ 80 ms", "258 ms"),
        ("start of Python with import cosmo_core", _whole, "", ""),
    ):
        yield Figure(
            name=name,
            unit="ms",
            against="start of Python",
            measure=partial(_measure, measured, rounds),
            target=target,
            peer=peer,
        )
    yield Figure(
        name="import cosmo_core, CPU time",
        unit="ms",
        against=LIBRARIES,
        # Other programs cannot disturb it.
        measure=partial(_measure_cpu, max(1, int(25 * scale))),
        target="≤ 1.25",
    )


def _measure(measured: Measurement, rounds: int) -> Pair:
    return asyncio.run(alternate(measured, _bare, rounds))


def _measure_cpu(rounds: int) -> Pair:
    return asyncio.run(alternate(partial(_cpu, "import cosmo_core"), partial(_cpu, LIBRARIES), rounds))


async def _cpu(program: str) -> float:
    """Return the CPU time of a program, in ms, less that of an empty one, which runs next to it."""
    return _cpu_of(program) - _cpu_of("pass")


def _cpu_of(program: str) -> float:
    child = os.posix_spawn(sys.executable, [sys.executable, "-I", "-c", program], os.environ)
    _, status, usage = os.wait4(child, 0)
    assert status == 0, program
    return (usage.ru_utime + usage.ru_stime) * 1000


async def _added() -> float:
    return _start("import cosmo_core") - _start("pass")


async def _whole() -> float:
    return _start("import cosmo_core")


async def _bare() -> float:
    return _start("pass")


def _start(program: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-I", "-c", program], check=True)  # noqa: S603 - our own interpreter
    return (time.perf_counter() - start) * 1000
