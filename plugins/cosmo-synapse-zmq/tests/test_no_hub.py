"""Connecting without a hub, or to another kind of server, fails in time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import zmq.asyncio

from cosmo_core import SynapseClosedError, SynapseError
from cosmo_synapse_zmq import from_url, wire

if TYPE_CHECKING:
    from tests.conftest import Connect, RunningHub, StartHub

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(serve: Serve) -> AsyncIterator[str]:
    """Listen with ``serve``, and yield the URL of a hub at that address."""
    serving: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        try:
            await serve(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"zmq://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in serving:
            task.cancel()
        if serving:
            await asyncio.wait(serving)


async def serve_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(100)
    writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    await writer.drain()


async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def stay_silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    while await reader.read(100):
        pass


async def fails_in_time(url: str, timeout_s: float) -> str:
    synapse = from_url(url, connect_timeout_s=timeout_s)
    started = time.monotonic()
    with pytest.raises(SynapseError) as caught:
        await synapse.connect()
    assert time.monotonic() - started < timeout_s + 1
    with pytest.raises(SynapseClosedError):
        await synapse.publish("a", b"")
    return str(caught.value)


async def test_without_a_hub_the_error_names_the_command_that_starts_one(
    unused_port: int, tmp_path: Path
) -> None:
    for url in (f"zmq://127.0.0.1:{unused_port}", f"zmq+ipc://{tmp_path}/none.sock"):
        assert f"python -m cosmo_synapse_zmq hub {url}" in await fails_in_time(url, 0.3)


@pytest.fixture
async def unused_port() -> int:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port


@pytest.mark.parametrize("serve", [serve_http, hang_up, stay_silent])
async def test_connecting_to_another_kind_of_server_fails_in_time(serve: Serve) -> None:
    async with listening(serve) as url:
        assert url in await fails_in_time(url, 0.5)


async def test_a_hub_may_be_started_after_its_peers(
    unused_port: int, start_hub: StartHub, connect: Connect
) -> None:
    joining = asyncio.create_task(connect(f"zmq://127.0.0.1:{unused_port}"))
    # Twice the reconnect interval.
    done, _ = await asyncio.wait((joining,), timeout=0.4)
    assert not done
    await start_hub(f"zmq://127.0.0.1:{unused_port}")
    async with asyncio.timeout(2):
        await joining


async def test_a_cancelled_connect_leaves_no_task(unused_port: int) -> None:
    before = asyncio.all_tasks()
    connecting = asyncio.create_task(from_url(f"zmq://127.0.0.1:{unused_port}").connect())
    await asyncio.wait((connecting,), timeout=0.1)
    connecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connecting
    assert asyncio.all_tasks() == before


async def test_a_rejection_contains_the_hubs_reason() -> None:
    context = zmq.asyncio.Context()
    socket = context.socket(zmq.ROUTER)
    url = f"zmq://127.0.0.1:{socket.bind_to_random_port('tcp://127.0.0.1')}"
    connecting = asyncio.create_task(from_url(url).connect())
    try:
        route, raw = await socket.recv_multipart()
        assert isinstance(wire.decode_for_hub(raw), wire.Hello)
        # A malformed message is ignored.
        await socket.send_multipart([route, b"\xff\xff"])
        await socket.send_multipart([route, wire.encode(wire.Rejection("shutting down"))])
        with pytest.raises(SynapseError, match="rejects this peer: shutting down"):
            await connecting
    finally:
        context.destroy(0)


async def test_connecting_and_closing_twice_is_allowed(hub: RunningHub, connect: Connect) -> None:
    synapse = await connect(hub.url)
    await synapse.connect()
    await synapse.close()
    await synapse.close()
    await synapse.connect()
    await synapse.publish("a", b"")
