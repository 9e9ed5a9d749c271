"""JSON-RPC messages and the codes of failures: those of ERROR Signals, derived from JSON-RPC error codes.

The SDK delivers a JSON-RPC error to the one request that it answers. Any other exception in a transport ends
the session and all its calls. So the transports of this source turn their failures into JSON-RPC errors, with
the codes from `UNREACHABLE` to `SESSION_LOST`, or with one for an HTTP status.
"""

from __future__ import annotations

from codecs import BOM_UTF8
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from mcp.types import CONNECTION_CLOSED, INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, PARSE_ERROR
from mcp.types.jsonrpc import jsonrpc_message_adapter

from cosmo_llm import Failure, failure_of_status, failures

if TYPE_CHECKING:
    from mcp.types.jsonrpc import JSONRPCMessage

TOOL_ERROR: Final = Failure("TOOL_ERROR", recoverable=False)
"""The tool ran and failed; the message quotes the tool."""
TOOL_NOT_FOUND: Final = Failure("TOOL_NOT_FOUND", recoverable=False)
"""The server does not have the tool."""
RESOURCE_NOT_FOUND: Final = Failure("RESOURCE_NOT_FOUND", recoverable=False)
"""The server does not have the resource."""
SERVER_NOT_FOUND: Final = Failure("SERVER_NOT_FOUND", recoverable=False)
"""The command does not exist, or the URL is not that of an MCP server."""
SERVER_START_FAILED: Final = Failure("SERVER_START_FAILED", recoverable=False)
"""The server could not be started, or ended instead of answering."""

_NO_RESOURCE: Final = -32002
"""The code that the protocol up to 2025-11-25 specifies for a resource that does not exist."""

_BLOCK: Final = 733_100_000
"""Added to every code of a transport. The codes of servers are small or negative."""

UNREACHABLE: Final = _BLOCK + 1
"""No connection could be made, or it broke."""
MALFORMED: Final = _BLOCK + 2
"""The answer is not MCP."""
TOO_LARGE: Final = _BLOCK + 3
"""The answer exceeds the size limit."""
NOT_MCP: Final = _BLOCK + 4
"""The server prints too much that is not MCP."""
SESSION_LOST: Final = _BLOCK + 5
"""The server does not know the session any more, and has not run the request."""
NO_TOKEN: Final = _BLOCK + 6
"""The request was not sent, because its authorization failed on this side."""

_BY_STATUS: Final[dict[int, Failure]] = {
    HTTPStatus.BAD_REQUEST: failures.PROVIDER_REFUSED,
    HTTPStatus.NOT_FOUND: SERVER_NOT_FOUND,
    HTTPStatus.METHOD_NOT_ALLOWED: SERVER_NOT_FOUND,
}
_BY_CODE: Final = {
    UNREACHABLE: failures.PROVIDER_UNREACHABLE,
    SESSION_LOST: failures.PROVIDER_UNREACHABLE,
    MALFORMED: failures.PROVIDER_MALFORMED,
    TOO_LARGE: failures.PROVIDER_MALFORMED,
    NOT_MCP: failures.PROVIDER_MALFORMED,
    NO_TOKEN: failures.AUTH_FAILED,
    CONNECTION_CLOSED: failures.PROVIDER_UNREACHABLE,
    INVALID_PARAMS: failures.INPUT_INVALID,
    INVALID_REQUEST: failures.PROVIDER_REFUSED,
    METHOD_NOT_FOUND: failures.PROVIDER_REFUSED,
    PARSE_ERROR: failures.PROVIDER_MALFORMED,
    _NO_RESOURCE: RESOURCE_NOT_FOUND,
}


def parse_message(data: bytes) -> JSONRPCMessage | None:
    """The JSON-RPC message in these bytes, which a byte order mark may precede; ``None`` without one."""
    try:
        return jsonrpc_message_adapter.validate_json(data.removeprefix(BOM_UTF8), by_name=False)
    except ValueError:
        return None


def code_of_status(status: int) -> int:
    """The JSON-RPC error code for the HTTP status of an error response."""
    return _BLOCK + status


def status_of_code(code: int) -> int | None:
    """The HTTP status of a JSON-RPC error code, if the code was made by `code_of_status`."""
    status = code - _BLOCK
    return status if 400 <= status <= 599 else None


def failure_of_code(code: int) -> Failure:
    """Map a JSON-RPC error code, of a server or of a transport, to a failure."""
    status = status_of_code(code)
    if status is None:
        return _BY_CODE.get(code, failures.PROVIDER_ERROR)
    return _BY_STATUS.get(status) or failure_of_status(status)
