"""The server-sent events of one response."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import httpx

from cosmo_core.sse import ServerSentEvent, SSEParser
from cosmo_source_huggingface.transport import MAX_STREAM_BYTES

if TYPE_CHECKING:
    from cosmo_source_huggingface.transport import Call, Transport

LINGER_S: Final = 1.0
"""How long the end of a finished stream is waited for; then its connection is given up."""


class EventStream:
    """Reads events as they come, within the limits of the call.

    Not an async generator: one that is left behind half-way is closed by the event loop at some later time,
    and a deadline inside it would hit whoever consumes it.

    Attributes:
        empty: Whether no event came so far.
    """

    def __init__(self, transport: Transport, call: Call, response: httpx.Response) -> None:
        self._transport = transport
        self._call = call
        self._response = response
        self._chunks = response.aiter_bytes()
        self._parser = SSEParser()
        self._size = 0
        self.empty = True

    async def read(self) -> list[ServerSentEvent] | None:
        """The next events, which may be none yet; ``None`` at the end of the stream.

        Raises:
            NeuronError: The connection was cut, the time is up, or the stream is too large.
        """
        chunk = await self._transport.bounded(self._call, anext(self._chunks, None))
        if chunk is None:
            return None
        self._size += len(chunk)
        if self._size > MAX_STREAM_BYTES:
            raise self._transport.failures.too_large(MAX_STREAM_BYTES)
        events = self._parser.feed(chunk)
        self.empty = self.empty and not events
        return events

    async def drain(self) -> None:
        """Read on to the end, for only then can the connection be used again."""
        # The answer is complete: what goes wrong now costs a connection, and nothing else.
        with suppress(TimeoutError, httpx.HTTPError):
            async with asyncio.timeout(LINGER_S):
                while await anext(self._chunks, None) is not None:
                    pass

    async def aclose(self) -> None:
        """Give the connection back, or close it when there is something left to read."""
        await self._response.aclose()
