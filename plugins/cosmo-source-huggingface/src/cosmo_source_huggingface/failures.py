"""The error codes of HuggingFace, OpenAI and TGI as failures, with advice for the user."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar, Final

from cosmo_llm import Failure, Provider, failure_of_status, failures, names_unknown_model

if TYPE_CHECKING:
    from collections.abc import Mapping

# HuggingFace and OpenAI report a word in `code` or in `type`, TGI in `error_type`.
_BY_WORD: Final = {
    "model_not_found": failures.MODEL_NOT_FOUND,
    "model_not_supported": failures.MODEL_NOT_FOUND,
    "invalid_model": failures.MODEL_NOT_FOUND,
    "overloaded": failures.RATE_LIMITED,
    "validation": failures.INPUT_INVALID,
}

_STATUS: Final = re.compile(r"[4-9][0-9]{2}")


class HuggingFace(Provider):
    """Maps the error codes of HuggingFace, OpenAI and TGI to failures."""

    ADVICE: ClassVar[Mapping[Failure, str]] = {
        failures.AUTH_FAILED: "check api_key (or HF_TOKEN), and that it may use this model",
        failures.MODEL_NOT_FOUND: "check model and endpoint",
        failures.RATE_LIMITED: "try again later, or send less at once",
        failures.PROVIDER_ERROR: "try again later",
        failures.PROVIDER_UNREACHABLE: "check endpoint, and that a server runs there",
        failures.PROVIDER_TIMEOUT: "raise timeout, or ask for less with max_new_tokens",
        failures.PROVIDER_MALFORMED: "check endpoint and use_chat_api",
    }

    def failure_in(self, answer: Mapping[str, Any], status: int | None) -> Failure | None:
        """The failure that the code of an error stands for, or its text; a code is a word or a status."""
        # A status is more precise than a word, except for 400, which some servers use for every error.
        if status not in (None, HTTPStatus.BAD_REQUEST):
            return None
        error = answer.get("error")
        code = error.get("code") if isinstance(error, dict) else answer.get("error_type")
        kind = error.get("type") if isinstance(error, dict) else answer.get("type")
        for word in (code, kind):
            if isinstance(word, str) and word in _BY_WORD:
                return _BY_WORD[word]
        if names_unknown_model(answer):
            return failures.MODEL_NOT_FOUND
        if isinstance(code, str) and _STATUS.fullmatch(code):
            code = int(code)  # LiteLLM writes it as text
        if type(code) is int and code >= HTTPStatus.BAD_REQUEST:
            return failure_of_status(code)
        return None
