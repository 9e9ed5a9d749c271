"""Where the requests go, and whether HuggingFace itself is there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from cosmo_llm.http import Endpoint as HttpEndpoint

ROUTER: Final = "https://router.huggingface.co"
"""HuggingFace's Inference Providers, the default endpoint."""

_OWN_DOMAINS: Final = (".huggingface.co", ".huggingface.cloud")


@dataclass(frozen=True, slots=True)
class Endpoint(HttpEndpoint):
    """A server that speaks chat completions or TGI's API: with or without ``/v1`` at the end of its URL."""

    EXAMPLE: ClassVar[str] = ROUTER
    API_PATHS: ClassVar[tuple[str, ...]] = ("/chat/completions", "/v1")
    KEY_OPTIONS: ClassVar[str] = "api_key or headers"

    @property
    def is_router(self) -> bool:
        """Whether this is HuggingFace's router, which always needs a key and a model."""
        return self.base == ROUTER

    @property
    def is_huggingface(self) -> bool:
        """Whether HuggingFace runs the host, so that a token meant for HuggingFace may go there."""
        return self.base.startswith("https://") and f".{self.host}".endswith(_OWN_DOMAINS)
