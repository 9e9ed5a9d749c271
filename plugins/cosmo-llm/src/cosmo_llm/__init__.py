"""What sources of language models share: messages, failures, options, redaction and HTTP.

An LLM Neuron takes ``{"prompt": …}`` or ``{"messages": […]}`` and returns ``{"response": text, "meta": …}``.
A failure of its provider ends the TASK with one of the codes below, so that a caller can react without
knowing the provider.

`cosmo_llm.options` declares the options of a source; `cosmo_llm.http` sends requests with httpx.
"""

from __future__ import annotations

from cosmo_llm.failures import (
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
    Failures,
    Provider,
    UnexpectedShapeError,
    failure_of_status,
    names_unknown_model,
    read_answer,
    status_line,
)
from cosmo_llm.messages import PROMPT_KEYS, to_messages, to_output, with_arguments
from cosmo_llm.redaction import MAX_QUOTED_TEXT, Secrets
from cosmo_llm.wire import EncodingError, parse_object, read_up_to, retry_after_s

__all__ = [
    "AUTH_FAILED",
    "INPUT_INVALID",
    "MAX_QUOTED_TEXT",
    "MODEL_NOT_FOUND",
    "PROMPT_KEYS",
    "PROVIDER_ERROR",
    "PROVIDER_MALFORMED",
    "PROVIDER_REFUSED",
    "PROVIDER_TIMEOUT",
    "PROVIDER_UNREACHABLE",
    "RATE_LIMITED",
    "EncodingError",
    "Failure",
    "Failures",
    "Provider",
    "Secrets",
    "UnexpectedShapeError",
    "failure_of_status",
    "names_unknown_model",
    "parse_object",
    "read_answer",
    "read_up_to",
    "retry_after_s",
    "status_line",
    "to_messages",
    "to_output",
    "with_arguments",
]
