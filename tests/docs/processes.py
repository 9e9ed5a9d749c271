"""Python programs that run to their end, within a time."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path


async def run_to_end(
    *arguments: str | Path,
    cwd: Path | None = None,
    env: Mapping[str, str] = os.environ,
    stdin: str | None = None,
    within_s: float = 60,
) -> tuple[int | None, str]:
    """Run Python with arguments, and return its status and all that it prints.

    Args:
        *arguments: The arguments.
        cwd: Its folder.
        env: Its environment.
        stdin: What is typed into it; it has the input of the test without.
        within_s: Seconds until it is killed.

    Raises:
        TimeoutError: It did not end in time.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        cwd=cwd,
        env=env,
        stdin=None if stdin is None else asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(within_s):
            printed, _ = await process.communicate(None if stdin is None else stdin.encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, printed.decode()
