"""Where the requests go."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import ClassVar, Self

import httpx


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server's base URL, however much of the API's path the user gave with it.

    A source's own kind of endpoint sets the class attributes.

    Attributes:
        base: Without a trailing slash and without what `API_PATHS` names.
        host: The host name alone.
    """

    EXAMPLE: ClassVar[str] = "http://localhost:8080"
    """Shown to whoever gave something else than a URL."""
    API_PATHS: ClassVar[tuple[str, ...]] = ()
    """Taken off the end of a URL, one after the other."""
    KEY_OPTIONS: ClassVar[str] = "headers"
    """Where a key goes, which some would write into the URL."""

    base: str
    host: str

    @classmethod
    def parse(cls, url: object, *, name: str = "endpoint") -> Self:
        """Take a base URL, with or without a path of the API at its end.

        Args:
            url: What the user gave.
            name: Under which name, for the error.

        Raises:
            ValueError: It is not an http or https URL, or holds what does not belong into one here.
        """
        parsed = cls._parsed(name, url)
        path = parsed.raw_path.decode("ascii").rstrip("/")
        for end in cls.API_PATHS:
            path = path.removesuffix(end).rstrip("/")
        return cls(f"{parsed.scheme}://{parsed.netloc.decode('ascii')}{path}", parsed.host)

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

    @classmethod
    def _parsed(cls, name: str, url: object) -> httpx.URL:
        try:
            # httpx would escape white space, and look for a host of that name.
            parsed = httpx.URL(url) if isinstance(url, str) and url.split() == [url] else None
        except httpx.InvalidURL as error:
            raise ValueError(f"{name}={_shown(url)}: not a URL: {error}") from None
        if parsed is not None and (parsed.userinfo or parsed.query or parsed.fragment):
            raise ValueError(f"{name}: leave out user, query and fragment; a key goes into {cls.KEY_OPTIONS}")
        is_web = parsed is not None and parsed.scheme in ("http", "https") and parsed.host != ""
        if parsed is None or not is_web or not 0 < (80 if parsed.port is None else parsed.port) < 65_536:
            wanted = f"an http:// or https:// URL is needed, such as {cls.EXAMPLE}"
            raise ValueError(f"{name}={_shown(url)}: {wanted}")
        return parsed


def _shown(url: object) -> str:
    """What was given, unless a password or a key could be in it."""
    return "…" if isinstance(url, str) and {"@", "?", "#"} & set(url) else repr(url)
