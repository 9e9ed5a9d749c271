"""Fixtures: a connected bus, and programs that run in an interpreter of their own."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Final

import pytest

from cosmonapse import MemorySynapse

Run = Callable[..., Awaitable[tuple[int | None, str]]]
"""Run a program, with options of Python and environment variables; return its exit status and its output."""

WATCHDOG: Final = re.compile(r"^.* (?:has|had) blocked the event loop for .*\n", re.MULTILINE)


@pytest.fixture
async def synapse() -> AsyncIterator[MemorySynapse]:
    synapse = MemorySynapse()
    await synapse.connect()
    yield synapse
    await synapse.close()


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run programs with warnings as errors."""

    async def run(program: Path, *options: str, **env: str) -> tuple[int | None, str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "error", *options, str(program)),
            cwd=tmp_path,
            # Programs of other tests meet at another place.
            env={**os.environ, "TMPDIR": str(tmp_path), **env},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(100):
                printed, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        # On a busy machine the watchdog of the event loop may report an import.
        return process.returncode, WATCHDOG.sub("", printed.decode())

    return run
