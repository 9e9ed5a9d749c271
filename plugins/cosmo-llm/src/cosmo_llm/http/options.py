"""The options that every source behind HTTP has: checked once, when the Neuron is made."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import httpx

from cosmo_llm.checks import is_number, need
from cosmo_llm.http.endpoint import Endpoint

_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE: Final = re.compile(r"[ -~]*")
_SEPARATORS: Final = re.compile(r"[ ;,=]+")

# What is shorter is not a secret, and redacting it would garble the provider's words.
_SHORTEST_SECRET: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpOptions:
    """How a Neuron reaches its provider; what may be secret is not in the repr.

    Attributes:
        endpoint: Where the requests go.
        timeout: How long one call may take, all in all, in seconds.
        headers: Sent with every request.
        client: The user's own HTTP client; never closed by a source.
    """

    endpoint: Endpoint
    timeout: float = 60.0
    headers: Mapping[str, str] | None = field(default=None, repr=False)
    client: httpx.AsyncClient | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        limit, client = self.timeout, self.client
        need(is_number(limit) and limit > 0, "timeout", limit, "a positive number of seconds")
        is_client = client is None or isinstance(client, httpx.AsyncClient)
        need(is_client, "client", type(client), "an httpx.AsyncClient")
        _check_headers(self.headers)

    @property
    def secrets(self) -> set[str]:
        """What may be secret in the headers: their values, and the parts of these, as in ``Bearer …``."""
        values = (self.headers or {}).values()
        parts = {part for value in values for part in (value, *_SEPARATORS.split(value))}
        return {part for part in parts if len(part) >= _SHORTEST_SECRET}


def _check_headers(headers: object) -> None:
    if not isinstance(headers, Mapping):
        need(headers is None, "headers", type(headers), "a mapping of names to values")
        return
    for name, value in headers.items():
        is_name = isinstance(name, str) and _HEADER_NAME.fullmatch(name)
        need(bool(is_name), "headers", name, "a header name")
        if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value):
            raise ValueError(f"headers[{name!r}]: a string of printable ASCII characters is needed")
