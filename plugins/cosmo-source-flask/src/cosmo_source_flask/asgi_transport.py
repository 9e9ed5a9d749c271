"""Hands requests to an ASGI app, in the running loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx

from cosmo_source_flask.asgi_host import AsgiHost

if TYPE_CHECKING:
    from cosmo_source_flask.application import Application
    from cosmo_source_flask.failures import Failures
    from cosmo_source_flask.options import AsgiOptions


class AsgiTransport(httpx.AsyncBaseTransport):
    """Answers each request with the app.

    An app's lifespan is a task of the loop it began in, so each loop gets a host of its own. Usually there is
    one loop, and so one host.
    """

    def __init__(self, application: Application, options: AsgiOptions, failures: Failures) -> None:
        self._application = application
        self._options = options
        self._failures = failures
        self._hosts: dict[asyncio.AbstractEventLoop, AsgiHost] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer one request. A caller that is cancelled goes at once, and the app is cancelled.

        Raises:
            NeuronError: The app failed.
        """
        return await self._host().answer(request)

    async def shut_down(self) -> None:
        """Shut down what runs in this loop; the next request starts it up again."""
        host = self._hosts.pop(asyncio.get_running_loop(), None)
        if host is not None:
            await host.shut_down()

    def _host(self) -> AsgiHost:
        loop = asyncio.get_running_loop()
        if loop not in self._hosts:
            # Apps in loops that ended cannot be shut down any more, only forgotten.
            self._hosts = {other: host for other, host in self._hosts.items() if not other.is_closed()}
            self._hosts[loop] = AsgiHost(self._application, self._options, self._failures)
        return self._hosts[loop]
