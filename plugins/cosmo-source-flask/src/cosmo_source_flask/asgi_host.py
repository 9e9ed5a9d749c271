"""An ASGI app in one event loop: its lifespan, and the requests within it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import httpx

from cosmo_source_flask.asgi_call import AsgiCall
from cosmo_source_flask.body import SlicedBody
from cosmo_source_flask.lifespan import Lifespan

if TYPE_CHECKING:
    from cosmo_source_flask.application import Application
    from cosmo_source_flask.failures import Failures
    from cosmo_source_flask.interfaces import AsgiApp
    from cosmo_source_flask.options import AsgiOptions

CLOSE_GRACE_S: Final = 10.0
"""How long requests that still run may take before the app is shut down all the same."""


class AsgiHost:
    """Serves the app in the running loop.

    `httpx.ASGITransport` speaks the protocol; what it lacks is here and in `AsgiCall`: the lifespan, a limit
    on the body, and a cancellation that does not wait for the app.
    """

    def __init__(self, application: Application, options: AsgiOptions, failures: Failures) -> None:
        self._application = application
        self._has_lifespan = options.lifespan
        self._limit = options.max_response_bytes
        self._failures = failures
        self._lifespan: Lifespan | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    async def answer(self, request: httpx.Request) -> httpx.Response:
        """Answer one request; the first one starts the app up.

        Raises:
            NeuronError: The app failed.
        """
        if not self._application.is_loaded:
            await asyncio.to_thread(self._application.load)
        app = self._application.load()
        state = await self._started(app) if self._has_lifespan else {}
        call = AsgiCall(app, state, self._limit, self._failures, self._tasks)
        response = await httpx.ASGITransport(call).handle_async_request(request)
        body = b"".join([chunk async for chunk in response.aiter_raw()])
        return httpx.Response(response.status_code, headers=response.headers, stream=SlicedBody(body))

    async def shut_down(self) -> None:
        """Shut the app down, after the requests that still run."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_GRACE_S)
        if self._lifespan is not None:
            await self._lifespan.shut_down()

    async def _started(self, app: AsgiApp) -> dict[str, Any]:
        if self._lifespan is None:
            self._lifespan = Lifespan(app, self._failures)
        lifespan = self._lifespan
        if await lifespan.started():
            return lifespan.state
        if self._lifespan is lifespan:
            self._lifespan = None  # so that the next call tries again
        raise self._failures.not_started()
