"""An answer that comes in pieces."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol, Self

import httpx

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cosmo_llm.http.call import Call

MAX_STREAM_BYTES: Final = 64 << 20
"""The largest stream, as it comes over the wire: each token brings some 250 bytes of JSON with it."""
LINGER_S: Final = 1.0
"""How long the end of a finished stream is waited for; then its connection is given up."""


class Decoder(Protocol):
    """Understands the bytes of one stream.

    Attributes:
        done: Whether what follows does not matter any more.
    """

    done: bool

    def feed(self, chunk: bytes) -> Iterator[str]:
        """Take the next bytes and give the texts that they complete.

        Raises:
            NeuronError: They are not understood, or report an error.
        """
        ...

    def end(self) -> Iterator[str]:
        """Take notice that no more bytes will be fed, and give the texts that this completes.

        Raises:
            NeuronError: The answer is not complete.
        """
        ...


class AnswerStream:
    """Gives the texts of an answer as they come; use it as ``async with``.

    Not an async generator: one that is left behind half-way is closed by the event loop at some later time,
    and a deadline inside it would hit whoever consumes it.

    Args:
        call: What is answered; bounds every wait.
        response: The success that was sent.
        decoder: Makes texts of its bytes.
    """

    def __init__(self, call: Call, response: httpx.Response, decoder: Decoder) -> None:
        self._call = call
        self._response = response
        self._decoder = decoder
        self._chunks = response.aiter_bytes()
        self._size = 0
        self._ended = False
        self._texts: Iterator[str] = iter(())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        # Gives the connection back, or closes it when there is something left to read.
        await self._response.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        """The next text.

        Raises:
            NeuronError: The answer was cut, is too late, too large, or not understood.
        """
        while (text := next(self._texts, None)) is None:
            if self._ended:
                await self._drain()
                raise StopAsyncIteration
            chunk = None if self._decoder.done else await self._read()
            self._ended = chunk is None
            self._texts = self._decoder.end() if chunk is None else self._decoder.feed(chunk)
        return text

    async def _read(self) -> bytes | None:
        chunk = await self._call.bounded(anext(self._chunks, None))
        self._size += len(chunk or b"")
        if self._size > MAX_STREAM_BYTES:
            raise self._call.failures.too_large(MAX_STREAM_BYTES)
        return chunk

    async def _drain(self) -> None:
        """Read on to the end, for only then can the connection be used again."""
        # The answer is complete: what goes wrong now costs a connection, and nothing else.
        with suppress(TimeoutError, httpx.HTTPError):
            async with asyncio.timeout(LINGER_S):
                while await anext(self._chunks, None) is not None:
                    pass
