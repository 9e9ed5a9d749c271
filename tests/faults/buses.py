"""The buses under test. Their hub or server can be killed and restarted at the same address."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

import attrs

from cosmo_synapse_nats.testing import NatsServer
from tests.faults.processes import Child

ACK_WAIT_S: Final = 3.0
"""Seconds after which a durable TASK of a lost worker is redelivered: the default."""


class Bus(Protocol):
    """A bus, and the process that runs it.

    Attributes:
        name: Its name in the report.
        url: The URL to connect to.
        pid: The id of the process that runs it; None if that is the test's own process.
    """

    @property
    def name(self) -> str: ...

    @property
    def url(self) -> str: ...

    @property
    def pid(self) -> int | None: ...

    async def kill(self) -> None:
        """Kill the process that runs it, as ``kill -9`` does."""
        ...

    async def restart(self) -> None:
        """Start it again at the same address, and return when it listens."""
        ...


@attrs.define
class InProcess:
    """A memory bus, which needs no other process."""

    name: str
    url: str
    pid: None = None

    async def kill(self) -> None:
        """Fail: a memory bus has no process to kill."""
        raise NotImplementedError("a memory bus is part of its process")

    async def restart(self) -> None:
        """Fail: a memory bus has no process to start."""
        raise NotImplementedError("a memory bus is part of its process")


@attrs.define
class ZmqHub:
    """A standalone hub."""

    url: str = "zmq://127.0.0.1:0"
    name: str = "zmq"
    options: tuple[str, ...] = ()
    _hub: Child | None = None

    async def restart(self) -> None:
        """Start it at a free port, or at its earlier address."""
        self._hub = await Child.start("-m", "cosmo_synapse_zmq", "hub", self.url, *self.options)
        self.url = (await self._hub.wait_for_line("^hub at ")).text.split()[-1]

    @property
    def pid(self) -> int | None:
        """The hub's process id."""
        return None if self._hub is None else self._hub.pid

    async def kill(self) -> None:
        """Kill the hub."""
        assert self._hub is not None
        await self._hub.kill()


@attrs.define
class Nats:
    """A NATS server."""

    server: NatsServer
    name: str
    query: str = ""

    @property
    def url(self) -> str:
        """The server's URL with the options."""
        return self.server.url + self.query

    @property
    def pid(self) -> int | None:
        """The server's process id."""
        return self.server.pid

    async def kill(self) -> None:
        """Kill the server."""
        await asyncio.to_thread(self.server.kill)

    async def restart(self) -> None:
        """Restart the server with the same store."""
        await asyncio.to_thread(self.server.restart)
