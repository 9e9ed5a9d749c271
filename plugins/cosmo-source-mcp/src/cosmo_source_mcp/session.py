"""One open MCP session, and the task that owns it."""

from __future__ import annotations

import asyncio
import logging
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from mcp import Client, MCPError
from mcp.types import Implementation, ToolListChangedNotification

from cosmo_core.errors import NeuronError
from cosmo_llm import INPUT_INVALID, PROVIDER_REFUSED
from cosmo_source_mcp import wire_errors
from cosmo_source_mcp.limits import LAST_WORDS_S
from cosmo_source_mcp.toolbox import Toolbox

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from contextlib import AbstractAsyncContextManager

    from mcp.client import IncomingMessage

    from cosmo_source_mcp.failures import Failures

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Link(Protocol):
    """One connection to a server, to be opened once."""

    @property
    def ending(self) -> str:
        """What is known of how it ended, to be added to a message."""
        ...

    @property
    def failure(self) -> NeuronError | None:
        """Why it was ended from here, if it was."""
        ...

    def open(self, on_end: Callable[[], None]) -> AbstractAsyncContextManager[Any]:
        """The SDK's streams to and from the server; ``on_end`` is called when they end by themselves."""
        ...


class SessionLostError(Exception):
    """The server forgot the session, and so has not run the request: it may be sent again in a new one."""


class Session:
    """Opens a session, keeps it, and closes it, all in one task: the SDK's cancel scopes ask for that.

    The requests run in tasks of their own, so that whoever cancels one need not wait until the SDK has told
    the server about it.

    Args:
        link: The connection, not open yet.
        failures: Words what goes wrong.
        timeout_s: How long the server may take to get ready.
        previous: The session before this one, whose server must be gone first.

    Attributes:
        tools: What the server can do.
    """

    def __init__(self, link: Link, failures: Failures, timeout_s: float, previous: Session | None) -> None:
        self.tools = Toolbox(self.ask, failures)
        self._link = link
        self._failures = failures
        self._over = asyncio.Event()
        self._closed_here = False
        self._breakdown: NeuronError | None = None
        self._loop = asyncio.get_running_loop()
        self._start_by = self._loop.time() + timeout_s
        self._ready: asyncio.Future[Client] = self._loop.create_future()
        self._requests: set[asyncio.Task[Any]] = set()
        self._owner = asyncio.create_task(self._own(previous))

    @property
    def is_over(self) -> bool:
        """Whether a further request would be in vain."""
        return self._over.is_set()

    def about(self) -> dict[str, Any]:
        """Who answers in it, and in which version of the protocol."""
        client = self._ready.result()
        info = client.server_info
        server = {"name": info.name, "version": info.version} if info else None
        return {"server": server, "protocol_version": client.protocol_version}

    def timed_out(self) -> NeuronError:
        """The failure of a call whose time is up."""
        if self._ready.done():
            return self._failures.timed_out()
        if self._loop.time() >= self._start_by:
            self._over.set()  # no further call is to wait for this one
        return self._link.failure or self._failures.start_timed_out(self._link.ending)

    async def ask(self, request: Callable[[Client], Coroutine[Any, Any, T]]) -> T:
        """Send a request as soon as the session is open, and wait for its answer.

        Raises:
            NeuronError: The session cannot be opened or has ended, or the answer is an error or none at all.
            SessionLostError: The server does not know this session.
        """
        client = await asyncio.shield(self._ready)
        task = asyncio.create_task(request(client))
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.cancel()
            raise
        except (MCPError, ValueError, RuntimeError) as error:
            # The latter two are for a result that does not fit the protocol or the schema of its tool, and
            # for a session that is closed already.
            complaint = error
        if isinstance(complaint, MCPError) and complaint.code == wire_errors.SESSION_LOST:
            self._over.set()
            raise SessionLostError
        raise await self._end() if self._over.is_set() else self._failure(complaint)

    async def closed(self) -> None:
        """Wait until nothing of it is left."""
        await asyncio.wait({self._owner, *self._requests})

    async def aclose(self) -> None:
        """End it, and wait until nothing of it is left."""
        self._closed_here = True
        self._over.set()
        if not self._ready.done():
            self._owner.cancel()
        await self.closed()

    async def _own(self, previous: Session | None) -> None:
        try:
            if previous is not None:
                await previous.closed()
            async with asyncio.timeout_at(self._start_by) as limit, self._client() as client:
                limit.reschedule(None)
                self._ready.set_result(client)
                await self._over.wait()
            if not self._closed_here:
                _log.info("%s", self._reason())
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must be told
            while isinstance(error, ExceptionGroup):
                error = error.exceptions[0]
            if self._ready.done():
                self._breakdown = self._failure(error)
            else:
                self._not_ready(self._start_failure(error))
        finally:
            self._over.set()
            self._not_ready(self._failures.closed())

    def _client(self) -> Client:
        return Client(
            self._link.open(self._over.set),
            client_info=Implementation(name="cosmo-source-mcp", version=version("cosmo-source-mcp")),
            message_handler=self._hear,
            cache=None,  # the toolbox keeps what it needs
        )

    async def _hear(self, message: IncomingMessage) -> None:
        if isinstance(message, ToolListChangedNotification):
            self.tools.forget()

    def _not_ready(self, failure: NeuronError) -> None:
        if not self._ready.done():
            self._ready.set_exception(failure)
            self._ready.exception()  # there may be nobody who waits for it

    def _start_failure(self, error: Exception) -> NeuronError:
        if isinstance(error, NeuronError):
            return error
        if isinstance(error, TimeoutError):
            return self._failures.start_timed_out(self._link.ending)
        if self._over.is_set():
            return self._link.failure or self._failures.start_failed(self._link.ending)
        failure = self._failure(error)
        # Nothing of anybody's input is in a handshake.
        return PROVIDER_REFUSED.error(str(failure)) if failure.code == INPUT_INVALID.code else failure

    def _failure(self, error: Exception) -> NeuronError:
        if isinstance(error, MCPError):
            return self._failures.told(error.code, error.message)
        return self._failures.malformed(error)

    async def _end(self) -> NeuronError:
        """Why the session ended before it answered a request; learning that may take a moment."""
        if self._closed_here:
            return self._failures.closed()
        await asyncio.wait({self._owner}, timeout=LAST_WORDS_S)
        return self._reason()

    def _reason(self) -> NeuronError:
        return self._link.failure or self._breakdown or self._failures.ended(self._link.ending)
