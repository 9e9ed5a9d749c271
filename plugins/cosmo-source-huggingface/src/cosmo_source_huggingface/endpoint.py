"""Where the requests go."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

import httpx

ROUTER: Final = "https://router.huggingface.co"
"""HuggingFace's Inference Providers, the default endpoint."""

_OWN_DOMAINS: Final = (".huggingface.co", ".huggingface.cloud")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server's base URL, however much of the API's path the user gave with it.

    Attributes:
        base: Without a trailing slash and without ``/v1``.
        host: The host name alone.
    """

    base: str
    host: str

    @classmethod
    def parse(cls, url: object) -> Endpoint:
        """Take a base URL, with or without ``/``, ``/v1`` or ``/v1/chat/completions`` at its end.

        Raises:
            ValueError: It is not an http or https URL, or holds what does not belong into one here.
        """
        parsed = _parsed(url)
        path = parsed.raw_path.decode("ascii").rstrip("/").removesuffix("/chat/completions")
        path = path.removesuffix("/v1").rstrip("/")
        return cls(f"{parsed.scheme}://{parsed.netloc.decode('ascii')}{path}", parsed.host)

    @property
    def is_router(self) -> bool:
        """Whether this is HuggingFace's router, which always needs a key and a model."""
        return self.base == ROUTER

    @property
    def is_huggingface(self) -> bool:
        """Whether HuggingFace runs the host, so that a token meant for HuggingFace may go there."""
        return self.base.startswith("https://") and f".{self.host}".endswith(_OWN_DOMAINS)

    @property
    def is_loopback(self) -> bool:
        """Whether the server runs on this machine."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def url(self, path: str) -> str:
        """The full URL of one of the API's paths."""
        return self.base + path


def _parsed(url: object) -> httpx.URL:
    try:
        parsed = httpx.URL(url) if isinstance(url, str) else None
    except httpx.InvalidURL as error:
        raise ValueError(f"endpoint={url!r}: not a URL: {error}") from None
    if parsed is not None and (parsed.userinfo or parsed.query or parsed.fragment):
        # Not repeated: this is where a password or a key would be.
        raise ValueError("endpoint: leave out user, query and fragment; a key goes into api_key or headers")
    is_web = parsed is not None and parsed.scheme in ("http", "https") and parsed.host != ""
    if parsed is None or not is_web or not 0 < (parsed.port or 80) < 65_536:
        raise ValueError(f"endpoint={url!r}: an http:// or https:// URL is needed, such as {ROUTER}")
    return parsed
