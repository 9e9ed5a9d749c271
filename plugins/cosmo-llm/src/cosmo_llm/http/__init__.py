"""Requests to a provider over HTTP, within a time limit, size limits and a number of attempts.

Needs httpx, which the core itself does not: a source that imports this names httpx as a requirement.
"""

from __future__ import annotations

from cosmo_llm.http.call import Call
from cosmo_llm.http.endpoint import Endpoint
from cosmo_llm.http.options import HttpOptions
from cosmo_llm.http.stream import AnswerStream, Decoder
from cosmo_llm.http.transport import Transport

__all__ = ["AnswerStream", "Call", "Decoder", "Endpoint", "HttpOptions", "Transport"]
