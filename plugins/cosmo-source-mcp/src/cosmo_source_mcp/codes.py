"""The codes under which a TASK ends, and which error of a server or a transport means which."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from mcp.types import CONNECTION_CLOSED, INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, PARSE_ERROR

from cosmo_llm import (
    INPUT_INVALID,
    PROVIDER_ERROR,
    PROVIDER_MALFORMED,
    PROVIDER_REFUSED,
    PROVIDER_UNREACHABLE,
    Failure,
    failure_of_status,
)
from cosmo_source_mcp import wire_errors

TOOL_ERROR: Final = Failure("TOOL_ERROR", recoverable=False)
"""The tool ran, and reports that it failed; its words say why."""
TOOL_NOT_FOUND: Final = Failure("TOOL_NOT_FOUND", recoverable=False)
"""The server has no such tool."""
SERVER_NOT_FOUND: Final = Failure("SERVER_NOT_FOUND", recoverable=False)
"""There is no such command, or no MCP server at the URL."""
SERVER_START_FAILED: Final = Failure("SERVER_START_FAILED", recoverable=False)
"""The server could not be started, or ended instead of answering."""

_BY_STATUS: Final[dict[int, Failure]] = {
    HTTPStatus.BAD_REQUEST: PROVIDER_REFUSED,
    HTTPStatus.NOT_FOUND: SERVER_NOT_FOUND,
    HTTPStatus.METHOD_NOT_ALLOWED: SERVER_NOT_FOUND,
}
_BY_CODE: Final = {
    wire_errors.UNREACHABLE: PROVIDER_UNREACHABLE,
    wire_errors.SESSION_LOST: PROVIDER_UNREACHABLE,
    wire_errors.MALFORMED: PROVIDER_MALFORMED,
    wire_errors.TOO_LARGE: PROVIDER_MALFORMED,
    wire_errors.NOT_MCP: PROVIDER_MALFORMED,
    CONNECTION_CLOSED: PROVIDER_UNREACHABLE,
    INVALID_PARAMS: INPUT_INVALID,
    INVALID_REQUEST: PROVIDER_REFUSED,
    METHOD_NOT_FOUND: PROVIDER_REFUSED,
    PARSE_ERROR: PROVIDER_MALFORMED,
}


def failure_of(code: int) -> Failure:
    """Map the code of a JSON-RPC error, a server's or one of `wire_errors`, to the failure it stands for."""
    status = wire_errors.status_of(code)
    if status is None:
        return _BY_CODE.get(code, PROVIDER_ERROR)
    return _BY_STATUS.get(status) or failure_of_status(status)
