"""The options of the source: checked once, when the Neuron is made."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

import httpx

from cosmo_source_huggingface.checks import is_number, need, need_flag
from cosmo_source_huggingface.endpoint import ROUTER, Endpoint
from cosmo_source_huggingface.settings import NAMES as SETTING_NAMES
from cosmo_source_huggingface.settings import Settings

DEFAULT_TIMEOUT_S: Final = 60.0

_KEY: Final = re.compile(r"[!-~]+")
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE: Final = re.compile(r"[ -~]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Everything a Neuron of this source is made from; what may be secret is not in the repr.

    Attributes:
        endpoint: Where the requests go.
        settings: What to ask the model for.
        api_key: Sent as a bearer token.
        use_chat_api: Whether to speak chat completions rather than TGI's native API.
        timeout: How long one call may take, all in all, in seconds.
        stream: Whether the Neuron yields the answer as it comes.
        headers: Sent with every request.
        client: The user's own HTTP client; never closed by this source.
    """

    endpoint: Endpoint
    settings: Settings
    api_key: str | None = field(default=None, repr=False)
    use_chat_api: bool = True
    timeout: float = DEFAULT_TIMEOUT_S
    stream: bool = False
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    client: httpx.AsyncClient | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        need_flag("use_chat_api", self.use_chat_api)
        need_flag("stream", self.stream)
        limit, client = self.timeout, self.client
        need(is_number(limit) and limit > 0, "timeout", limit, "a positive number of seconds")
        is_client = client is None or isinstance(client, httpx.AsyncClient)
        need(is_client, "client", type(client), "an httpx.AsyncClient")
        _check_headers(self.headers)
        if self.endpoint.is_router:
            self._check_router()

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> Options:
        """Check what the user gave.

        Raises:
            TypeError: There is no such option.
            ValueError: A value cannot work, or one is missing.
        """
        if unknown := sorted(set(given) - set(NAMES)):
            raise TypeError(f"huggingface has no option {', '.join(unknown)}; it has {', '.join(NAMES)}")
        rest = {name: value for name, value in given.items() if name not in SETTING_NAMES}
        rest["endpoint"] = Endpoint.parse(given.get("endpoint", ROUTER))
        rest["api_key"] = _api_key(given.get("api_key"), rest["endpoint"])
        rest["headers"] = {} if given.get("headers") is None else given["headers"]
        settings = {name: value for name, value in given.items() if name in SETTING_NAMES}
        return cls(settings=Settings(**settings), **rest)

    def _check_router(self) -> None:
        if not self.use_chat_api:
            raise ValueError(f"use_chat_api=False: {ROUTER} speaks chat only; set endpoint to a TGI server")
        if self.api_key is None:
            raise ValueError(
                f"api_key: {ROUTER} needs a token: pass api_key=…, or set HF_TOKEN to one with read scope "
                "from https://huggingface.co/settings/tokens"
            )
        if self.settings.model is None:
            raise ValueError(
                f"model: {ROUTER} serves many: name one, as in 'meta-llama/Llama-3.1-8B-Instruct'"
            )


NAMES: Final = tuple(
    sorted({*SETTING_NAMES, *(option.name for option in fields(Options) if option.name != "settings")})
)


def _api_key(given: object, endpoint: Endpoint) -> str | None:
    """The key to send; the environment's token is for HuggingFace's own hosts only."""
    origin, key = "api_key", given
    if key is None and endpoint.is_huggingface:
        origin, key = "HF_TOKEN", os.environ.get("HF_TOKEN")
    if key is None or key == "":
        return None
    # The value is not repeated: it is a secret, or close to one.
    stripped = key.strip() if isinstance(key, str) else ""
    if not _KEY.fullmatch(stripped):
        raise ValueError(f"{origin}: a key of printable ASCII characters without spaces is needed")
    return stripped


def _check_headers(headers: object) -> None:
    if not isinstance(headers, Mapping):
        need(False, "headers", type(headers), "a mapping of names to values")
        return
    for name, value in headers.items():
        is_name = isinstance(name, str) and _HEADER_NAME.fullmatch(name)
        need(bool(is_name), "headers", name, "a header name")
        if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value):
            raise ValueError(f"headers[{name!r}]: a string of printable ASCII characters is needed")
