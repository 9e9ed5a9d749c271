"""The small contract that every LLM source shares: input, output, failures.

An LLM Neuron takes ``{"prompt": …}`` or ``{"messages": […]}`` and returns ``{"response": text, "meta": …}``.
What goes wrong at its provider ends the TASK with one of the codes below, so that whoever asked can act on
it without knowing the provider. These are functions to call, not a class to inherit.

`cosmo_llm.checks` checks what a user gave a source; `cosmo_llm.http` carries requests. The latter
needs httpx, which a source that uses it names as a requirement of its own.
"""

from __future__ import annotations

from cosmo_llm.answers import UnexpectedShapeError, read_answer
from cosmo_llm.codes import (
    AUTH_FAILED,
    INPUT_INVALID,
    MODEL_NOT_FOUND,
    PROVIDER_ERROR,
    PROVIDER_MALFORMED,
    PROVIDER_REFUSED,
    PROVIDER_TIMEOUT,
    PROVIDER_UNREACHABLE,
    RATE_LIMITED,
    Failure,
    failure_of_status,
)
from cosmo_llm.failures import Failures, Provider
from cosmo_llm.messages import PROMPT_KEYS, to_messages, to_output
from cosmo_llm.wire import MAX_PROVIDER_TEXT, parse_object, provider_text, retry_after_s

__all__ = [
    "AUTH_FAILED",
    "INPUT_INVALID",
    "MAX_PROVIDER_TEXT",
    "MODEL_NOT_FOUND",
    "PROMPT_KEYS",
    "PROVIDER_ERROR",
    "PROVIDER_MALFORMED",
    "PROVIDER_REFUSED",
    "PROVIDER_TIMEOUT",
    "PROVIDER_UNREACHABLE",
    "RATE_LIMITED",
    "Failure",
    "Failures",
    "Provider",
    "UnexpectedShapeError",
    "failure_of_status",
    "parse_object",
    "provider_text",
    "read_answer",
    "retry_after_s",
    "to_messages",
    "to_output",
]
