"""What a provider sends: JSON objects, bodies of bounded size, and how long to wait."""

from __future__ import annotations

import asyncio
import json
import math
import re
import time
import zlib
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

DECODED_CHUNK_BYTES: Final = 64 << 10
"""The most that is decompressed in one step."""

_SURROGATE_ESCAPE: Final = re.compile(r"\\u[dD][89a-fA-F]")
_BOM: Final = "\ufeff"
_MILLISECONDS: Final = re.compile(r"[0-9]{1,15}(?:\.[0-9]+)?")
_ENCODINGS: Final = ("gzip", "x-gzip", "deflate")
_ANY_HEADER: Final = 32 + zlib.MAX_WBITS
"""The window size with which zlib reads the header of gzip, and its own."""


class EncodingError(Exception):
    """The ``Content-Encoding`` of a response cannot be decoded within bounds; the message says why."""


class Response(Protocol):
    """An HTTP response whose body is read in chunks, such as ``httpx.Response``."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, by names in any case."""
        ...

    @property
    def is_stream_consumed(self) -> bool:
        """Whether the body was read before, and is in memory."""
        ...

    def aiter_bytes(self) -> AsyncIterator[bytes]:
        """The decoded body, chunk by chunk."""
        ...

    def aiter_raw(self) -> AsyncIterator[bytes]:
        """The body as it was sent, chunk by chunk."""
        ...

    async def aclose(self) -> None:
        """Release the connection."""
        ...


def decoded(response: Response) -> AsyncIterator[bytes]:
    """The body of a response, decompressed in steps of at most `DECODED_CHUNK_BYTES`.

    An HTTP client decompresses each chunk at once, to a thousand times its size, and several encodings to a
    million times. Here the reader can stop at its limit.

    Raises:
        EncodingError: The encoding is neither gzip nor deflate, there are several, or the data is damaged.
    """
    encoding = (response.headers.get("content-encoding") or "identity").strip().lower()
    if encoding == "identity" or response.is_stream_consumed:
        return response.aiter_bytes()
    if encoding not in _ENCODINGS:
        raise EncodingError(f"content-encoding {encoding!r} is not supported; gzip and deflate are")
    return _decompressed(response, encoding)


async def _decompressed(response: Response, encoding: str) -> AsyncIterator[bytes]:
    engine: Any = None
    async for raw in response.aiter_raw():
        engine = engine or zlib.decompressobj(_window(encoding, raw))
        pending = raw
        while pending and not engine.eof:
            try:
                chunk = engine.decompress(pending, DECODED_CHUNK_BYTES)
            except zlib.error:
                raise EncodingError(f"the body is not valid {encoding}") from None
            pending = engine.unconsumed_tail
            if chunk:
                yield chunk
                await asyncio.sleep(0)  # so that the reader's time limit applies
    if engine is not None and not engine.eof:
        raise EncodingError(f"the {encoding} of the body ends early")


def _window(encoding: str, data: bytes) -> int:
    # Some servers send deflate without the header of zlib, whose low four bits are 8.
    is_bare = encoding == "deflate" and data[0] & 0x0F != zlib.DEFLATED
    return -zlib.MAX_WBITS if is_bare else _ANY_HEADER


async def read_up_to(limit: int, response: Response) -> tuple[bytes, bool]:
    """Read a body up to a limit, and close the response.

    Args:
        limit: In bytes, decompressed.
        response: The response to read.

    Returns:
        At most the first ``limit`` bytes, and whether they are the whole body.

    Raises:
        EncodingError: The body cannot be decompressed.
    """
    body = bytearray()
    try:
        async for chunk in decoded(response):
            body += chunk
            if len(body) > limit:
                del body[limit:]
                return bytes(body), False
    finally:
        await response.aclose()
    return bytes(body), True


def is_loopback(host: str) -> bool:
    """Whether a host name or an IP address is that of this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def retry_after_s(value: str | None, *, now: float | None = None) -> float | None:
    """Read a ``Retry-After`` header as seconds from now, at least 0.

    Args:
        value: The header: seconds, or an HTTP date.
        now: Seconds since the epoch; the present by default.

    Returns:
        ``None`` when the header is absent or not valid. The value has no upper bound: compare it with the
        time that is left.
    """
    value = (value or "").strip()
    if value.isascii() and value.isdecimal():
        return float(value)
    try:
        moment = parsedate_to_datetime(value).timestamp()
    except (ValueError, OverflowError):
        return None
    return max(0.0, moment - (time.time() if now is None else now))


def asked_wait_s(headers: Mapping[str, str]) -> float | None:
    """How long a response asks to wait, in seconds: ``retry-after-ms``, or else ``Retry-After``."""
    milliseconds = headers.get("retry-after-ms") or ""
    if _MILLISECONDS.fullmatch(milliseconds):
        return float(milliseconds) / 1_000
    return retry_after_s(headers.get("retry-after"))


def parse_object(data: bytes | str, *, halves: bool = False) -> dict[str, Any]:
    """Parse a provider's JSON object, and refuse what a Signal cannot carry. A byte order mark is skipped.

    Args:
        data: The JSON text.
        halves: Whether halves of surrogate pairs are accepted, because another part may have the other half.

    Raises:
        ValueError: It is not JSON, not an object, nested too deep, or holds a number or a string that JSON
            as UTF-8 cannot carry (``NaN``, ``1e999``, half a surrogate pair).
    """
    try:
        text = data.decode() if isinstance(data, bytes) else data
        value = _FINITE_JSON.decode(text.removeprefix(_BOM))
        if not isinstance(value, dict):
            raise ValueError("not a JSON object")  # noqa: TRY004 - callers catch one error for all of it
        if not halves and _SURROGATE_ESCAPE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("nested too deep") from None
    return value


def is_json(text: str | bytes) -> bool:
    """Whether a text is a complete JSON value of any type."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _finite(literal: str) -> float:
    number = float(literal)
    if not math.isfinite(number):
        raise ValueError(f"{literal} is not a finite number")
    return number


# Made once: making a decoder takes longer than decoding a delta.
_FINITE_JSON: Final = json.JSONDecoder(parse_constant=_finite, parse_float=_finite)
