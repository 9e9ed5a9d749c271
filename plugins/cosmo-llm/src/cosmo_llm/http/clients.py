"""The HTTP client of one Neuron: made on first use, pooled, closed with its host."""

from __future__ import annotations

import asyncio
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Final

import httpx

from cosmo_core.errors import NeuronError

if TYPE_CHECKING:
    from cosmo_llm.http.options import Endpoint

MAX_CONNECTIONS: Final = 100
"""How many calls of one Neuron are on the wire at once; further ones wait for their turn."""


class Clients:
    """Hands out the client that belongs to the running event loop.

    A client's connections live in the loop that opened them, so each loop gets a client of its own. Usually
    there is one loop, and so one client.

    Args:
        endpoint: The server they are for.
        injected: The user's client; used in every loop, and never closed here.
    """

    def __init__(self, endpoint: Endpoint, injected: httpx.AsyncClient | None = None) -> None:
        self._endpoint = endpoint
        self._injected = injected
        self._by_loop: dict[asyncio.AbstractEventLoop, httpx.AsyncClient] = {}

    def current(self) -> httpx.AsyncClient:
        """The client for the running loop, made if there is none.

        Raises:
            NeuronError: The injected client was closed by its owner.
        """
        if self._injected is not None:
            if self._injected.is_closed:
                raise NeuronError("the httpx client given as client= is closed: keep it open while in use")
            return self._injected
        loop = asyncio.get_running_loop()
        if loop not in self._by_loop:
            # Clients of loops that ended cannot be closed any more, only forgotten.
            self._by_loop = {other: kept for other, kept in self._by_loop.items() if not other.is_closed()}
            self._by_loop[loop] = self._make()
        return self._by_loop[loop]

    async def aclose(self) -> None:
        """Close the running loop's client; the next call makes a new one."""
        client = self._by_loop.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()

    def _make(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            limits=httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS),
            # A proxy from the environment cannot reach what runs on this machine.
            mounts={self._endpoint.base: None} if self._endpoint.is_loopback else None,
            # One call must not see what another one's answer set.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        )
