"""The transport to a server that runs here: one JSON-RPC message per line of its stdin and stdout.

In the place of the SDK's own, which reads lines of any length into memory, logs what it cannot parse, with
any secret in it, and does not tell how the server ended.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

import anyio
from mcp.shared.message import SessionMessage

from cosmo_source_mcp import wire_errors
from cosmo_source_mcp.last_words import LastWords
from cosmo_source_mcp.process import ServerProcess
from cosmo_source_mcp.stdio_lines import Overlong, error_for, parse_line, read_line

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
    from mcp.types.jsonrpc import JSONRPCMessage

    from cosmo_core.errors import NeuronError
    from cosmo_source_mcp.failures import Failures
    from cosmo_source_mcp.launch import Launch
    from cosmo_source_mcp.redaction import Secrets

    Incoming = MemoryObjectReceiveStream[SessionMessage | Exception]
    Deliver = MemoryObjectSendStream[SessionMessage | Exception]
    Outgoing = MemoryObjectReceiveStream[SessionMessage]
    Send = MemoryObjectSendStream[SessionMessage]

_CHUNK_BYTES: Final = 64 << 10


class StdioLink:
    """One run of a server, from its start to its end."""

    def __init__(self, launch: Launch, failures: Failures, secrets: Secrets) -> None:
        self._launch = launch
        self._failures = failures
        self._last_words = LastWords(secrets)
        self._failure_code: int | None = None
        self._spoke = self._went_silent = self._told_to_end = False

    @property
    def ending(self) -> str:
        """What is known of how the run ended, to be added to a message."""
        return str(self._last_words)

    @property
    def failure(self) -> NeuronError | None:
        """Why the run was ended from here, if it was."""
        return None if self._failure_code is None else self._failures.told(self._failure_code, self.ending)

    @asynccontextmanager
    async def open(self, on_end: Callable[[], None]) -> AsyncGenerator[tuple[Incoming, Send]]:
        """Start the server, and end it on the way out.

        Args:
            on_end: Called when the server has gone, or cannot be talked to any more.

        Raises:
            NeuronError: It cannot be started.
        """
        process = await self._start()
        deliver, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        send, outgoing = anyio.create_memory_object_stream[SessionMessage](0)
        async with asyncio.TaskGroup() as group:
            pumps = [
                group.create_task(self._read(process, deliver, on_end)),
                group.create_task(self._listen(process)),
                group.create_task(_write(process, outgoing, on_end)),
            ]
            try:
                yield incoming, send
            finally:
                try:
                    await self._end(process)
                finally:
                    for stream in (deliver, incoming, send, outgoing):
                        stream.close()
                await asyncio.wait(pumps)  # for what they still have to read; the pipes are closed

    async def _start(self) -> ServerProcess:
        try:
            return await ServerProcess.start(self._launch)
        except OSError as error:
            failure = self._failures.not_started(error, self._launch)
        raise failure

    async def _end(self, process: ServerProcess) -> None:
        self._told_to_end = True
        # One that never said a word is not waited for, unless its silence is the end that has begun.
        is_sane = self._failure_code is None and (self._spoke or self._went_silent)
        by_itself = await process.stop() if is_sane else await process.kill()
        if by_itself:
            self._last_words.status = process.status

    async def _read(self, process: ServerProcess, deliver: Deliver, on_end: Callable[[], None]) -> None:
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            while self._failure_code is None and (line := await read_line(process.stdout)) is not None:
                if (message := self._message(line)) is not None:
                    await deliver.send(SessionMessage(message))
            self._went_silent = not self._told_to_end
            if self._went_silent:
                on_end()
        deliver.close()
        # A server that cannot get rid of its output cannot end.
        while await process.stdout.read(_CHUNK_BYTES):
            pass

    async def _listen(self, process: ServerProcess) -> None:
        while chunk := await process.stderr.read(_CHUNK_BYTES):
            self._last_words.hear(chunk)

    def _message(self, line: bytes | Overlong) -> JSONRPCMessage | None:
        if isinstance(line, Overlong):
            error = error_for(*line, wire_errors.TOO_LARGE)
            if error is None:  # it may answer any of the calls
                self._failure_code = wire_errors.TOO_LARGE
            return error
        message = parse_line(line)
        if message is not None:
            self._spoke = True
            self._last_words.understood()
        elif self._last_words.stray(line):
            self._failure_code = wire_errors.NOT_MCP
        return message


async def _write(process: ServerProcess, outgoing: Outgoing, on_end: Callable[[], None]) -> None:
    try:
        async for message in outgoing:
            line = message.message.model_dump_json(by_alias=True, exclude_unset=True)
            process.stdin.write(line.encode() + b"\n")
            await process.stdin.drain()
    except OSError:
        on_end()
