"""The size limit of a body, before and during its decompression."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

import httpx

_SLICE: Final = 64 << 10


class BodyTooLargeError(Exception):
    """A body exceeds its size limit."""


class BodyLimit:
    """Counts the bytes of one body as the app sends them.

    Args:
        limit: The size limit in bytes.

    Attributes:
        exceeded: Whether the body exceeded it. The app may have caught the exception that said so.
    """

    def __init__(self, limit: int) -> None:
        self._left = limit
        self.exceeded = False

    def count(self, size: int) -> None:
        """Count ``size`` more bytes.

        Raises:
            BodyTooLargeError: The body exceeds the limit.
        """
        self._left -= size
        if self._left < 0:
            self.exceeded = True
            raise BodyTooLargeError


class SlicedBody(httpx.AsyncByteStream):
    """A body in slices, so that decompressing can stop before it fills the memory."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The slices."""
        for start in range(0, len(self._content), _SLICE):
            yield self._content[start : start + _SLICE]
