"""How a server is reached: the proxy and the certificates that the environment names, and HTTP clients."""

from __future__ import annotations

import asyncio
import functools
import os
import ssl
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self
from urllib.request import getproxies, proxy_bypass

import anyio
import httpx

from cosmo_core.errors import NeuronError
from cosmo_llm.failures import PROVIDER_UNREACHABLE

if TYPE_CHECKING:
    from cosmo_llm.http.options import Endpoint

MAX_CONNECTIONS: Final = 100
"""How many calls of one Neuron are sent at the same time; further calls wait."""

_CERTIFICATE_FILE: Final = "SSL_CERT_FILE"
_CERTIFICATE_FOLDER: Final = "SSL_CERT_DIR"
_KEY_LOG: Final = "SSLKEYLOGFILE"
"""Python writes the keys of TLS connections to this file, and fails if it cannot."""
_SOCKS: Final = ("socks5", "socks5h")


@dataclass(frozen=True, slots=True)
class Route:
    """The way to one server.

    httpx would look at the environment for every host that a client could talk to, whenever a client is made,
    and raise an exception of any type for what it cannot use. Here each Neuron has one server, and the
    environment is checked when the Neuron is made.

    Attributes:
        proxy: The proxy, if there is one.
        uses_tls: Whether the server or the proxy is reached over TLS.
    """

    proxy: httpx.URL | None
    uses_tls: bool

    @classmethod
    def to(cls, endpoint: Endpoint) -> Self:
        """The way that the environment names; a server on this machine is reached without a proxy.

        Raises:
            ValueError: The environment names a proxy or certificates that cannot be used. The message names
                the variable.
        """
        proxy = None if endpoint.is_loopback else _proxy_for(endpoint)
        uses_tls = endpoint.base.startswith("https:") or (proxy is not None and proxy.scheme == "https")
        if uses_tls:
            _check_certificates()
        return cls(proxy, uses_tls)

    async def client(self) -> httpx.AsyncClient:
        """Make a client, in a thread: certificates and modules of the first client take up to a second.

        Raises:
            NeuronError: The certificates cannot be loaded.
        """
        try:
            return await asyncio.to_thread(self._make_client)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            given = [
                f"{name}={os.environ[name]}"
                for name in (_CERTIFICATE_FILE, _CERTIFICATE_FOLDER, _KEY_LOG)
                if os.environ.get(name)
            ]
            failure = PROVIDER_UNREACHABLE.error(
                f"certificates cannot be loaded: {error}; check {', '.join(given) or 'those of the system'}"
            )
        raise failure

    def _make_client(self) -> httpx.AsyncClient:
        _import_backend()
        chosen = os.environ.get(_CERTIFICATE_FILE), os.environ.get(_CERTIFICATE_FOLDER)
        context = _load_tls_context(*chosen) if self.uses_tls else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        is_tls_proxy = self.proxy is not None and self.proxy.scheme == "https"
        return httpx.AsyncClient(
            verify=context,
            proxy=self.proxy and httpx.Proxy(self.proxy, ssl_context=context if is_tls_proxy else None),
            trust_env=False,
            limits=httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS),
            # A call must not send cookies that the answer to another call set.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        )


def _proxy_for(endpoint: Endpoint) -> httpx.URL | None:
    proxies = getproxies()
    scheme = endpoint.base.partition(":")[0]
    found = next((name for name in (scheme, "all") if proxies.get(name)), None)
    if found is None or any(map(proxy_bypass, (endpoint.host, f"[{endpoint.host}]"))):
        return None
    # The value is not shown: it can hold a password.
    variable, way_out = f"{found.upper()}_PROXY", f"correct it, or add {endpoint.host} to NO_PROXY"
    value = proxies[found]
    try:
        url = httpx.URL(value if "://" in value else f"http://{value}")
    except httpx.InvalidURL:
        url = httpx.URL("")
    if not url.host or value.split() != [value] or (url.port or 0) >= 65_536:
        raise ValueError(f"{variable} is not the URL of a proxy; {way_out}")
    if url.scheme not in ("http", "https", *_SOCKS):
        raise ValueError(
            f"{variable} begins with {url.scheme}://, and a proxy's URL with http://, https:// or socks5://; "
            f"{way_out}"
        )
    if url.scheme in _SOCKS and find_spec("socksio") is None:
        raise ValueError(
            f"{variable} names a SOCKS proxy, which needs `pip install 'httpx[socks]'`; install it, or add "
            f"{endpoint.host} to NO_PROXY"
        )
    return url


def _check_certificates() -> None:
    file, folder = os.environ.get(_CERTIFICATE_FILE), os.environ.get(_CERTIFICATE_FOLDER)
    if file:
        try:
            is_pem = b"-----BEGIN" in Path(file).read_bytes()
        except OSError as error:
            raise ValueError(f"{_CERTIFICATE_FILE}={file!r} cannot be read: {error.strerror}") from None
        if not is_pem:
            raise ValueError(f"{_CERTIFICATE_FILE}={file!r}: a file of certificates in PEM format is needed")
    elif folder and not Path(folder).is_dir():
        raise ValueError(f"{_CERTIFICATE_FOLDER}={folder!r}: there is no such folder")


@functools.cache
def _import_backend() -> None:
    """Let anyio, which httpx uses, import its backend now instead of at the first connection."""
    anyio.run(anyio.sleep, 0)


@functools.lru_cache(maxsize=8)
def _load_tls_context(file: str | None, folder: str | None) -> ssl.SSLContext:
    """Load certificates; all clients of a process that use the same ones share them."""
    return httpx.create_ssl_context()


class Clients:
    """The HTTP clients of one Neuron, one for each event loop, made on first use.

    A connection belongs to the event loop that opened it. Usually there is one loop, and so one client.

    Args:
        endpoint: The server that the clients connect to.
        injected: The user's client; it is used in every loop, and never closed here.

    Raises:
        ValueError: The environment names a proxy or certificates that cannot be used.
    """

    def __init__(self, endpoint: Endpoint, injected: httpx.AsyncClient | None = None) -> None:
        self._injected = injected
        # The environment does not matter to the user's own client.
        self._route = Route.to(endpoint) if injected is None else Route(None, uses_tls=False)
        self._by_loop: dict[asyncio.AbstractEventLoop, httpx.AsyncClient] = {}

    async def current(self) -> httpx.AsyncClient:
        """The client for the running loop, made on first use.

        Raises:
            NeuronError: The user has closed the injected client, or certificates cannot be loaded.
        """
        if self._injected is not None:
            if self._injected.is_closed:
                raise NeuronError("the httpx client given as client= is closed: keep it open while in use")
            return self._injected
        loop = asyncio.get_running_loop()
        if loop not in self._by_loop:
            made = await self._route.client()
            # The client of a loop that has ended cannot be closed any more, only dropped.
            self._by_loop = {other: kept for other, kept in self._by_loop.items() if not other.is_closed()}
            # A concurrent call may have made one meanwhile; a client that was never used holds nothing.
            self._by_loop.setdefault(loop, made)
        return self._by_loop[loop]

    async def aclose(self) -> None:
        """Close the running loop's client; the next call makes a new one."""
        client = self._by_loop.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()
