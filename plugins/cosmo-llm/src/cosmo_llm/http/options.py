"""The options that every source with an HTTP provider has: URL, time limits, retries, headers, client."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Final, Self

import httpx
from msgspec import Meta

from cosmo_llm.options import HIDDEN, Converter, Options, Retries, Seconds, header_mapping
from cosmo_llm.redaction import Secrets
from cosmo_llm.wire import is_loopback

# A shorter header value is not secret, and redacting it would garble the provider's text.
_SHORTEST_SECRET: Final = 8
DEFAULT_RETRIES: Final = 3
"""How often a request is sent again, unless ``max_retries`` says otherwise."""
_CREDENTIAL: Final = re.compile(r"auth|key|token|secret|passw|cookie|sign|credential", re.IGNORECASE)
"""What a header is called, or a parameter of a query, whose value is a credential."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The base URL of a server. A source with paths of its own subclasses it and sets the class attributes.

    Attributes:
        base: The URL without a trailing slash, without the paths in `API_PATHS`, and without its query.
        host: The host name.
        query: The query of the URL with its question mark, or an empty string. It is sent with every request,
            and never shown: it can hold a key.
    """

    EXAMPLE: ClassVar[str] = "http://localhost:8080"
    """The URL that an error shows as an example."""
    API_PATHS: ClassVar[tuple[str, ...]] = ()
    """Paths that `parse` removes from the end of a URL, one after the other."""
    KEY_OPTIONS: ClassVar[str] = "headers"
    """The options that take a key, for the error about a key inside the URL."""

    base: str
    host: str
    query: str = field(default="", repr=False)

    @classmethod
    def parse(cls, url: object, *, name: str = "endpoint") -> Self:
        """Parse a base URL, with or without a path of the API at its end.

        Args:
            url: What the user gave.
            name: The name of the option, for the error.

        Raises:
            ValueError: It is not an http or https URL, or it holds a user or a fragment.
        """
        parsed = cls._parsed(name, url)
        path, mark, query = parsed.raw_path.decode("ascii").partition("?")
        path = path.rstrip("/")
        for end in cls.API_PATHS:
            path = path.removesuffix(end).rstrip("/")
        return cls(f"{parsed.scheme}://{parsed.netloc.decode('ascii')}{path}", parsed.host, mark + query)

    @classmethod
    def convert(cls, name: str, value: object) -> Self:
        """Convert an option: a URL, or an endpoint of this class.

        Raises:
            ValueError: As `parse` does.
        """
        return value if isinstance(value, cls) else cls.parse(value, name=name)

    @property
    def is_loopback(self) -> bool:
        """Whether the server runs on this machine."""
        return is_loopback(self.host)

    def url(self, path: str) -> str:
        """The full URL of one of the API's paths."""
        return self.base + path + self.query

    @classmethod
    def _parsed(cls, name: str, url: object) -> httpx.URL:
        try:
            # httpx would escape white space, and look for a host of that name.
            parsed = httpx.URL(url) if isinstance(url, str) and url.split() == [url] else None
        except httpx.InvalidURL as error:
            raise ValueError(f"{name}={_shown(url)}: not a URL: {error}") from None
        if parsed is not None and (parsed.userinfo or parsed.fragment):
            raise ValueError(f"{name}: leave out user and fragment; a key goes into {cls.KEY_OPTIONS}")
        is_web = parsed is not None and parsed.scheme in ("http", "https") and parsed.host != ""
        if parsed is None or not is_web or not 0 < (80 if parsed.port is None else parsed.port) < 65_536:
            wanted = f"an http:// or https:// URL is needed, such as {cls.EXAMPLE}"
            raise ValueError(f"{name}={_shown(url)}: {wanted}")
        return parsed


class HttpOptions(Options, frozen=True, kw_only=True):
    """How a Neuron reaches its provider; a source adds its own options in a subclass.

    Attributes:
        endpoint: The server's URL.
        timeout: How long one call may take in total, in seconds.
        idle_timeout: How long a stream may send nothing, in seconds; ``None`` is up to ``timeout``.
        max_retries: How often a request is sent again after a failure that may pass.
        headers: Sent with every request.
        client: The user's own HTTP client; a source never closes it.
    """

    endpoint: Annotated[Endpoint, Converter(Endpoint.convert)]
    timeout: Seconds = 60.0
    idle_timeout: Seconds | None = None
    max_retries: Retries = DEFAULT_RETRIES
    headers: Annotated[Mapping[str, str] | None, Converter(header_mapping), HIDDEN] = None
    client: Annotated[httpx.AsyncClient | None, Meta(description="an httpx.AsyncClient"), HIDDEN] = None

    @property
    def secrets(self) -> Secrets:
        """What no error may show: the values of headers and of the query, and the parts of these."""
        query = httpx.QueryParams(self.endpoint.query)
        values = [*(self.headers or {}).values(), *query.values()]
        return Secrets(values, shortest=_SHORTEST_SECRET, parts=True)

    @property
    def credentials(self) -> Secrets:
        """What no answer may show: the values that are credentials by the names of their headers."""
        given = [*(self.headers or {}).items(), *httpx.QueryParams(self.endpoint.query).items()]
        values = [value for name, value in given if _CREDENTIAL.search(name)]
        return Secrets(values, shortest=_SHORTEST_SECRET, parts=True)


def _shown(url: object) -> str:
    """What was given, unless a password or a key could be in it."""
    return "…" if isinstance(url, str) and {"@", "?", "#"} & set(url) else repr(url)
