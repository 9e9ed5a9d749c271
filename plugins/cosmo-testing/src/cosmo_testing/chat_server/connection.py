"""One HTTP/1.1 connection of the chat server: h11 on asyncio streams."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

import h11

from cosmo_testing.chat_server.messages import ReceivedRequest, RefusedError, Response

_READ_SIZE: Final = 65_536


class HttpConnection:
    """Reads requests and writes responses, one at a time, until the client closes the connection.

    Args:
        reader: The stream from the client.
        writer: The stream to the client.
        max_body: The largest request body, in bytes; a larger one is refused with 413.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, max_body: int) -> None:
        self._reader = reader
        self._writer = writer
        self._max_body = max_body
        self._wire = h11.Connection(h11.SERVER)

    async def receive(self) -> ReceivedRequest | None:
        """Return the next request, or ``None`` at the end of the connection.

        Raises:
            RefusedError: The request is not HTTP/1.1, or is too large.
            ConnectionError: The client closed the connection during the request.
        """
        if self._wire.our_state is h11.DONE and self._wire.their_state is h11.DONE:
            self._wire.start_next_cycle()
        if self._wire.our_state is not h11.IDLE:
            return None
        try:
            head = await self._next_event()
            return await self._with_body(head) if isinstance(head, h11.Request) else None
        except h11.RemoteProtocolError as error:
            raise RefusedError(error.error_status_hint, f"not an HTTP/1.1 request: {error}") from error

    async def _with_body(self, head: h11.Request) -> ReceivedRequest:
        body = bytearray()
        size = 0
        while isinstance(event := await self._next_event(), h11.Data):
            size += len(event.data)
            if size <= self._max_body:
                body += event.data
        # Only now: a client that is still sending would get a reset instead of the response.
        if size > self._max_body:
            raise RefusedError(413, f"the request body is larger than {self._max_body} bytes")
        headers = {name.decode("ascii"): value.decode("latin-1") for name, value in head.headers}
        path = head.target.decode("ascii").partition("?")[0]
        return ReceivedRequest(head.method.decode("ascii"), path, headers, bytes(body))

    async def _next_event(self) -> type[h11.NEED_DATA | h11.PAUSED] | h11.Event:
        while (event := self._wire.next_event()) is h11.NEED_DATA:
            if self._wire.they_are_waiting_for_100_continue:
                await self._send(h11.InformationalResponse(status_code=100, headers=[]))
            self._wire.receive_data(await self._reader.read(_READ_SIZE))
        return event

    async def start(self, response: Response) -> None:
        """Send the head."""
        headers = {"content-type": response.content_type, **response.headers}
        if not response.chunked:
            headers["content-length"] = str(sum(map(len, response.pieces)))
        await self._send(h11.Response(status_code=response.status, headers=list(headers.items())))

    async def piece(self, data: bytes) -> None:
        """Send a part of the body at once."""
        await self._send(h11.Data(data=data))

    async def finish(self) -> None:
        """End the response."""
        await self._send(h11.EndOfMessage())

    async def _send(self, event: h11.Event) -> None:
        # h11 returns None only for ConnectionClosed, which is never sent here.
        self._writer.write(self._wire.send(event) or b"")
        await self._writer.drain()

    async def client_left(self) -> None:
        """Return when the client has closed the connection, or has sent more than one request ahead."""
        ahead = 0
        while ahead <= self._max_body and (data := await self._reader.read(_READ_SIZE)):
            ahead += len(data)
            self._wire.receive_data(data)

    def abort(self) -> None:
        """Drop the connection, including written bytes that are not sent yet."""
        self._writer.transport.abort()

    async def aclose(self) -> None:
        """Send the written bytes, and close the connection."""
        self._writer.close()
        # The client may have closed the connection already.
        with suppress(ConnectionError):
            await self._writer.wait_closed()
