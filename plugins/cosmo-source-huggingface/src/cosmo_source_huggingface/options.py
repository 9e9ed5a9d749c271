"""The options of the source: checked once, when the Neuron is made."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cosmo_llm.checks import names_of, need_flag, need_known, picked
from cosmo_llm.http import HttpOptions
from cosmo_source_huggingface.endpoint import ROUTER, Endpoint
from cosmo_source_huggingface.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

_KEY: Final = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Everything a Neuron of this source is made from; what may be secret is not in the repr.

    Attributes:
        http: How the server is reached.
        endpoint: Where it is.
        settings: What to ask the model for.
        api_key: Sent as a bearer token.
        use_chat_api: Whether to speak chat completions rather than TGI's native API.
        stream: Whether the Neuron yields the answer as it comes.
    """

    http: HttpOptions
    endpoint: Endpoint
    settings: Settings
    api_key: str | None = field(default=None, repr=False)
    use_chat_api: bool = True
    stream: bool = False

    def __post_init__(self) -> None:
        need_flag("use_chat_api", self.use_chat_api)
        need_flag("stream", self.stream)
        if self.endpoint.is_router:
            self._check_router()

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> Options:
        """Check what the user gave.

        Raises:
            TypeError: There is no such option.
            ValueError: A value cannot work, or one is missing.
        """
        need_known("huggingface", given, NAMES)
        endpoint = Endpoint.parse(given.get("endpoint", ROUTER))
        own = {
            **picked(given, cls),
            "endpoint": endpoint,
            "api_key": _api_key(given.get("api_key"), endpoint),
            "http": HttpOptions(**{**picked(given, HttpOptions), "endpoint": endpoint}),
            "settings": Settings(**picked(given, Settings)),
        }
        return cls(**own)

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


NAMES: Final = frozenset({*names_of(Settings), *names_of(HttpOptions), "api_key", "use_chat_api", "stream"})


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
