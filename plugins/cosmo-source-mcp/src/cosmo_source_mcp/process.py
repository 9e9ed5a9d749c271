"""The process that a server runs in, which never outlives its host."""

from __future__ import annotations

import asyncio
import atexit
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process, SubprocessStreamProtocol
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeVar

from mcp.client.stdio import get_default_environment

from cosmo_source_mcp.limits import GRACE_S, MAX_MESSAGE_BYTES

if TYPE_CHECKING:
    from cosmo_source_mcp.launch import Launch

T = TypeVar("T")

_GROUPS: Final = sys.platform != "win32"
"""Whether a server gets a process group of its own, so that what it starts is ended with it."""


class ServerProcess:
    """A running server, with pipes to its three standard streams.

    Attributes:
        stdin: Closing it is how a server is told to end.
        stdout: Where its messages come from; reads lines up to the largest message.
        stderr: Where it says what is wrong.
    """

    def __init__(self, transport: asyncio.SubprocessTransport, process: Process) -> None:
        self.stdin = _piped(process.stdin)
        self.stdout = _piped(process.stdout)
        self.stderr = _piped(process.stderr)
        self._transport = transport
        self._process = process
        _running[self] = os.getpid()

    @classmethod
    async def start(cls, launch: Launch) -> ServerProcess:
        """Start a server.

        Raises:
            OSError: The operating system would not.
        """
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.subprocess_exec(
            lambda: SubprocessStreamProtocol(limit=MAX_MESSAGE_BYTES, loop=loop),
            *(launch.command, *launch.args),
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            # Not the whole environment of the host: it may hold keys that are none of the server's business.
            env={**get_default_environment(), **launch.env},
            cwd=launch.cwd,
            start_new_session=_GROUPS,
        )
        return cls(transport, Process(transport, protocol, loop))

    @property
    def status(self) -> int | None:
        """The exit status, negative for a signal; ``None`` while it runs."""
        return self._process.returncode

    async def stop(self) -> bool:
        """End it: by closing its stdin, else by SIGTERM, else by SIGKILL, and with it all that it started.

        Returns:
            Whether it ended without a signal from here.
        """
        try:
            self.stdin.close()
            by_itself = await self._ended()
            if not by_itself:
                self._signal(signal.SIGTERM)
                await self._ended()
        finally:
            # Also when this was cancelled half-way, and for what a server has left behind.
            await self.kill()
        return by_itself

    async def kill(self) -> bool:
        """End it and all that it started at once; returns ``False``, for that takes a signal."""
        try:
            self.kill_now()
            await self._ended()
        finally:
            self._transport.close()
            _running.pop(self, None)
        return False

    def kill_now(self) -> None:
        """Send SIGKILL, where no event loop is needed."""
        self._signal(signal.SIGKILL if _GROUPS else signal.SIGTERM)

    async def _ended(self) -> bool:
        try:
            async with asyncio.timeout(GRACE_S):
                await self._process.wait()
        except TimeoutError:
            return False
        return True

    def _signal(self, number: int) -> None:
        # Gone already, or a member of the group that changed its user: nothing that could be done about it.
        with suppress(ProcessLookupError, PermissionError):
            if _GROUPS:
                os.killpg(self._process.pid, number)
            else:
                self._process.terminate()


def _piped(stream: T | None) -> T:
    if stream is None:
        raise ValueError("a process without pipes cannot be a server")
    return stream


_running: Final[dict[ServerProcess, int]] = {}
"""Every server that was not ended yet, with the process that started it: a fork must not end its parent's."""


@atexit.register
def _kill_all() -> None:
    """For those whose event loop was given up without being closed."""
    for process, parent in list(_running.items()):
        if parent == os.getpid():
            process.kill_now()
