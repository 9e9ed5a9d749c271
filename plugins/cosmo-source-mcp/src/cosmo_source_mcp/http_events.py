"""The server-sent events of a response, checked before the SDK sees them."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

import httpx2
from mcp.types.jsonrpc import jsonrpc_message_adapter

from cosmo_source_mcp import wire_errors
from cosmo_source_mcp.limits import MAX_MESSAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from cosmo_source_mcp.redaction import Secrets

_END: Final = re.compile(rb"\r?\n\r?\n")
_DATA: Final = re.compile(rb"^data:? ?([^\r\n]*)", re.MULTILINE)


class CheckedEvents(httpx2.AsyncByteStream):
    """Passes events on; one that is not understood or too large becomes an error of the request.

    The SDK would log such an event, with any secret in it, or end the stream without telling why.
    """

    def __init__(self, response: httpx2.Response, secrets: Secrets) -> None:
        self._response = response
        self._secrets = secrets
        self._held = bytearray()

    async def __aiter__(self) -> AsyncGenerator[bytes]:
        """The bytes of whole events."""
        async for chunk in self._response.aiter_bytes():
            searched = max(0, len(self._held) - 3)  # the end of an event may be cut in two
            self._held += chunk
            while end := _END.search(self._held, searched):
                event = bytes(self._held[: end.end()])
                del self._held[: end.end()]
                searched = 0
                yield self._checked(event)
            if len(self._held) > MAX_MESSAGE_BYTES:
                yield _error_event(wire_errors.TOO_LARGE)
                return

    async def aclose(self) -> None:
        """Close the response."""
        await self._response.aclose()

    def _checked(self, event: bytes) -> bytes:
        data = b"\n".join(_DATA.findall(event))
        # Without data, it is a comment, or only marks a place to go on from.
        if not data or is_message(data):
            return event
        return _error_event(wire_errors.MALFORMED, self._secrets.quote(data.decode(errors="replace")))


def is_message(data: bytes) -> bool:
    """Whether this is a JSON-RPC message."""
    try:
        jsonrpc_message_adapter.validate_json(data, by_name=False)
    except ValueError:
        return False
    return True


def error_body(code: int, words: str = "") -> dict[str, object]:
    """A JSON-RPC error that the SDK takes for the answer to whatever request it comes for."""
    return {"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": words}}


def _error_event(code: int, words: str = "") -> bytes:
    return b"data: " + json.dumps(error_body(code, words)).encode() + b"\n\n"
