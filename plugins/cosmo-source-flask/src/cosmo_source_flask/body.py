"""Bodies, within a limit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import httpx

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_SLICE: Final = 64 << 10


class BodyTooLargeError(Exception):
    """A body is larger than its limit."""


class BodyLimit:
    """Counts the bytes of one body.

    Attributes:
        exceeded: Whether it was too much, also if the app swallowed the error that said so.
    """

    def __init__(self, limit: int) -> None:
        self._left = limit
        self.exceeded = False

    def take(self, size: int) -> None:
        """Count ``size`` more bytes.

        Raises:
            BodyTooLargeError: They are too many.
        """
        self._left -= size
        if self._left < 0:
            self.exceeded = True
            raise BodyTooLargeError


class SlicedBody(httpx.AsyncByteStream):
    """A body given in slices, so that decompressing it can be stopped before it fills the memory."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._content), _SLICE):
            yield self._content[start : start + _SLICE]


async def read_within(limit: int, response: httpx.Response) -> bytes:
    """Return the whole body, decompressed.

    Raises:
        BodyTooLargeError: It is larger than ``limit``.
    """
    body, allowed = bytearray(), BodyLimit(limit)
    async for chunk in response.aiter_bytes():
        allowed.take(len(chunk))
        body += chunk
    return bytes(body)
