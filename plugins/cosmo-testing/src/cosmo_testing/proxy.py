"""A TCP proxy whose connections a test can cut or stall."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Self

CHUNK: Final = 64 * 1024
"""Bytes that are forwarded at once."""


class TcpProxy:
    """Forwards connections to a server. Use it as ``async with``.

    Args:
        host: The host of the server.
        port: The port of the server. It may change while the proxy runs, if the server restarts elsewhere.

    Attributes:
        own_port: The port of the proxy on 127.0.0.1.
    """

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self.own_port = 0
        self._server: asyncio.Server | None = None
        self._carrying: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=CHUNK)
        self.own_port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        self.cut()
        if self._carrying:
            await asyncio.wait(self._carrying)

    def cut(self) -> None:
        """Break every open connection. New connections work."""
        for writer in self._writers:
            writer.transport.abort()
        for task in self._carrying:
            task.cancel()

    @contextmanager
    def stalled(self) -> Iterator[None]:
        """Inside the context, forward nothing from the server; the connections stay open."""
        self._flowing.clear()
        try:
            yield
        finally:
            self._flowing.set()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._server is None or not self._server.is_serving():
            writer.transport.abort()
            return
        self._writers.add(writer)
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._carrying.add(task)
        task.add_done_callback(self._carrying.discard)
        # Not in the task: a task that is cancelled before it starts would not do it.
        task.add_done_callback(lambda _: self._writers.discard(writer))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._carry(reader, writer)
        except* OSError:
            # One side closed the connection.
            writer.transport.abort()
        except* asyncio.CancelledError:
            # `cut` closed it; no caller waits for this task.
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection(self.host, self.port, limit=CHUNK)
        self._writers.add(server_writer)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(_pump(reader, server_writer))
                both.create_task(_pump(server_reader, writer, self._flowing))
            for each in (server_writer, writer):
                each.close()
                await each.wait_closed()
        finally:
            self._writers.discard(server_writer)
            server_writer.transport.abort()
            writer.transport.abort()


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flowing: asyncio.Event | None = None
) -> None:
    while data := await reader.read(CHUNK):
        if flowing is not None:
            await flowing.wait()
        writer.write(data)
        await writer.drain()
    # The other direction stays open: a client may send everything and then wait for the answer.
    writer.write_eof()
