"""Child processes: started from a script or a module, observed by their output, and stopped by their ids."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from pathlib import Path
from typing import Final, Self

import attrs

FOLDER: Final = Path(__file__).parent
START_S: Final = 20.0
END_S: Final = 10.0


@attrs.frozen
class Line:
    """A line that a process printed.

    Attributes:
        text: The line.
        at: When it was read, in seconds of `time.monotonic`.
    """

    text: str
    at: float


class Child:
    """A process whose output is read line by line, and kept."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._changed = asyncio.Condition()
        self._finished = False
        self._reading = asyncio.create_task(self._read())
        self.lines: list[Line] = []

    @classmethod
    async def start(cls, *arguments: str) -> Self:
        """Start Python with these arguments; its log is part of its output."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "error", *arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        return cls(process)

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """The exit status, negative for a signal; None while the process runs."""
        return self._process.returncode

    async def _read(self) -> None:
        assert self._process.stdout is not None
        now = asyncio.get_running_loop().time
        async for line in self._process.stdout:
            self.lines.append(Line(line.decode(errors="replace").rstrip(), now()))
            async with self._changed:
                self._changed.notify_all()
        self._finished = True
        async with self._changed:
            self._changed.notify_all()

    def printed(self, pattern: str) -> list[Line]:
        """Return the lines so far that contain the pattern."""
        return [line for line in self.lines if re.search(pattern, line.text)]

    async def wait_for_line(self, pattern: str, *, within_s: float = START_S) -> Line:
        """Return the first line that contains the pattern; wait for it if necessary.

        Raises:
            AssertionError: No such line was printed in time.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s), self._changed:
                await self._changed.wait_for(lambda: self._finished or self.printed(pattern))
        found = self.printed(pattern)
        if not found:
            raise AssertionError(f"no {pattern!r} within {within_s} s; the output is:\n{self.output}")
        return found[0]

    @property
    def output(self) -> str:
        """The whole output, for error messages."""
        return "\n".join(line.text for line in self.lines)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process, if it still runs."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def kill(self) -> None:
        """Kill the process, as ``kill -9`` does."""
        self.send(signal.SIGKILL)
        await self.wait_ended()

    async def wait_ended(self, within_s: float = END_S) -> int:
        """Wait until the process has ended; return its exit status.

        Raises:
            TimeoutError: It has not ended in time.
        """
        async with asyncio.timeout(within_s):
            status = await self._process.wait()
            await self._reading
        return status


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
