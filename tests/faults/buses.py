"""The buses that faults happen on. What carries one can be killed, and started again in its place."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

import attrs

from cosmo_synapse_nats.testing import NatsServer
from tests.faults.processes import Child

ACK_WAIT_S: Final = 3.0
"""Seconds after which a durable TASK of a lost worker goes to another one; the default is ten times that."""


class Bus(Protocol):
    """A bus, and what carries it.

    Attributes:
        name: What tells it from the others in a report.
        url: What programs connect to.
        pid: The process that carries it; None if that is the test's own.
    """

    @property
    def name(self) -> str: ...

    @property
    def url(self) -> str: ...

    @property
    def pid(self) -> int | None: ...

    async def kill(self) -> None:
        """End what carries it, as ``kill -9`` does."""
        ...

    async def restart(self) -> None:
        """Start it again at the same address, and return when it listens."""
        ...


@attrs.define
class InProcess:
    """Memory: nothing carries it."""

    name: str
    url: str
    pid: None = None

    async def kill(self) -> None:
        """Fail: there is nothing to kill."""
        raise NotImplementedError("a memory bus is part of its process")

    async def restart(self) -> None:
        """Fail: there is nothing to start."""
        raise NotImplementedError("a memory bus is part of its process")


@attrs.define
class ZmqHub:
    """A standalone hub."""

    url: str = "zmq://127.0.0.1:0"
    name: str = "zmq"
    options: tuple[str, ...] = ()
    _hub: Child | None = None

    async def restart(self) -> None:
        """Start it at a free port, or where it was before."""
        self._hub = await Child.start("-m", "cosmo_synapse_zmq", "hub", self.url, *self.options)
        self.url = (await self._hub.says("^hub at ")).text.split()[-1]

    @property
    def pid(self) -> int | None:
        """The hub's."""
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
        """The server's, and how it is to be used."""
        return self.server.url + self.query

    @property
    def pid(self) -> int | None:
        """The server's."""
        return self.server.pid

    async def kill(self) -> None:
        """Kill the server."""
        await asyncio.to_thread(self.server.kill)

    async def restart(self) -> None:
        """Start it again with the store it had."""
        await asyncio.to_thread(self.server.restart)
