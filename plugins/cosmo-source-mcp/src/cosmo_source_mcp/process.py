"""The process of a server. It is ended at the latest when the interpreter exits."""

from __future__ import annotations

import asyncio
import atexit
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process, SubprocessStreamProtocol
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import unquote

from mcp.client.stdio import get_default_environment

from cosmo_source_mcp.limits import GRACE_S, MAX_MESSAGE_BYTES

if TYPE_CHECKING:
    from cosmo_source_mcp.targets import Launch

T = TypeVar("T")

_GROUPS: Final = sys.platform != "win32"
"""Whether a server has its own process group, so that its child processes are ended with it."""


_NETWORK: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_CERTIFICATES: Final = (
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "NODE_USE_SYSTEM_CA",
    "NPM_CONFIG_CAFILE",
    "npm_config_cafile",
    "UV_SYSTEM_CERTS",
    "UV_NATIVE_TLS",
    "PIP_CERT",
    "GIT_SSL_CAINFO",
    "DENO_CERT",
)


def inherited_network() -> dict[str, str]:
    """The variables that tell a server how to reach the network: the proxies and the certificates.

    Node.js does not read ``SSL_CERT_FILE``, so its own variable is set to the same file.
    """
    names = [*_NETWORK, *(name.lower() for name in _NETWORK), *_CERTIFICATES]
    network = {name: os.environ[name] for name in names if name in os.environ}
    if "SSL_CERT_FILE" in network:
        network.setdefault("NODE_EXTRA_CA_CERTS", network["SSL_CERT_FILE"])
    return network


def inherited_secrets() -> list[str]:
    """The passwords in those variables."""
    secrets = []
    for value in inherited_network().values():
        credentials = value.rpartition("@")[0].rpartition("/")[2]
        if password := credentials.partition(":")[2]:
            secrets += [credentials, password, unquote(password)]
    return secrets


class ServerProcess:
    """A running server, with pipes to its three standard streams.

    Attributes:
        stdin: The server's stdin; closing it asks the server to end.
        stdout: The server's stdout; it reads lines up to the size limit of a message.
        stderr: The server's stderr.
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
            OSError: The operating system did not start it.
        """
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.subprocess_exec(
            lambda: SubprocessStreamProtocol(limit=MAX_MESSAGE_BYTES, loop=loop),
            *(launch.command, *launch.args),
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            # Not the whole environment of this process: it may hold keys that the server must not see.
            env={**get_default_environment(), **inherited_network(), **launch.env},
            cwd=launch.cwd,
            start_new_session=_GROUPS,
        )
        return cls(transport, Process(transport, protocol, loop))

    @property
    def status(self) -> int | None:
        """The exit status, negative for a signal; ``None`` while it runs."""
        return self._process.returncode

    async def stop(self) -> bool:
        """End it and its child processes: close its stdin, then send SIGTERM, then SIGKILL.

        Returns:
            Whether it ended without a signal from this process.
        """
        try:
            self.stdin.close()
            ended_by_itself = await self._has_ended()
            if not ended_by_itself:
                self._signal(signal.SIGTERM)
                await self._has_ended()
        finally:
            # Also after a cancellation, and for child processes that the server has left.
            await self.kill()
        return ended_by_itself

    async def kill(self) -> bool:
        """End it and its child processes at once; return ``False``, because that takes a signal."""
        try:
            self.kill_now()
            await self._has_ended()
        finally:
            self._transport.close()
            _running.pop(self, None)
        return False

    def kill_now(self) -> None:
        """Send SIGKILL. This works without an event loop."""
        self._signal(signal.SIGKILL if _GROUPS else signal.SIGTERM)

    async def _has_ended(self) -> bool:
        try:
            async with asyncio.timeout(GRACE_S):
                await self._process.wait()
        except TimeoutError:
            return False
        return True

    def _signal(self, number: int) -> None:
        # It has ended already, or a process of the group has changed its user; neither can be handled.
        with suppress(ProcessLookupError, PermissionError):
            if _GROUPS:
                os.killpg(self._process.pid, number)
            else:
                self._process.terminate()


def _piped(stream: T | None) -> T:
    if stream is None:
        raise ValueError("the process has no pipes")
    return stream


_running: Final[dict[ServerProcess, int]] = {}
"""Every server that still runs, with the id of the process that started it: a fork must not end them."""


@atexit.register
def _kill_all() -> None:
    """End servers whose event loop was not closed."""
    for process, parent in list(_running.items()):
        if parent == os.getpid():
            process.kill_now()
