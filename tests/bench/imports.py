"""The time of ``import cosmo_core``."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial

from tests.bench.measure import Measurement, alternate
from tests.bench.report import Figure, Pair


def figures(scale: float) -> Iterator[Figure]:
    """Yield the time that the import adds to the start of an interpreter, and the time of both together."""
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


def _measure(measured: Measurement, rounds: int) -> Pair:
    return asyncio.run(alternate(measured, _bare, rounds))


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
