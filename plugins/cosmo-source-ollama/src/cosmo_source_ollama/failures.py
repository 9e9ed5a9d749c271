"""Ollama's error messages as failures, with the command that helps."""

from __future__ import annotations

import re
import shlex
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar, Final

from cosmo_llm import Failure, Provider, failures, names_unknown_model

if TYPE_CHECKING:
    from collections.abc import Mapping

_NOT_OLLAMA: Final = "check that endpoint is an Ollama server"

_MODEL_MISSING: Final = re.compile(r"model .* not found")
_WRONG_OPTION: Final = re.compile(r'option ".*" must be of type')


class Ollama(Provider):
    """Maps Ollama's error messages to failures and to the command that helps.

    Args:
        model: The model of the call, once it is known.
    """

    ADVICE: ClassVar[Mapping[Failure, str]] = {
        failures.AUTH_FAILED: "sign in with `ollama signin`, or check headers",
        failures.MODEL_NOT_FOUND: _NOT_OLLAMA,
        failures.RATE_LIMITED: "try again later, or send less at once",
        failures.PROVIDER_ERROR: "try again later, or read Ollama's log",
        failures.PROVIDER_UNREACHABLE: (
            "start Ollama there with `ollama serve`, or set endpoint or OLLAMA_HOST to where it runs"
        ),
        failures.PROVIDER_TIMEOUT: (
            "raise timeout (a first call also loads the model), or ask for less with max_tokens"
        ),
        failures.PROVIDER_MALFORMED: _NOT_OLLAMA,
    }

    def __init__(self, model: str = "") -> None:
        self._model = model

    def for_model(self, model: str | None) -> Ollama:
        """The provider for a call of this model, which the command names."""
        return Ollama(model or self._model)

    def failure_in(self, answer: Mapping[str, Any], status: int | None) -> Failure | None:
        """Recognise an option of the wrong type, which is answered with 500, and a missing model."""
        if status == HTTPStatus.INTERNAL_SERVER_ERROR and _matches(answer, _WRONG_OPTION):
            return failures.INPUT_INVALID
        is_unknown = status in (None, HTTPStatus.BAD_REQUEST) and names_unknown_model(answer)
        return failures.MODEL_NOT_FOUND if is_unknown else None

    def advice(self, failure: Failure, answer: Mapping[str, Any] | None) -> str | None:
        """The command that helps, or the options to check."""
        if failure == failures.MODEL_NOT_FOUND and answer is not None and _matches(answer, _MODEL_MISSING):
            return f"`ollama pull {shlex.quote(self._model)}` fetches it"
        return super().advice(failure, answer)


def _matches(answer: Mapping[str, Any], pattern: re.Pattern[str]) -> bool:
    message = answer.get("error")
    return isinstance(message, str) and pattern.search(message) is not None
