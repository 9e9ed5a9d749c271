"""A TCP proxy whose connections can be cut and stalled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from cosmo_testing import TcpProxy
from cosmo_testing.conformance.leftovers import leftovers

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
LARGE = bytes(range(256)) * 16_384


@pytest.fixture(autouse=True)
async def limit() -> AsyncIterator[None]:
    async with asyncio.timeout(20):
        yield


@asynccontextmanager
async def served(serve: Serve) -> AsyncIterator[int]:
    """Run a server; give its port."""
    serving: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except ConnectionError:
            pass  # the proxy cut it
        finally:
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(handle(reader, writer))
        serving.add(task)
        task.add_done_callback(serving.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        if serving:
            await asyncio.wait(serving)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def answer_when_all_is_said(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    heard = await reader.read()
    writer.write(heard)
    await writer.drain()


@pytest.fixture
async def proxy() -> AsyncIterator[TcpProxy]:
    """A proxy before an echo."""
    async with served(echo) as port, TcpProxy("127.0.0.1", port) as proxy:
        yield proxy


async def join(proxy: TcpProxy) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", proxy.own_port)


async def says(proxy: TcpProxy, text: bytes) -> bytes:
    """Connect, say something, and return what comes back."""
    reader, writer = await join(proxy)
    writer.write(text)
    came = await reader.readexactly(len(text))
    writer.close()
    await writer.wait_closed()
    return came


async def ends(reader: asyncio.StreamReader) -> bool:
    """Whether a connection ends, with or without an error, and says nothing more."""
    try:
        return await reader.read() == b""
    except ConnectionError:
        return True


async def test_bytes_are_carried_both_ways_over_many_connections_at_once(proxy: TcpProxy) -> None:
    texts = [b"%d" % number * 1000 for number in range(20)]
    assert await asyncio.gather(*(says(proxy, text) for text in texts)) == texts


async def test_half_closed_client_gets_the_whole_answer() -> None:
    async with served(answer_when_all_is_said) as port, TcpProxy("127.0.0.1", port) as proxy:
        reader, writer = await join(proxy)
        writer.write(LARGE)
        writer.write_eof()
        assert await reader.read() == LARGE
        writer.close()
        await writer.wait_closed()


async def test_a_cut_breaks_both_sides_and_the_next_connection_works() -> None:
    server_saw: asyncio.Queue[bool] = asyncio.Queue()

    async def watch(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(5))
        await writer.drain()
        server_saw.put_nowait(await ends(reader))

    async with served(watch) as port, TcpProxy("127.0.0.1", port) as proxy:
        connections = [await join(proxy) for _ in range(2)]
        for reader, writer in connections:
            writer.write(b"hello")
            assert await reader.readexactly(5) == b"hello"
        proxy.cut()
        for reader, writer in connections:
            assert await ends(reader)
            assert await server_saw.get()
            writer.close()
        assert await says(proxy, b"again") == b"again"


async def test_stall_holds_one_direction_and_delivers_everything_afterwards() -> None:
    heard = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(len(LARGE)))
        heard.set()
        await writer.drain()
        await reader.read()

    async with served(serve) as port, TcpProxy("127.0.0.1", port) as proxy:
        reader, writer = await join(proxy)
        coming = asyncio.ensure_future(reader.readexactly(len(LARGE)))
        with proxy.stalled():
            writer.write(LARGE)
            await heard.wait()
            done, _ = await asyncio.wait([coming], timeout=0.1)
            assert not done
        assert await coming == LARGE
        writer.close()
        await writer.wait_closed()


async def test_stalled_connection_can_be_cut(proxy: TcpProxy) -> None:
    reader, writer = await join(proxy)
    with proxy.stalled():
        writer.write(b"hello")
        proxy.cut()
        assert await ends(reader)
    writer.close()
    assert await says(proxy, b"again") == b"again"


async def test_stopped_server_ends_the_connection_and_moved_server_is_found(proxy: TcpProxy) -> None:
    async with served(echo) as gone:
        pass
    there, proxy.port = proxy.port, gone
    reader, writer = await join(proxy)
    assert await ends(reader)
    writer.close()
    proxy.port = there
    assert await says(proxy, b"hello") == b"hello"


async def test_nothing_is_left_after_exit() -> None:
    before = asyncio.all_tasks()
    with leftovers() as found:
        async with served(echo) as port:
            async with TcpProxy("127.0.0.1", port) as proxy:
                talking, silent = await join(proxy), await join(proxy)
                talking[1].write(b"hello")
                assert await talking[0].readexactly(5) == b"hello"
                # It was not even accepted when the proxy goes.
                fresh = await join(proxy)
            for reader, writer in (talking, silent, fresh):
                assert await ends(reader)
                writer.close()
        with pytest.raises(ConnectionRefusedError):
            await join(proxy)
        assert asyncio.all_tasks() <= before
        del talking, silent, fresh, reader, writer
    assert found == []
