"""The transport to a server over Streamable HTTP: the SDK's own, over connections that keep to the limits."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import httpx2
from mcp.client.streamable_http import streamable_http_client

from cosmo_source_mcp.http_carrier import Carrier

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from cosmo_source_mcp.options import Options
    from cosmo_source_mcp.redaction import Secrets
    from cosmo_source_mcp.server_url import ServerUrl


class HttpLink:
    """One connection to a server; what ends it is told to the calls by the errors they get.

    Attributes:
        ending: Nothing is known of how a server elsewhere ended.
        failure: Never set.
    """

    ending: Final = ""
    failure: Final = None

    def __init__(self, url: ServerUrl, options: Options, secrets: Secrets) -> None:
        self._url = url
        self._options = options
        self._secrets = secrets

    @asynccontextmanager
    async def open(self, on_end: Callable[[], None]) -> AsyncGenerator[Any]:
        """Make connections when they are needed, and close them on the way out; they end with us only."""
        carrier = Carrier(self._url, self._options.headers, self._secrets, self._options.timeout)
        # Neither time limits nor a bound on events here: the calls and the carrier have them.
        client = httpx2.AsyncClient(transport=carrier, timeout=None)
        connect = streamable_http_client(self._url.shown, http_client=client, max_sse_event_size=None)
        async with client, connect as streams:
            yield streams
