"""What a provider sends: JSON objects, bodies of bounded size, and the ``Retry-After`` header."""

from __future__ import annotations

import json
import math
import re
import time
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_SURROGATE_ESCAPE: Final = re.compile(r"\\u[dD][89a-fA-F]")


class Response(Protocol):
    """An HTTP response whose body is read in chunks, such as ``httpx.Response``."""

    def aiter_bytes(self) -> AsyncIterator[bytes]:
        """The decoded body, chunk by chunk."""
        ...

    async def aclose(self) -> None:
        """Release the connection."""
        ...


async def read_up_to(limit: int, response: Response) -> tuple[bytes, bool]:
    """Read a body up to a limit, and close the response.

    Args:
        limit: In bytes.
        response: The response to read.

    Returns:
        At most the first ``limit`` bytes, and whether they are the whole body.
    """
    body = bytearray()
    try:
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > limit:
                return bytes(body[:limit]), False
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


def parse_object(data: bytes | str) -> dict[str, Any]:
    """Parse a provider's JSON object, and refuse what a Signal cannot carry.

    Raises:
        ValueError: It is not JSON, not an object, nested too deep, or holds a number or a string that JSON
            as UTF-8 cannot carry (``NaN``, ``1e999``, half a surrogate pair).
    """
    try:
        text = data.decode() if isinstance(data, bytes) else data
        value = _FINITE_JSON.decode(text)
        if not isinstance(value, dict):
            raise ValueError("not a JSON object")  # noqa: TRY004 - callers catch one error for all of it
        if _SURROGATE_ESCAPE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("nested too deep") from None
    return value


def _finite(literal: str) -> float:
    number = float(literal)
    if not math.isfinite(number):
        raise ValueError(f"{literal} is not a finite number")
    return number


# Made once: making a decoder takes longer than decoding a delta.
_FINITE_JSON: Final = json.JSONDecoder(parse_constant=_finite, parse_float=_finite)
