"""Hands requests to a WSGI app, in threads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from cosmo_source_flask.environ import to_environ
from cosmo_source_flask.threads import Threads
from cosmo_source_flask.wsgi_call import WsgiCall

if TYPE_CHECKING:
    from cosmo_source_flask.application import Application
    from cosmo_source_flask.failures import Failures
    from cosmo_source_flask.options import WsgiOptions


class WsgiTransport(httpx.AsyncBaseTransport):
    """Answers each request with the app, on one of the Neuron's threads."""

    def __init__(self, application: Application, options: WsgiOptions, failures: Failures) -> None:
        self._application = application
        self._limit = options.max_response_bytes
        self._failures = failures
        self._threads = Threads(options.threads)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer one request.

        A caller that is cancelled goes at once. A view that runs goes on to its end; what it streams is not
        read further.

        Raises:
            NeuronError: The app failed.
        """
        environ = to_environ(request, await request.aread())
        call = WsgiCall(self._application, environ, self._limit, self._failures)
        try:
            return await self._threads.run(call)
        finally:
            call.abandoned = True

    async def shut_down(self) -> None:
        """Let the threads end, each after the request it is at; the next request makes new ones."""
        self._threads.close()
