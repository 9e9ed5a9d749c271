"""HTTP requests to a provider, with a time limit, size limits and retries."""

from __future__ import annotations

from cosmo_llm.http.options import Endpoint, HttpOptions
from cosmo_llm.http.transport import AnswerStream, Call, Decoder, Transport

__all__ = ["AnswerStream", "Call", "Decoder", "Endpoint", "HttpOptions", "Transport"]
