"""The httpx transport that sends requests to an ASGI app, in the running event loop.

`httpx.ASGITransport` implements the protocol. This module adds what it lacks: the app's lifespan, a limit on
the body, checks of what the app sends, and a cancellation that does not wait for the app.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import httpx

from cosmo_core.errors import NeuronError
from cosmo_source_flask.app import AppLoader, AsgiApp, Message, Receive, Send
from cosmo_source_flask.body import BodyLimit, SlicedBody
from cosmo_source_flask.failures import Failures, ProtocolViolationError
from cosmo_source_flask.streaming import EXTENSION, Pieces

CLOSE_GRACE_S: Final = 10.0
"""How long a shutdown waits for requests that still run, in seconds."""
SHUTDOWN_GRACE_S: Final = 10.0
"""How long the app's own shutdown may take before it is cancelled, in seconds."""


_BARE_FAILURE: Final = b"Internal Server Error"
"""The body with which a framework answers an exception that the app does not handle. The error says more."""


class AsgiTransport(httpx.AsyncBaseTransport):
    """Sends each request to the app.

    The lifespan of an app is a task of one event loop, so each loop has an `_AsgiHost` of its own. Usually
    there is one loop, and so one host.

    Args:
        loader: Loads the app.
        failures: Builds the errors, and has the size limit of a body.
        lifespan: Whether to run the app's startup and shutdown.
    """

    def __init__(self, loader: AppLoader, failures: Failures, *, lifespan: bool) -> None:
        self._loader = loader
        self._has_lifespan = lifespan
        self._failures = failures
        self._hosts: dict[asyncio.AbstractEventLoop, _AsgiHost] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request. A cancelled caller returns at once, and the app is cancelled.

        Raises:
            NeuronError: The app failed.
        """
        return await self._host().send(request)

    async def shut_down(self) -> None:
        """Shut the app down in this loop. The next request starts it again."""
        host = self._hosts.pop(asyncio.get_running_loop(), None)
        if host is not None:
            await host.shut_down()

    def _host(self) -> _AsgiHost:
        loop = asyncio.get_running_loop()
        if loop not in self._hosts:
            # An app in a loop that is closed cannot be shut down, so its host is only removed.
            self._hosts = {other: host for other, host in self._hosts.items() if not other.is_closed()}
            self._hosts[loop] = _AsgiHost(self._loader, self._failures, self._has_lifespan)
        return self._hosts[loop]


class _AsgiHost:
    """The app in one event loop: its lifespan, and the requests during it."""

    def __init__(self, loader: AppLoader, failures: Failures, has_lifespan: bool) -> None:
        self._loader = loader
        self._has_lifespan = has_lifespan
        self._failures = failures
        self._lifespan: _Lifespan | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    async def send(self, request: httpx.Request) -> httpx.Response:
        """Send one request; the first one starts the app.

        Raises:
            NeuronError: The app failed.
        """
        if not self._loader.is_loaded:
            await asyncio.to_thread(self._loader.load)
        app = self._loader.load()
        state = await self._started(app) if self._has_lifespan else {}
        call = _AsgiCall(app, state, self._failures, self._tasks, request.extensions.get(EXTENSION))
        response = await httpx.ASGITransport(call).handle_async_request(request)
        body = b"".join([chunk async for chunk in response.aiter_raw()])
        return httpx.Response(response.status_code, headers=response.headers, stream=SlicedBody(body))

    async def shut_down(self) -> None:
        """Shut the app down after the requests that still run, which get `CLOSE_GRACE_S`."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_GRACE_S)
        if self._lifespan is not None:
            await self._lifespan.shut_down()

    async def _started(self, app: AsgiApp) -> dict[str, Any]:
        if self._lifespan is None:
            self._lifespan = _Lifespan(app, self._failures)
        lifespan = self._lifespan
        if await lifespan.started():
            return lifespan.state
        if self._lifespan is lifespan:
            self._lifespan = None  # so that the next call tries again
        raise self._failures.not_started()


class _AsgiCall:
    """An ASGI app that wraps the user's app for one request, between httpx and that app.

    Args:
        app: The user's app.
        state: The state that the app's startup set for its requests.
        failures: Builds the errors, and has the size limit of the body.
        tasks: Holds the app's task until that ends, which may be after the caller has gone.
        pieces: Takes the pieces of the body, if the caller wants them.
    """

    def __init__(
        self,
        app: AsgiApp,
        state: dict[str, Any],
        failures: Failures,
        tasks: set[asyncio.Task[Any]],
        pieces: Pieces | None,
    ) -> None:
        self._app = app
        self._state = state
        self._failures = failures
        self._tasks = tasks
        self._pieces = pieces
        self._take: Callable[[bytes], None] | None = None
        self._limit = BodyLimit(failures.max_response_bytes)
        self._is_started = False
        self._is_complete = False
        self._is_bare_failure = False

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Run the app to its end. If the caller is cancelled, the app is cancelled, but not waited for.

        Raises:
            NeuronError: The app raised, or violated the protocol.
        """

        async def send_checked(message: Message) -> None:
            # Sending never waits here, so an app that sends in a loop would block the event loop.
            await asyncio.sleep(0)
            await send(self._checked(message))

        task = asyncio.create_task(self._run({**scope, "state": dict(self._state)}, receive, send_checked))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            # Not `await task`: an app may handle a cancellation slowly, and the caller must return at once.
            await asyncio.wait([task])
        finally:
            task.cancel()
        failure = self._failures.violated("cancelled itself") if task.cancelled() else task.result()
        if failure is not None:
            raise failure

    async def _run(
        self, scope: Message, receive: Receive, send: Send
    ) -> NeuronError | KeyboardInterrupt | None:
        try:
            await self._app(scope, receive, send)
        except asyncio.CancelledError:
            raise
        except KeyboardInterrupt as error:
            return error  # raised in the task of the caller, who answers first
        except BaseException as error:  # noqa: BLE001 - an app may raise anything
            # A framework answers by the app's handler for exceptions, and raises the exception again for the
            # log of its server.
            if self._is_complete and not self._is_bare_failure and not self._limit.exceeded:
                self._failures.log_error("raised after its answer", error)
                return None
            return self._failures.of(error, too_large=self._limit.exceeded)
        if self._limit.exceeded:
            return self._failures.too_large()
        return None if self._is_complete else self._failures.violated("returned without a complete response")

    def _checked(self, message: Message) -> Message:
        """The message as httpx needs it. A violation is raised into the app."""
        if message["type"] == "http.response.start":
            self._is_started = True
            status, headers = _status_of(message), _headers_of(message)
            self._is_bare_failure = status == httpx.codes.INTERNAL_SERVER_ERROR
            if self._pieces is not None:
                self._take = self._pieces.start(status, httpx.Headers(headers))
            return {**message, "status": status, "headers": headers}
        if message["type"] == "http.response.body":
            if not self._is_started:
                raise ProtocolViolationError("sent its body before http.response.start")
            body = _body_of(message)
            self._limit.count(len(body))
            self._is_complete = not message.get("more_body", False)
            self._is_bare_failure = self._is_bare_failure and body == _BARE_FAILURE
            if self._take is not None:
                self._take(body)
            return {**message, "body": body}
        return message


def _status_of(message: Message) -> int:
    status = message.get("status")
    if type(status) is not int or not 100 <= status <= 999:
        raise ProtocolViolationError("sent an invalid status")
    return status


def _headers_of(message: Message) -> list[tuple[bytes, bytes]]:
    try:
        return httpx.Headers(list(message.get("headers", ()))).raw
    except (AttributeError, TypeError, ValueError):
        raise ProtocolViolationError("sent headers that are not pairs of bytes") from None


def _body_of(message: Message) -> bytes:
    try:
        return bytes(memoryview(message.get("body", b"")))
    except TypeError:
        raise ProtocolViolationError("sent a body that is not bytes") from None


class _Lifespan:
    """The startup and shutdown of an ASGI app, in one task. The startup begins when the object is made.

    An app that raises instead of answering the startup has no lifespan, which the ASGI specification allows.

    Attributes:
        state: The state that the app's startup set for its requests.
    """

    def __init__(self, app: AsgiApp, failures: Failures) -> None:
        self.state: dict[str, Any] = {}
        self._app = app
        self._failures = failures
        self._events: asyncio.Queue[Message] = asyncio.Queue()
        self._events.put_nowait({"type": "lifespan.startup"})
        self._startup: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run())

    async def started(self) -> bool:
        """Wait for the startup, and return whether it succeeded. Several callers may wait."""
        await asyncio.wait([self._startup])
        return self._startup.result()

    async def shut_down(self) -> None:
        """Shut the app down within `SHUTDOWN_GRACE_S`. A startup that still runs is cancelled."""
        if self._startup.done():
            self._events.put_nowait({"type": "lifespan.shutdown"})
            await asyncio.wait([self._task], timeout=SHUTDOWN_GRACE_S)
        self._task.cancel()
        await asyncio.wait([self._task], timeout=SHUTDOWN_GRACE_S)

    async def _run(self) -> None:
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        try:
            await self._app(scope, self._events.get, self._send)
        except asyncio.CancelledError:
            self._finish_startup(ok=False)
            raise
        except KeyboardInterrupt:
            self._finish_startup(ok=False)
            raise
        except BaseException as error:  # noqa: BLE001 - an app may raise anything
            if not self._startup.done():
                self._failures.log_info(f"is used without lifespan: it raised {type(error).__name__}")
            elif self._startup.result():
                self._failures.log_error("raised during its lifespan", error)
        self._finish_startup(ok=True)

    async def _send(self, message: Message) -> None:
        match message["type"]:
            case "lifespan.startup.complete":
                self._finish_startup(ok=True)
            case "lifespan.startup.failed":
                self._failures.log_text("failed to start up", message.get("message", ""))
                self._finish_startup(ok=False)
            case "lifespan.shutdown.failed":
                self._failures.log_text("failed to shut down", message.get("message", ""))

    def _finish_startup(self, *, ok: bool) -> None:
        if not self._startup.done():
            self._startup.set_result(ok)
