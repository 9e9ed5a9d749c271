"""The options of the source."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, Final, Self

import httpx
import msgspec
from msgspec import Meta

from cosmo_llm.http import Endpoint
from cosmo_llm.http.neuron import LLMOptions, merged
from cosmo_llm.options import HIDDEN, Converter, Count, Flag, hidden_value, wrong_value

ROUTER: Final = "https://router.huggingface.co"
"""HuggingFace's Inference Providers, the default endpoint."""

OPENAI_KEYS: Final = frozenset(
    [
        "audio",
        "frequency_penalty",
        "function_call",
        "functions",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "metadata",
        "modalities",
        "n",
        "parallel_tool_calls",
        "prediction",
        "presence_penalty",
        "prompt_cache_key",
        "prompt_cache_retention",
        "reasoning_effort",
        "response_format",
        "safety_identifier",
        "seed",
        "service_tier",
        "store",
        "stream_options",
        "tool_choice",
        "tools",
        "top_logprobs",
        "user",
        "verbosity",
        "web_search_options",
    ]
)
"""The keys of an input that are copied into a chat request unchanged: those of OpenAI's API."""
EXTRA_BODY: Final = "extra_body"
"""What OpenAI's client calls ``extra``; an input can have either."""
LIMITS: Final = ("max_tokens", "max_completion_tokens")
"""The names for the maximum length of the answer in OpenAI's API; in an input they override the option."""

_VERSION: Final = re.compile(r"v[0-9]+(?:\.[0-9]+)*(?:(?:alpha|beta)[0-9]*)?", re.IGNORECASE)
_COMPLETIONS: Final = "/chat/completions"
_DEPLOYMENTS: Final = "deployments"
_KEY: Final = re.compile(r"[!-~]+")
_OWN_DOMAINS: Final = (".huggingface.co", ".huggingface.cloud")


@dataclass(frozen=True, slots=True)
class HuggingFaceEndpoint(Endpoint):
    """A server with the API of chat completions or of TGI.

    A URL that ends in ``/chat/completions`` is used as it is given. Otherwise that is added to it, behind
    ``/v1`` unless the URL has a version already, such as ``/v2`` or ``/v1beta/openai``.

    Attributes:
        version: What comes between the base and ``/chat/completions``.
    """

    EXAMPLE: ClassVar[str] = ROUTER
    API_PATHS: ClassVar[tuple[str, ...]] = (_COMPLETIONS, "/generate_stream", "/generate")
    KEY_OPTIONS: ClassVar[str] = "api_key or headers"

    version: str = field(default="/v1", kw_only=True)

    @classmethod
    def parse(cls, url: object, *, name: str = "endpoint") -> Self:
        """Parse a URL of any of these forms.

        Raises:
            ValueError: It is not an http or https URL, or it holds a user or a fragment.
        """
        found = super(HuggingFaceEndpoint, cls).parse(url, name=name)
        if found.base.endswith("/v1"):
            return replace(found, base=found.base.removesuffix("/v1").rstrip("/"))
        given = httpx.URL(str(url)).path.rstrip("/")
        segments = given.split("/")
        is_whole = given.endswith(_COMPLETIONS) or _DEPLOYMENTS in segments
        return replace(found, version="") if is_whole or any(map(_VERSION.fullmatch, segments)) else found

    def url(self, path: str) -> str:
        """The full URL of one of the API's paths."""
        return (
            self.base
            + (self.version + path.removeprefix("/v1") if path.startswith("/v1/") else path)
            + self.query
        )

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
    PER_CALL: ClassVar[frozenset[str]] = LLMOptions.PER_CALL | {"max_new_tokens", "top_p", "stop"}
    PASSED_ON: ClassVar[frozenset[str]] = OPENAI_KEYS | {EXTRA_BODY}

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

    def for_call(self, input: Mapping[str, Any]) -> Self:
        """These options with the values that the input overrides.

        Raises:
            NeuronError: With code ``INPUT_INVALID``, when the input has an unknown key, or a value in it
                cannot work.
        """
        if isinstance(input.get(EXTRA_BODY), Mapping):
            input = {**input, "extra": merged(input[EXTRA_BODY], input.get("extra"))}
        return super().for_call(input)

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
