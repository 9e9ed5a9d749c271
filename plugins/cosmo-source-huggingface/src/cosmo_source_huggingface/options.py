"""The options of the source."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, Self

import msgspec
from msgspec import Meta

from cosmo_llm.http import Endpoint
from cosmo_llm.http.neuron import LLMOptions
from cosmo_llm.options import HIDDEN, Converter, Count, Flag, hidden_value, wrong_value

ROUTER: Final = "https://router.huggingface.co"
"""HuggingFace's Inference Providers, the default endpoint."""

_KEY: Final = re.compile(r"[!-~]+")
_OWN_DOMAINS: Final = (".huggingface.co", ".huggingface.cloud")


@dataclass(frozen=True, slots=True)
class HuggingFaceEndpoint(Endpoint):
    """A server with the API of chat completions or of TGI; its URL may end in ``/v1``."""

    EXAMPLE: ClassVar[str] = ROUTER
    API_PATHS: ClassVar[tuple[str, ...]] = ("/chat/completions", "/v1")
    KEY_OPTIONS: ClassVar[str] = "api_key or headers"

    @property
    def is_router(self) -> bool:
        """Whether this is HuggingFace's router, which always needs a key and a model."""
        return self.base == ROUTER

    @property
    def is_huggingface(self) -> bool:
        """Whether HuggingFace runs the host, so that a token for HuggingFace may be sent there."""
        return self.base.startswith("https://") and f".{self.host}".endswith(_OWN_DOMAINS)


def _key(name: str, value: object) -> str | None:
    """Convert an API key: white space around it is removed, and an empty string counts as no key."""
    if value is None or value == "":
        return None
    key = value.strip() if isinstance(value, str) else ""
    if not _KEY.fullmatch(key):
        raise hidden_value(name, value, "a key of printable ASCII characters without spaces")
    return key


def _texts(name: str, value: object) -> tuple[str, ...]:
    """Convert a string, or a list of strings, to a tuple of strings."""
    texts = () if value is None else (value,) if isinstance(value, str) else value
    if isinstance(texts, (list, tuple)) and all(isinstance(text, str) and text for text in texts):
        return tuple(texts)
    raise wrong_value(name, value, "a non-empty string or a list of them")


class HuggingFaceOptions(LLMOptions, frozen=True, kw_only=True):
    """The options of one Neuron; ``None`` leaves a choice to the provider.

    Attributes:
        endpoint: The server's URL.
        api_key: Sent as a bearer token. The default for HuggingFace's own hosts is ``HF_TOKEN``.
        use_chat_api: Whether to use chat completions instead of TGI's native API.
        max_new_tokens: The maximum length of the answer.
        top_p: Above 0, at most 1.
        stop: Texts that end the answer.
    """

    SOURCE: ClassVar[str] = "huggingface"
    PER_CALL: ClassVar[frozenset[str]] = frozenset(
        {"model", "max_new_tokens", "temperature", "top_p", "stop", "system"}
    )

    endpoint: Annotated[HuggingFaceEndpoint, Converter(HuggingFaceEndpoint.convert)] = (
        HuggingFaceEndpoint.parse(ROUTER)
    )
    api_key: Annotated[str | None, Converter(_key), HIDDEN] = None
    use_chat_api: Flag = True
    max_new_tokens: Count | None = None
    top_p: Annotated[float, Meta(gt=0, le=1, description="a number above 0, at most 1,")] | None = None
    stop: Annotated[tuple[str, ...], Converter(_texts)] = ()

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> Self:
        """Make options from what the user gave and from ``HF_TOKEN``.

        Raises:
            TypeError: There is no such option.
            ValueError: A value cannot work, or the endpoint needs a key or a model that is missing.
        """
        options = super().parse(given)
        if options.api_key is None and options.endpoint.is_huggingface:
            token = _key("HF_TOKEN", os.environ.get("HF_TOKEN"))
            options = msgspec.structs.replace(options, api_key=token)
        if options.endpoint.is_router:
            options._check_router()
        return options

    def _check_router(self) -> None:
        if not self.use_chat_api:
            raise ValueError(
                f"use_chat_api=False: {ROUTER} has only the chat API; set endpoint to a TGI server"
            )
        if self.api_key is None:
            raise ValueError(
                f"api_key: {ROUTER} needs a token: pass api_key=…, or set HF_TOKEN to one with read scope "
                "from https://huggingface.co/settings/tokens"
            )
        if self.model is None:
            raise ValueError(
                f"model: {ROUTER} serves many models: name one, as in 'meta-llama/Llama-3.1-8B-Instruct'"
            )
