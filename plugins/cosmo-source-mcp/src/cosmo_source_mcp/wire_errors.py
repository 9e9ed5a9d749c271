"""Failures of a transport, in the form that the SDK hands on to the one request they hit: a JSON-RPC error.

Anything else that goes wrong below the SDK costs it the whole session, and all the calls in it.
"""

from __future__ import annotations

from typing import Final

_BLOCK: Final = 733_100_000
"""Added to every code, so that none is a server's own: those are small, or negative."""

UNREACHABLE: Final = _BLOCK + 1
"""No connection could be made, or it was cut."""
MALFORMED: Final = _BLOCK + 2
"""The answer is not MCP."""
TOO_LARGE: Final = _BLOCK + 3
"""The answer is larger than what is read."""
NOT_MCP: Final = _BLOCK + 4
"""What the server sends is something else altogether."""
SESSION_LOST: Final = _BLOCK + 5
"""The server does not know the session any more, and has not run the request."""


def of_status(status: int) -> int:
    """The code for an HTTP status of refusal."""
    return _BLOCK + status


def status_of(code: int) -> int | None:
    """The HTTP status that a code stands for, if it does."""
    status = code - _BLOCK
    return status if 400 <= status <= 599 else None
