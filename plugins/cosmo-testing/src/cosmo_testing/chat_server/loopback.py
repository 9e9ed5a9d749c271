"""A scripted HTTP server on the loopback interface."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Final, Self

from cosmo_testing.chat_server.connection import HttpConnection
from cosmo_testing.chat_server.faults import Fault
from cosmo_testing.chat_server.messages import ReceivedRequest, Refusal, RefusedError, Response

HOST: Final = "127.0.0.1"
MAX_RECORDED: Final = 1_000
MAX_BODY: Final = 8 << 20


class LoopbackServer:
    """Serves HTTP/1.1 on 127.0.0.1, records requests, and fails as scripted.

    Args:
        respond: Takes a request and its serial number; returns the response or raises `RefusedError`.
        port: The port; 0 lets the system choose.
        max_body: The size limit of a request body, in bytes.
        refuse: Takes the requested path, or "" if there is none, and a refusal; returns the response.

    Attributes:
        disconnected: Set when a client disconnects before its response is complete.
        connections: The number of connections so far.
        received: The number of requests so far.
    """

    def __init__(
        self,
        respond: Callable[[ReceivedRequest, int], Response],
        *,
        port: int = 0,
        max_body: int = MAX_BODY,
        refuse: Callable[[str, Refusal], Response] = lambda path, refusal: refusal.response,
    ) -> None:
        self.disconnected = asyncio.Event()
        self.connections = 0
        self.received = 0
        self._respond = respond
        self._refuse = refuse
        self._port = port
        self._max_body = max_body
        self._server: asyncio.Server | None = None
        self._closing = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._errors: list[Exception] = []
        self._faults: deque[Fault] = deque()
        self._requests: deque[ReceivedRequest] = deque(maxlen=MAX_RECORDED)
        self._arrival = asyncio.Condition()

    @property
    def url(self) -> str:
        """The base URL, without a path.

        Raises:
            RuntimeError: The server is not running.
        """
        if self._server is None:
            raise RuntimeError("the server is not running: use it as `async with … as server`")
        return f"http://{HOST}:{self._server.sockets[0].getsockname()[1]}"

    @property
    def requests(self) -> list[ReceivedRequest]:
        """The received requests, oldest first; at most the last 1,000."""
        return list(self._requests)

    def script(self, *faults: Fault) -> None:
        """Apply these faults to the next requests, one each, in order."""
        self._faults.extend(faults)

    async def wait_received(self, count: int) -> None:
        """Return when ``count`` requests have been received since the start."""
        async with self._arrival:
            await self._arrival.wait_for(lambda: self.received >= count)

    async def __aenter__(self) -> Self:
        self._closing = False
        self._server = await asyncio.start_server(self._accept, HOST, self._port)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop serving and drop every connection.

        Raises:
            ExceptionGroup: The exceptions that `respond` raised, except refusals.
        """
        server, self._server, self._closing = self._server, None, True
        if server is None:
            return
        server.close()
        # First let new tasks start: a task that is cancelled before its first step never cleans up.
        await asyncio.sleep(0)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await server.wait_closed()
        errors, self._errors = self._errors, []
        if errors:
            raise ExceptionGroup("the server could not answer", errors)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._closing:
            writer.transport.abort()
            return
        self.connections += 1
        task = asyncio.create_task(self._serve(HttpConnection(reader, writer, max_body=self._max_body)))
        self._tasks.add(task)
        task.add_done_callback(self._served)

    def _served(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            self._errors.append(error)

    async def _serve(self, connection: HttpConnection) -> None:
        try:
            while await self._exchange(connection):
                pass
        except ConnectionError:
            self.disconnected.set()
        except asyncio.CancelledError:
            connection.abort()
            raise
        finally:
            await connection.aclose()

    async def _exchange(self, connection: HttpConnection) -> bool:
        """Answer one request; return ``False`` if the connection must be closed."""
        fault = Fault.none()
        path = ""
        try:
            request = await connection.receive()
            if request is None:
                return False
            path = request.path
            serial, fault = await self._record(request)
            response = fault.response or self._respond(request, serial)
        except RefusedError as error:
            response = self._refuse(path, error.refusal)
        if fault.refusal is not None:
            response = self._refuse(path, fault.refusal)
        return await self._send(connection, response, fault)

    async def _record(self, request: ReceivedRequest) -> tuple[int, Fault]:
        async with self._arrival:
            self.received += 1
            self._requests.append(request)
            self._arrival.notify_all()
            return self.received, self._faults.popleft() if self._faults else Fault.none()

    async def _send(self, connection: HttpConnection, response: Response, fault: Fault) -> bool:
        pieces = iter(response.pieces)
        started = fault.act is None or fault.after is not None
        if started:
            await connection.start(response)
        if fault.act is not None:
            for piece in islice(pieces, fault.after or 0):
                await connection.piece(piece)
            if fault.act == "cut":
                return False
            if not await self._wait(connection, fault.until or asyncio.Event()):
                self.disconnected.set()
                return False
        if not started:
            await connection.start(response)
        for piece in pieces:
            await connection.piece(piece)
        await connection.finish()
        return True

    async def _wait(self, connection: HttpConnection, until: asyncio.Event) -> bool:
        """Wait for the event; return ``False`` if the client disconnected first."""
        waits = [asyncio.create_task(until.wait()), asyncio.create_task(connection.client_left())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            return until.is_set()
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
