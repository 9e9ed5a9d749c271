"""One request to an ASGI app, in a task of its own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx

from cosmo_source_flask.body import BodyLimit
from cosmo_source_flask.failures import BrokenError

if TYPE_CHECKING:
    from cosmo_core.errors import NeuronError
    from cosmo_source_flask.failures import Failures
    from cosmo_source_flask.interfaces import AsgiApp, Message, Receive, Send


class AsgiCall:
    """Stands between httpx and the app: an ASGI app itself, for one request.

    Args:
        app: The app.
        state: What the app's lifespan left for its requests.
        limit: The most bytes of body to let through.
        failures: Words what goes wrong.
        tasks: Holds the app's task until that ends, which may be after its caller went.
    """

    def __init__(
        self,
        app: AsgiApp,
        state: dict[str, Any],
        limit: int,
        failures: Failures,
        tasks: set[asyncio.Task[Any]],
    ) -> None:
        self._app = app
        self._state = state
        self._failures = failures
        self._tasks = tasks
        self._allowed = BodyLimit(limit)
        self._is_started = False
        self._is_complete = False

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Run the app to its end; if the caller is cancelled, so is the app, without waiting for it.

        Raises:
            NeuronError: The app raised, or broke the protocol.
        """

        async def checked(message: Message) -> None:
            # Sending never waits here, and a loop of it must not hold up everybody else.
            await asyncio.sleep(0)
            await send(self._checked(message))

        task = asyncio.create_task(self._run({**scope, "state": dict(self._state)}, receive, checked))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            # Not awaited itself: an app may take its time over a cancellation, and its caller goes at once.
            await asyncio.wait([task])
        finally:
            task.cancel()
        failure = self._failures.broken("cancelled itself") if task.cancelled() else task.result()
        if failure is not None:
            raise failure

    async def _run(self, scope: Message, receive: Receive, send: Send) -> NeuronError | None:
        try:
            await self._app(scope, receive, send)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the app's, whatever it is
            return self._failure_of(error)
        if self._allowed.exceeded:
            return self._failures.too_large()
        return None if self._is_complete else self._failures.broken("returned without a complete response")

    def _failure_of(self, error: BaseException) -> NeuronError:
        if self._allowed.exceeded:
            return self._failures.too_large()
        if isinstance(error, BrokenError):
            return self._failures.broken(str(error))
        return self._failures.raised(error)

    def _checked(self, message: Message) -> Message:
        """The message as httpx needs it; what is wrong with it is raised into the app."""
        if message["type"] == "http.response.start":
            self._is_started = True
            return {**message, "status": _status_of(message), "headers": _headers_of(message)}
        if message["type"] == "http.response.body":
            if not self._is_started:
                raise BrokenError("sent its body before http.response.start")
            body = _body_of(message)
            self._allowed.take(len(body))
            self._is_complete = not message.get("more_body", False)
            return {**message, "body": body}
        return message


def _status_of(message: Message) -> int:
    status = message.get("status")
    if type(status) is not int or not 100 <= status <= 999:
        raise BrokenError("sent a status that is none")
    return status


def _headers_of(message: Message) -> list[tuple[bytes, bytes]]:
    try:
        return httpx.Headers(list(message.get("headers", ()))).raw
    except (AttributeError, TypeError, ValueError):
        raise BrokenError("sent headers that are no pairs of bytes") from None


def _body_of(message: Message) -> bytes:
    try:
        return bytes(memoryview(message.get("body", b"")))
    except TypeError:
        raise BrokenError("sent a body that is not of bytes") from None
