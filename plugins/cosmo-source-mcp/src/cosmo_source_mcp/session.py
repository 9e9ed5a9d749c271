"""MCP sessions: each in a task that opens and closes it, one per event loop, replaced when it ends."""

from __future__ import annotations

import asyncio
import logging
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from mcp import Client, MCPError
from mcp.types import ElicitResult, Implementation, ListRootsResult, Root, ToolListChangedNotification
from pydantic import FileUrl

from cosmo_core.errors import NeuronError
from cosmo_llm import INPUT_INVALID, PROVIDER_REFUSED
from cosmo_source_mcp import requests
from cosmo_source_mcp.codes import SESSION_LOST
from cosmo_source_mcp.conversation import Conversation
from cosmo_source_mcp.limits import EXIT_REPORT_WAIT_S, LOG_LEVEL
from cosmo_source_mcp.toolbox import Toolbox

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Sequence
    from contextlib import AbstractAsyncContextManager

    from mcp.client import ClientRequestContext, IncomingMessage
    from mcp.types import ElicitRequestParams, LoggingMessageNotificationParams

    from cosmo_source_mcp.failures import McpFailures

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Link(Protocol):
    """One connection to a server. It is opened once."""

    @property
    def exit_report(self) -> str:
        """How the server ended, as far as is known, to be added to a message."""
        ...

    @property
    def failure(self) -> NeuronError | None:
        """The error for which this side ended the connection, if it did."""
        ...

    def open(
        self, on_end: Callable[[], None], is_ready: Callable[[], bool]
    ) -> AbstractAsyncContextManager[Any]:
        """The SDK's streams to and from the server.

        Args:
            on_end: Called if the server ends them.
            is_ready: Tells whether the session is open. Until then, the time limit is that of the start.
        """
        ...


class SessionLostError(Exception):
    """The server does not know the session any more, and did not run the request, which can be sent again."""


class Session:
    """One session. One task opens and closes it, as the cancel scopes of the SDK require.

    Each request runs in a task of its own, so a cancelled caller does not wait until the SDK has told the
    server.

    Args:
        link: The connection, which is not open yet.
        failures: Builds the errors, and has the time limit within which the server must be ready.
        previous: The session before this one. Its server must have ended before this one starts.
        roots: The URIs of the folders that the server is told about.
        wants_log: Whether to ask the server for its log.

    Attributes:
        tools: The tools of the server.
    """

    def __init__(
        self,
        link: Link,
        failures: McpFailures,
        previous: Session | None,
        roots: Sequence[str] = (),
        *,
        wants_log: bool = False,
    ) -> None:
        self.tools = Toolbox(lambda: self.send(requests.list_tools), failures)
        self._link = link
        self._failures = failures
        self._roots = roots
        self._wants_log = wants_log
        self._callers = _Callers()
        self._over = asyncio.Event()
        self._closed_here = False
        self._breakdown: NeuronError | None = None
        self._loop = asyncio.get_running_loop()
        self._start_by = self._loop.time() + failures.start_timeout_s
        self._ready: asyncio.Future[Client] = self._loop.create_future()
        self._requests: set[asyncio.Task[Any]] = set()
        self._owner = asyncio.create_task(self._own(previous))

    @property
    def is_over(self) -> bool:
        """Whether the session accepts no further request."""
        return self._over.is_set()

    def server_info(self) -> dict[str, Any]:
        """The name and version of the server, and the version of the protocol, for the output's ``meta``."""
        client = self._ready.result()
        info = client.server_info
        server = {"name": info.name, "version": info.version} if info else None
        return {"server": server, "protocol_version": client.protocol_version}

    def timed_out(self) -> NeuronError:
        """The error for a call that exceeded its time limit. A server that starts continues to do so."""
        if self._ready.done():
            return self._failures.timed_out()
        return self._link.failure or self._failures.still_starting(self._link.exit_report)

    async def send(
        self, request: Callable[[Client], Coroutine[Any, Any, T]], conversation: Conversation | None = None
    ) -> T:
        """Send a request once the session is open, and return its answer.

        Args:
            request: Sends it.
            conversation: Takes what the server says and asks meanwhile.

        Raises:
            NeuronError: The session cannot be opened or has ended, or the answer is an error or malformed.
            SessionLostError: The server does not know this session.
        """
        client = await asyncio.shield(self._ready)
        conversation = conversation or Conversation()
        await self._callers.no_question()
        with self._callers.running(conversation):
            task = asyncio.create_task(request(client), context=conversation.context())
            self._requests.add(task)
            task.add_done_callback(self._forget)
            try:
                return await asyncio.shield(task)
            except (MCPError, ValueError, RuntimeError) as error:
                # ValueError: the result does not match the protocol. RuntimeError: the session is closed
                # already.
                caught = error
            finally:
                task.cancel()
        if isinstance(caught, MCPError) and caught.code == SESSION_LOST:
            self._over.set()
            raise SessionLostError
        raise await self._end_error() if self._over.is_set() else self._error(caught)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._requests.discard(task)
        if not task.cancelled():
            task.exception()  # marks it as retrieved, in case that the caller has gone

    async def wait_closed(self) -> None:
        """Wait until all its tasks have ended."""
        await asyncio.wait({self._owner, *self._requests})

    async def aclose(self) -> None:
        """End the session, and wait until all its tasks have ended."""
        self._closed_here = True
        self._over.set()
        if not self._ready.done():
            self._owner.cancel()
        await self.wait_closed()

    async def _own(self, previous: Session | None) -> None:
        try:
            if previous is not None:
                await previous.wait_closed()
            async with asyncio.timeout_at(self._start_by) as limit, self._client() as client:
                if self._wants_log:
                    await requests.ask_for_logs(client)
                limit.reschedule(None)
                self._ready.set_result(client)
                await self._over.wait()
            if not self._closed_here:
                _log.info("%s", self._end_reason())
        except Exception as error:  # noqa: BLE001 - any error must reach the waiting callers
            while isinstance(error, ExceptionGroup):
                error = error.exceptions[0]
            if self._ready.done():
                self._breakdown = self._error(error)
            else:
                self._fail_start(self._start_error(error))
        finally:
            self._over.set()
            self._fail_start(self._failures.closed())

    def _client(self) -> Client:
        return Client(
            self._link.open(self._over.set, self._ready.done),
            client_info=Implementation(name="cosmo-source-mcp", version=version("cosmo-source-mcp")),
            message_handler=self._on_message,
            elicitation_callback=self._on_elicitation,
            list_roots_callback=self._on_list_roots if self._roots else None,
            logging_callback=self._on_log if self._wants_log else None,
            log_level=LOG_LEVEL if self._wants_log else None,
            cache=None,  # the toolbox caches the list of tools
        )

    async def _on_elicitation(
        self, context: ClientRequestContext, params: ElicitRequestParams
    ) -> ElicitResult:
        if (conversation := Conversation.current()) is not None:
            return await conversation.elicit(params)
        conversation = await self._callers.asker()
        return ElicitResult(action="cancel") if conversation is None else await conversation.elicit(params)

    async def _on_list_roots(self, context: ClientRequestContext) -> ListRootsResult:
        return ListRootsResult(roots=[Root(uri=FileUrl(uri)) for uri in self._roots])

    async def _on_log(self, params: LoggingMessageNotificationParams) -> None:
        conversation = Conversation.current() or self._callers.only()
        if conversation is not None:
            conversation.log(params)

    async def _on_message(self, message: IncomingMessage) -> None:
        if isinstance(message, ToolListChangedNotification):
            self.tools.invalidate()

    def _fail_start(self, error: NeuronError) -> None:
        if not self._ready.done():
            self._ready.set_exception(error)
            self._ready.exception()  # marks it as retrieved, in case that no caller waits

    def _start_error(self, error: Exception) -> NeuronError:
        if isinstance(error, NeuronError):
            return error
        if isinstance(error, TimeoutError):
            return self._failures.start_timed_out(self._link.exit_report)
        if self._over.is_set():
            return self._link.failure or self._failures.start_failed(self._link.exit_report)
        failure = self._error(error)
        # The handshake holds nothing of an input, so the input cannot be the cause.
        return PROVIDER_REFUSED.error(str(failure)) if failure.code == INPUT_INVALID.code else failure

    def _error(self, error: Exception) -> NeuronError:
        if isinstance(error, MCPError):
            return self._failures.answered_error(error.code, error.message)
        return self._failures.malformed(error)

    async def _end_error(self) -> NeuronError:
        """The error for a session that ended before it answered; waits briefly for the exit report."""
        if self._closed_here:
            return self._failures.closed()
        await asyncio.wait({self._owner}, timeout=EXIT_REPORT_WAIT_S)
        return self._end_reason()

    def _end_reason(self) -> NeuronError:
        return self._link.failure or self._breakdown or self._failures.ended(self._link.exit_report)


class _Callers:
    """The conversations of the requests that run in a session.

    Over HTTP, what a server asks comes with the answer to a request, and so belongs to it. On a pipe it does
    not. A question then waits until one request runs that has not asked yet, which must be the one that asks;
    meanwhile no other request begins.
    """

    def __init__(self) -> None:
        self._running: set[Conversation] = set()
        self._questions = 0
        self._changed = asyncio.Event()

    def only(self) -> Conversation | None:
        """The conversation of the only request that runs."""
        return next(iter(self._running)) if len(self._running) == 1 else None

    @contextmanager
    def running(self, conversation: Conversation) -> Iterator[None]:
        """Run a request of a conversation."""
        self._running.add(conversation)
        try:
            yield
        finally:
            self._running.discard(conversation)
            self._notify()

    async def no_question(self) -> None:
        """Wait until it is known which request each question belongs to."""
        while self._questions:
            await self._changed.wait()

    async def asker(self) -> Conversation | None:
        """The conversation of the request that asks, once it is known; ``None`` if no request runs."""
        self._questions += 1
        try:
            while len(found := [one for one in self._running if not one.is_asking]) > 1:
                await self._changed.wait()
            return found[0] if found else self.only()
        finally:
            self._questions -= 1
            self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class Sessions:
    """The sessions of one Neuron, one for each event loop, each opened on first use.

    The streams of a session belong to the loop that opened them. Usually there is one loop, and so one
    session.

    Args:
        connect: Makes a connection, which is not open yet.
        failures: Builds the errors, and has the time limit within which a server must be ready.
        roots: The URIs of the folders that a server is told about.
        wants_log: Whether to ask a server for its log.
    """

    def __init__(
        self,
        connect: Callable[[], Link],
        failures: McpFailures,
        roots: Sequence[str] = (),
        *,
        wants_log: bool = False,
    ) -> None:
        self._connect = connect
        self._failures = failures
        self._roots = roots
        self._wants_log = wants_log
        self._by_loop: dict[asyncio.AbstractEventLoop, Session] = {}

    def current(self) -> Session:
        """The session of the running loop; a new one if there is none or it is over."""
        loop = asyncio.get_running_loop()
        previous = self._by_loop.get(loop)
        if previous is not None and not previous.is_over:
            return previous
        # The session of a closed loop cannot be closed any more, so it is only removed.
        self._by_loop = {other: kept for other, kept in self._by_loop.items() if not other.is_closed()}
        session = Session(self._connect(), self._failures, previous, self._roots, wants_log=self._wants_log)
        self._by_loop[loop] = session
        return session

    def timed_out(self) -> NeuronError:
        """The error for a call in the running loop that exceeded its time limit."""
        session = self._by_loop.get(asyncio.get_running_loop())
        return self._failures.timed_out() if session is None else session.timed_out()

    async def aclose(self) -> None:
        """Close the session of the running loop. The next call opens a new one."""
        session = self._by_loop.pop(asyncio.get_running_loop(), None)
        if session is not None:
            await session.aclose()
