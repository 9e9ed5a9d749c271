"""Everything that can go wrong at the provider, as the `NeuronError` that says so."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import httpx

from cosmo_core.chat import (
    AUTH_FAILED,
    INPUT_INVALID,
    MODEL_NOT_FOUND,
    PROVIDER_ERROR,
    PROVIDER_MALFORMED,
    PROVIDER_TIMEOUT,
    PROVIDER_UNREACHABLE,
    RATE_LIMITED,
    Failure,
    failure_of_status,
    parse_object,
    provider_text,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cosmo_core.errors import NeuronError
    from cosmo_source_huggingface.options import Options

_ADVICE: Final = {
    AUTH_FAILED: "check api_key (or HF_TOKEN), and that it may use this model",
    MODEL_NOT_FOUND: "check model and endpoint",
    RATE_LIMITED: "try again later, or send less at once",
    PROVIDER_ERROR: "try again later",
}

# What a provider's own words for an error mean: HuggingFace and OpenAI say `code`, TGI says `error_type`.
_BY_WORD: Final = {
    "model_not_found": MODEL_NOT_FOUND,
    "model_not_supported": MODEL_NOT_FOUND,
    "overloaded": RATE_LIMITED,
    "validation": INPUT_INVALID,
}

# A shorter header value is not a secret, and redacting it would garble the provider's words.
_SHORTEST_SECRET: Final = 8


class Failures:
    """Words the failures of one endpoint, with its secrets left out."""

    def __init__(self, options: Options) -> None:
        self._server = options.endpoint.base
        self._timeout_s = options.timeout
        self._secrets = _secrets_of(options)

    def __repr__(self) -> str:
        return f"<Failures of {self._server}>"

    def refused(self, status: int, body: bytes, *, retry_after_s: float | None = None) -> NeuronError:
        """The provider answered with an HTTP status that is not a success."""
        failure, said = _refusal(status, body)
        message = f"{self._server} answered {_status_line(status)}"
        if text := self._quote(said):
            message += f": {text}"
        if retry_after_s is not None and failure.recoverable:
            message += f"; it asks to wait {retry_after_s:g} s"
        return failure.error(_advised(message, failure))

    def redirected(self, status: int, location: str) -> NeuronError:
        """The provider sent us elsewhere, where the key must not follow."""
        where = self._quote(location) or "nowhere"
        return failure_of_status(status).error(
            f"{self._server} answered {_status_line(status)} to {where}, which is not followed; "
            "if that is the right server, set endpoint to it"
        )

    def reported(self, answer: dict[str, Any]) -> NeuronError:
        """The provider answered 200, and put an error into the body or into the stream."""
        failure = _failure_in(answer) or PROVIDER_ERROR
        text = self._quote(_words_in(answer)) or "no reason given"
        return failure.error(_advised(f"{self._server} reported an error: {text}", failure))

    def lost(self, error: httpx.HTTPError) -> NeuronError:
        """The connection could not be made or used, or was cut."""
        text = self._quote(str(error)) or type(error).__name__
        if isinstance(error, httpx.TimeoutException):
            return self.timed_out()
        if isinstance(error, httpx.DecodingError):
            return PROVIDER_MALFORMED.error(f"{self._server} sent a body that cannot be decompressed: {text}")
        return PROVIDER_UNREACHABLE.error(
            f"no complete answer from {self._server}: {text}; check endpoint, and that a server runs there"
        )

    def cut(self) -> NeuronError:
        """The stream ended before the answer did."""
        return PROVIDER_UNREACHABLE.error(f"{self._server} ended its stream before the answer was complete")

    def timed_out(self) -> NeuronError:
        """The time limit of the call passed."""
        return PROVIDER_TIMEOUT.error(
            f"{self._server} did not answer completely within {self._timeout_s:g} s; "
            "raise timeout, or ask for less with max_new_tokens"
        )

    def malformed(self, reason: object, body: bytes | str = "") -> NeuronError:
        """The answer was not understood."""
        quoted = self._quote(body if isinstance(body, str) else body.decode(errors="replace"))
        return PROVIDER_MALFORMED.error(
            f"{self._server} sent an answer that is not understood, {self._quote(str(reason))}"
            f"{': ' + quoted if quoted else ''}; check endpoint and use_chat_api"
        )

    def too_large(self, limit: int) -> NeuronError:
        """The answer is larger than this source reads."""
        return PROVIDER_MALFORMED.error(f"{self._server} sent more than the {limit >> 20} MiB that are read")

    def _quote(self, text: str) -> str:
        return provider_text(text, secrets=self._secrets)


def _secrets_of(options: Options) -> Sequence[str]:
    headers = [value for value in options.headers.values() if len(value) >= _SHORTEST_SECRET]
    return [*headers, options.api_key] if options.api_key else headers


def _status_line(status: int) -> str:
    return f"{status} {HTTPStatus(status).phrase}" if status in set(HTTPStatus) else str(status)


def _advised(message: str, failure: Failure) -> str:
    advice = _ADVICE.get(failure)
    return f"{message}; {advice}" if advice else message


def _refusal(status: int, body: bytes) -> tuple[Failure, str]:
    failure = failure_of_status(status)
    try:
        answer = parse_object(body)
    except ValueError:
        return failure, body.decode(errors="replace")
    # A status says more than a word does, except for 400, which some use for everything.
    said = _failure_in(answer) if status == HTTPStatus.BAD_REQUEST else None
    return said or failure, _words_in(answer)


def _failure_in(answer: dict[str, Any]) -> Failure | None:
    error = answer.get("error")
    code = error.get("code") if isinstance(error, dict) else answer.get("error_type")
    if type(code) is int and code >= HTTPStatus.BAD_REQUEST:
        return failure_of_status(code)
    return _BY_WORD.get(code) if isinstance(code, str) else None


def _words_in(answer: dict[str, Any]) -> str:
    words = answer.get("error") or answer.get("message") or answer.get("detail") or answer
    if isinstance(words, dict):
        words = words.get("message") or words
    return str(words)
