"""Where a server is that is reached over HTTP."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import parse_qsl
from urllib.request import getproxies, proxy_bypass

import httpx2


@dataclass(frozen=True, slots=True)
class ServerUrl:
    """A server's URL; its query, where some services want their key, is kept apart and never shown.

    Attributes:
        shown: The URL without its query.
        query: The query, encoded as it is sent.
    """

    shown: str
    query: bytes = field(default=b"", repr=False)

    @classmethod
    def parse(cls, url: object) -> ServerUrl:
        """Check a URL.

        Raises:
            ValueError: It is not an http or https URL, or holds what does not belong into one here.
        """
        try:
            parsed = httpx2.URL(url) if isinstance(url, str) else None
        except httpx2.InvalidURL:
            parsed = None
        if parsed is not None and (parsed.userinfo or parsed.fragment):
            # Not repeated: this is where a password would be.
            raise ValueError("url: leave out user and fragment; a key goes into headers")
        is_web = parsed is not None and parsed.scheme in ("http", "https") and parsed.host != ""
        if parsed is None or not is_web or not 0 < (parsed.port or 80) < 65_536:
            raise ValueError("url: an http:// or https:// URL is needed, such as http://localhost:8000/mcp")
        return cls(str(parsed.copy_with(query=None)), parsed.query)

    @property
    def secrets(self) -> list[str]:
        """What of the query must not be shown: as it is sent, and as it may be repeated."""
        query = self.query.decode("ascii")
        sent = [pair.partition("=")[2] for pair in query.split("&")]
        return [query, *sent, *(value for _, value in parse_qsl(query))]

    @property
    def proxy(self) -> str | None:
        """The proxy that the environment names for this server; none for what runs on this machine."""
        parsed = httpx2.URL(self.shown)
        if _is_loopback(parsed.host) or proxy_bypass(parsed.host):
            return None
        proxies = getproxies()
        return proxies.get(parsed.scheme) or proxies.get("all")

    def with_query(self, url: httpx2.URL) -> httpx2.URL:
        """Give the query back to a URL that is about to be requested."""
        return url.copy_with(query=self.query) if self.query else url


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
