"""The transport to a server that the Neuron starts: one JSON-RPC message per line of its stdin and stdout.

It replaces that of the SDK, which

- reads lines of any length into memory (``test_unusable_answer_ends_one_call``),
- logs lines that it cannot parse, with any secret in them
  (``test_failure_of_a_started_server_does_not_show_a_secret``), and
- does not report how the server ended (``test_server_that_ends_fails_its_calls_and_is_restarted``).
"""

from __future__ import annotations

import asyncio
import re
from codecs import BOM_UTF8
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final, NamedTuple

import anyio
from mcp.shared.message import SessionMessage
from mcp.types import ErrorData
from mcp.types.jsonrpc import JSONRPCError

from cosmo_source_mcp import codes
from cosmo_source_mcp.limits import MAX_STRAY_LINES, STDERR_TAIL_BYTES
from cosmo_source_mcp.process import ServerProcess

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
    from mcp.types.jsonrpc import JSONRPCMessage

    from cosmo_core.errors import NeuronError
    from cosmo_llm import Secrets
    from cosmo_source_mcp.failures import McpFailures
    from cosmo_source_mcp.targets import Launch

    Incoming = MemoryObjectReceiveStream[SessionMessage | Exception]
    Deliver = MemoryObjectSendStream[SessionMessage | Exception]
    Outgoing = MemoryObjectReceiveStream[SessionMessage]
    Send = MemoryObjectSendStream[SessionMessage]

_CHUNK_BYTES: Final = 64 << 10
_LINE_END_BYTES: Final = 256
"""How much of each end of a line suffices to find the request that it answers."""

# The official SDKs write the id after the version at the beginning, or at the very end. The patterns are
# anchored, so that in valid JSON they find a member of the outermost object.
_VERSION: Final = rb'(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?'
_ANSWER: Final = rb'"(?:result|error)"\s*:'
_ID_FIRST: Final = re.compile(rb'\s*\{\s*%b"id"\s*:\s*(\d{1,18})\s*,\s*%b' % (_VERSION, _ANSWER))
_ID_LAST: Final = re.compile(rb'"id"\s*:\s*(\d{1,18})\s*\}\s*$')
_ANSWER_FIRST: Final = re.compile(rb"\s*\{\s*%b%b" % (_VERSION, _ANSWER))


class StdioLink:
    """One run of a server, from its start to its end.

    Args:
        launch: How to start the server.
        failures: Builds the errors, and has the secrets that no quote may show.
    """

    def __init__(self, launch: Launch, failures: McpFailures) -> None:
        self._launch = launch
        self._failures = failures
        self._exit_report = ExitReport(failures.secrets)
        self._failure_code: int | None = None
        self._sent_message = self._closed_stdout = self._is_ending = False

    @property
    def exit_report(self) -> str:
        """How the server ended, as far as is known, to be added to a message."""
        return str(self._exit_report)

    @property
    def failure(self) -> NeuronError | None:
        """The error for which this side ended the server, if it did."""
        if self._failure_code is None:
            return None
        return self._failures.answered_error(self._failure_code, self.exit_report)

    @asynccontextmanager
    async def open(
        self, on_end: Callable[[], None], is_ready: Callable[[], bool]
    ) -> AsyncGenerator[tuple[Incoming, Send]]:
        """Start the server, provide the SDK's streams, and end the server at the end.

        Args:
            on_end: Called when the server has closed its stdout or its stdin.
            is_ready: Not used: a pipe has no time limit.

        Raises:
            NeuronError: The server cannot be started.
        """
        process = await self._start()
        deliver, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        send, outgoing = anyio.create_memory_object_stream[SessionMessage](0)
        async with asyncio.TaskGroup() as group:
            pumps = [
                group.create_task(self._read_stdout(process, deliver, on_end)),
                group.create_task(self._read_stderr(process)),
                group.create_task(_write_stdin(process, outgoing, on_end)),
            ]
            try:
                yield incoming, send
            finally:
                try:
                    await self._end(process)
                finally:
                    for stream in (deliver, incoming, send, outgoing):
                        stream.close()
                await asyncio.wait(pumps)  # they read the rest; the pipes are closed

    async def _start(self) -> ServerProcess:
        try:
            return await ServerProcess.start(self._launch)
        except OSError as error:
            failure = self._failures.not_started(error, self._launch)
        raise failure

    async def _end(self, process: ServerProcess) -> None:
        self._is_ending = True
        # A server that never sent a message gets no grace period, unless it is ending already.
        gets_grace = self._failure_code is None and (self._sent_message or self._closed_stdout)
        ended_by_itself = await process.stop() if gets_grace else await process.kill()
        if ended_by_itself:
            self._exit_report.status = process.status

    async def _read_stdout(
        self, process: ServerProcess, deliver: Deliver, on_end: Callable[[], None]
    ) -> None:
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            while self._failure_code is None and (line := await read_line(process.stdout)) is not None:
                if (message := self._message(line)) is not None:
                    await deliver.send(SessionMessage(message))
            self._closed_stdout = not self._is_ending
            if self._closed_stdout:
                on_end()
        deliver.close()
        # A server blocks on a full pipe and could not end, so its output is read to the end.
        while await process.stdout.read(_CHUNK_BYTES):
            pass

    async def _read_stderr(self, process: ServerProcess) -> None:
        while chunk := await process.stderr.read(_CHUNK_BYTES):
            self._exit_report.add_stderr(chunk)

    def _message(self, line: bytes | OversizedLine) -> JSONRPCMessage | None:
        if isinstance(line, OversizedLine):
            error = error_for(line.head.removeprefix(BOM_UTF8), line.tail, codes.TOO_LARGE)
            if error is None:  # it may answer any of the calls
                self._failure_code = codes.TOO_LARGE
            return error
        message = parse_line(line)
        if message is not None:
            self._sent_message = True
            self._exit_report.reset_stray_lines()
        elif self._exit_report.add_stray_line(line):
            self._failure_code = codes.NOT_MCP
        return message


async def _write_stdin(process: ServerProcess, outgoing: Outgoing, on_end: Callable[[], None]) -> None:
    try:
        async for message in outgoing:
            line = message.message.model_dump_json(by_alias=True, exclude_unset=True)
            process.stdin.write(line.encode() + b"\n")
            await process.stdin.drain()
    except OSError:
        on_end()


class ExitReport:
    """How a server ended: its exit status, the end of its stderr, and output that is not MCP.

    Attributes:
        status: The exit status, negative for a signal; ``None`` if it is not known.
    """

    def __init__(self, secrets: Secrets) -> None:
        self.status: int | None = None
        self._secrets = secrets
        self._stderr = bytearray()
        self._is_stderr_cut = False
        self._stray_line = ""
        self._stray_lines_in_a_row = 0

    def add_stderr(self, chunk: bytes) -> None:
        """Add output of its stderr; only the last `STDERR_TAIL_BYTES` are kept."""
        self._stderr += chunk
        self._is_stderr_cut = self._is_stderr_cut or len(self._stderr) > STDERR_TAIL_BYTES
        del self._stderr[:-STDERR_TAIL_BYTES]

    def add_stray_line(self, line: bytes) -> bool:
        """Add a line of its stdout that is not MCP; return whether there were too many in a row."""
        if text := self._secrets.quote(line.decode(errors="replace")):
            self._stray_line = text
        self._stray_lines_in_a_row += 1
        return self._stray_lines_in_a_row > MAX_STRAY_LINES

    def reset_stray_lines(self) -> None:
        """Count stray lines from zero again, because a line of its stdout was MCP."""
        self._stray_lines_in_a_row = 0

    def __str__(self) -> str:
        parts = []
        if self.status is not None:
            parts.append(f"exit status {self.status}" if self.status >= 0 else f"signal {-self.status}")
        stderr = self._stderr.decode(errors="replace")
        if text := self._secrets.quote_end(stderr, cut=self._is_stderr_cut):
            parts.append(f"its stderr ends: {text}")
        if self._stray_line:
            parts.append(f"its stdout, which is for MCP only, holds: {self._stray_line}")
        return "; ".join(parts)


class OversizedLine(NamedTuple):
    """The two ends of a line that exceeds the size limit.

    Attributes:
        head: Its first bytes.
        tail: Its last bytes.
    """

    head: bytes
    tail: bytes


async def read_line(stream: asyncio.StreamReader) -> bytes | OversizedLine | None:
    """Read the next line, or the ends of one that exceeds the stream's limit; ``None`` at the end."""
    try:
        return await stream.readuntil(b"\n")
    except asyncio.IncompleteReadError as end:
        return end.partial or None
    except asyncio.LimitOverrunError as overrun:
        return await _skip_line(stream, overrun.consumed)


async def _skip_line(stream: asyncio.StreamReader, buffered: int) -> OversizedLine:
    chunk = await stream.readexactly(buffered)
    head, tail = chunk[:_LINE_END_BYTES], chunk[-_LINE_END_BYTES:]
    while not chunk.endswith(b"\n"):
        try:
            chunk = await stream.readuntil(b"\n")
        except asyncio.LimitOverrunError as overrun:
            chunk = await stream.readexactly(overrun.consumed)
        except asyncio.IncompleteReadError as end:
            return OversizedLine(head, (tail + end.partial)[-_LINE_END_BYTES:])
        tail = (tail + chunk)[-_LINE_END_BYTES:]
    return OversizedLine(head, tail)


def parse_line(line: bytes) -> JSONRPCMessage | None:
    """The message on a line, or ``None`` if the line is not a message.

    A malformed line that seems to answer a request becomes an error answer to that request, so that its
    caller does not wait until the time limit.
    """
    line = line.removeprefix(BOM_UTF8)
    message = codes.parse_message(line)
    return message or error_for(line[:_LINE_END_BYTES], line[-_LINE_END_BYTES:], codes.MALFORMED)


def error_for(head: bytes, tail: bytes, code: int) -> JSONRPCError | None:
    """An error answer in the place of an unusable line.

    Args:
        head: The first bytes of the line.
        tail: The last bytes of the line.
        code: The code of the error.

    Returns:
        ``None`` if the two ends do not show which request the line answers.
    """
    found = _ID_FIRST.match(head) or (_ID_LAST.search(tail) if _ANSWER_FIRST.match(head) else None)
    if found is None:
        return None
    return JSONRPCError(jsonrpc="2.0", id=int(found[1]), error=ErrorData(code=code, message=""))
