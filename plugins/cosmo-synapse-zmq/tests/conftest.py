"""Fixtures: hubs on free ports, connected Synapses, raw ZeroMQ peers, proxies and processes."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import zmq.asyncio
from zmq.utils.monitor import recv_monitor_message

from cosmo_synapse_zmq import Address, Hub, ZmqSynapse, from_url, wire
from cosmo_testing import TcpProxy

SESSION = b"sixteen bytes ok"
"""A valid session id."""

_CUT = (
    zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)


class Recorder:
    """A handler that records frames, and lets a test wait for them."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self._changed = asyncio.Event()

    def __call__(self, frame: bytes) -> None:
        self.frames.append(frame)
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


class RunningHub:
    """A hub in this process, on a free port."""

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        self.address = Address.parse(url)
        self._options = options

    async def start(self) -> None:
        listening: asyncio.Future[Address] = asyncio.get_running_loop().create_future()
        self.hub = Hub(self.address, **self._options)
        self.serving = asyncio.create_task(self.hub.serve(listening))
        await asyncio.wait((listening, self.serving), return_when=asyncio.FIRST_COMPLETED)
        if self.serving.done():
            self.serving.result()
        self.address = listening.result()

    async def stop(self) -> None:
        self.serving.cancel()
        await asyncio.wait((self.serving,))

    @property
    def url(self) -> str:
        return str(self.address)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])


class RawPeer:
    """A DEALER socket that sends arbitrary messages."""

    def __init__(self, socket: zmq.asyncio.Socket) -> None:
        self.socket = socket
        self._monitor: Any = socket.get_monitor_socket(_CUT)

    async def send(self, message: wire.Message | bytes) -> None:
        await self.socket.send(message if isinstance(message, bytes) else wire.encode(message))

    async def receive(self, within_s: float = 5) -> Any:
        """Return the next message that is not a `wire.Heartbeat`."""
        async with asyncio.timeout(within_s):
            while True:
                message = wire.decode_for_peer(await self.socket.recv())
                if not isinstance(message, wire.Heartbeat):
                    return message

    async def send_hello(
        self,
        session: bytes = SESSION,
        version: int = wire.VERSION,
        received: int = 0,
        *,
        reconnecting: bool = False,
    ) -> Any:
        """Send Hello and return the answer. The hub has then handled all messages sent before."""
        await self.send(wire.Hello(version, session, received, reconnecting))
        while True:
            answer = await self.receive()
            if isinstance(answer, wire.Welcome | wire.Rejection):
                return answer

    async def wait_disconnected(self) -> None:
        """Wait until the other side has closed or rejected the connection."""
        async with asyncio.timeout(10):
            await recv_monitor_message(self._monitor)

    def close(self) -> None:
        self.socket.disable_monitor()
        self._monitor.close(0)
        self.socket.close(0)


StartHub = Callable[..., Awaitable[RunningHub]]
Connect = Callable[..., Coroutine[Any, Any, ZmqSynapse]]
Spawn = Callable[..., Awaitable[Process]]


@pytest.fixture
def recorder() -> Callable[[], Recorder]:
    return Recorder


@pytest.fixture
def slow() -> Callable[[], Slow]:
    return Slow


@pytest.fixture
async def start_hub() -> AsyncIterator[StartHub]:
    """Start hubs, and stop them; no task may be left."""
    before = asyncio.all_tasks()
    hubs: list[RunningHub] = []

    async def start(url: str = "zmq://127.0.0.1:0", **options: Any) -> RunningHub:
        running = RunningHub(url, options)
        await running.start()
        hubs.append(running)
        return running

    yield start
    for running in hubs:
        await running.stop()
    assert asyncio.all_tasks() <= before | {asyncio.current_task()}


@pytest.fixture
async def hub(start_hub: StartHub) -> RunningHub:
    return await start_hub()


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Connect Synapses, and close them."""
    synapses: list[ZmqSynapse] = []

    async def join_one(url: str, **options: Any) -> ZmqSynapse:
        synapse = from_url(url, **options)
        synapses.append(synapse)
        await synapse.connect()
        return synapse

    yield join_one
    async with asyncio.timeout(20):
        for synapse in synapses:
            await synapse.close()


@pytest.fixture
async def proxy() -> AsyncIterator[Callable[[int], Awaitable[TcpProxy]]]:
    """Put proxies before ports."""
    async with AsyncExitStack() as proxies:

        async def start(port: int) -> TcpProxy:
            return await proxies.enter_async_context(TcpProxy("127.0.0.1", port))

        yield start


@pytest.fixture
async def raw_peer() -> AsyncIterator[Callable[..., RawPeer]]:
    """Connect raw peers; the options are set on the socket first."""
    context = zmq.asyncio.Context()
    raw_peers: list[RawPeer] = []

    def connect(url: str, **options: int | bytes) -> RawPeer:
        socket = context.socket(zmq.DEALER)
        for name, value in options.items():
            setattr(socket, name, value)
        raw_peers.append(RawPeer(socket))
        socket.connect(Address.parse(url).endpoint)
        return raw_peers[-1]

    yield connect
    for each in raw_peers:
        each.close()
    context.term()


@pytest.fixture
async def spawn() -> AsyncIterator[Spawn]:
    """Start Python processes, and stop them."""
    processes: list[Process] = []

    async def start(*arguments: str | Path) -> Process:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "error", *arguments),
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.fixture
def member(spawn: Spawn) -> Spawn:
    """Start a member of a queue group in a new process, and wait until it has subscribed: see `peer.py`."""

    async def start(url: str, behaviour: str, lease_s: float = 3.0) -> Process:
        process = await spawn(Path(__file__).with_name("peer.py"), url, behaviour, str(lease_s))
        assert process.stdout is not None
        async with asyncio.timeout(20):
            assert await process.stdout.readline() == b"ready\n"
        return process

    return start


@pytest.fixture
def eventually() -> Callable[..., Awaitable[None]]:
    """Wait until a condition holds, for conditions without an event."""

    async def wait(holds: Callable[[], bool], within_s: float = 10) -> None:
        async with asyncio.timeout(within_s):
            while not holds():  # noqa: ASYNC110 - no event exists
                await asyncio.sleep(0.01)

    return wait
