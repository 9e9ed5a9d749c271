"""The lines that a server prints: which are messages, and what becomes of the others."""

from __future__ import annotations

import asyncio
import re
from typing import Final, NamedTuple

from mcp.types import ErrorData
from mcp.types.jsonrpc import JSONRPCError, JSONRPCMessage, jsonrpc_message_adapter

from cosmo_source_mcp import wire_errors

_END: Final = 256
"""How much of each end of a line is enough to tell which request it answers."""

# Where the official SDKs put the id: behind the version at the front, or at the very end. Anchored, so that
# what they find is a member of the outermost object if the line is JSON at all.
_VERSION: Final = rb'(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?'
_ANSWER: Final = rb'"(?:result|error)"\s*:'
_ID_FIRST: Final = re.compile(rb'\s*\{\s*%b"id"\s*:\s*(\d{1,18})\s*,\s*%b' % (_VERSION, _ANSWER))
_ID_LAST: Final = re.compile(rb'"id"\s*:\s*(\d{1,18})\s*\}\s*$')
_ANSWER_FIRST: Final = re.compile(rb"\s*\{\s*%b%b" % (_VERSION, _ANSWER))


class Overlong(NamedTuple):
    """The two ends of a line that was too long to be kept."""

    head: bytes
    tail: bytes


async def read_line(stream: asyncio.StreamReader) -> bytes | Overlong | None:
    """The next line, of at most the stream's limit, or what is left of a longer one; ``None`` at the end."""
    try:
        return await stream.readuntil(b"\n")
    except asyncio.IncompleteReadError as end:
        return end.partial or None
    except asyncio.LimitOverrunError as overrun:
        return await _skip_line(stream, overrun.consumed)


async def _skip_line(stream: asyncio.StreamReader, buffered: int) -> Overlong:
    chunk = await stream.readexactly(buffered)
    head, tail = chunk[:_END], chunk[-_END:]
    while not chunk.endswith(b"\n"):
        try:
            chunk = await stream.readuntil(b"\n")
        except asyncio.LimitOverrunError as overrun:
            chunk = await stream.readexactly(overrun.consumed)
        except asyncio.IncompleteReadError as end:
            return Overlong(head, (tail + end.partial)[-_END:])
        tail = (tail + chunk)[-_END:]
    return Overlong(head, tail)


def parse_line(line: bytes) -> JSONRPCMessage | None:
    """The message on a line, or ``None`` for one that is none.

    A line that is not understood, but by its looks answers a request, becomes an error answer to that, so
    that whoever waits for it need not wait until the time is up.
    """
    try:
        return jsonrpc_message_adapter.validate_json(line, by_name=False)
    except ValueError:
        return error_for(line[:_END], line[-_END:], wire_errors.MALFORMED)


def error_for(head: bytes, tail: bytes, code: int) -> JSONRPCError | None:
    """An error in the place of an answer that cannot be used, of which these are the ends.

    ``None`` when they do not tell which request it answers.
    """
    found = _ID_FIRST.match(head) or (_ID_LAST.search(tail) if _ANSWER_FIRST.match(head) else None)
    if found is None:
        return None
    return JSONRPCError(jsonrpc="2.0", id=int(found[1]), error=ErrorData(code=code, message=""))
