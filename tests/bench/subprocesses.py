"""Child processes of the bench: started from a script of this folder or a command."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent
START_S: Final = 20


@asynccontextmanager
async def script(name: str, *arguments: str) -> AsyncIterator[str]:
    """Run a script of this folder, and yield the last word of its first line of output."""
    async with command(sys.executable, str(FOLDER / name), *arguments) as ready:
        yield ready


@asynccontextmanager
async def command(*line: str) -> AsyncIterator[str]:
    """Run a command, and yield the last word of its first line of output.

    Raises:
        RuntimeError: The command ended without output.
        TimeoutError: The command printed nothing within `START_S` seconds.
    """
    process = await asyncio.create_subprocess_exec(*line, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        async with asyncio.timeout(START_S):
            words = (await process.stdout.readline()).decode().split()
        if not words:
            raise RuntimeError(f"{' '.join(line)} ended without output on stdout; its stderr is above")
        yield words[-1]
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
