"""Everything that can go wrong at a provider, as the `NeuronError` that says so."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from cosmo_llm.codes import (
    PROVIDER_ERROR,
    PROVIDER_MALFORMED,
    PROVIDER_TIMEOUT,
    PROVIDER_UNREACHABLE,
    Failure,
    failure_of_status,
)
from cosmo_llm.wire import parse_object, provider_text

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from cosmo_core.errors import NeuronError


class Provider(Protocol):
    """What only a source can know about the failures of its provider."""

    def failure_in(self, answer: Mapping[str, Any], status: int | None) -> Failure | None:
        """Say what an error stands for by the provider's own words, where these tell more than the status.

        Args:
            answer: The object in which the provider reports the error.
            status: The HTTP status; ``None`` inside an answer that began as a success.
        """
        ...

    def advice(self, failure: Failure, answer: Mapping[str, Any] | None) -> str | None:
        """Say what the user can do; it ends the sentence that tells what happened.

        Args:
            failure: What happened.
            answer: The object in which the provider said so, if it did.
        """
        ...


@attrs.frozen(kw_only=True)
class Failures:
    """Words the failures of one provider, with its secrets left out.

    Attributes:
        server: Where the provider is.
        timeout_s: The time limit of one call.
        provider: Knows the provider's words, and what to advise.
        secrets: What no error may repeat, even where the provider does.
    """

    server: str
    timeout_s: float
    provider: Provider
    secrets: Collection[str] = attrs.field(default=(), repr=False)

    def with_provider(self, provider: Provider) -> Failures:
        """These failures, for a call of which another provider object knows more."""
        return attrs.evolve(self, provider=provider)

    def refused(self, status: int, body: bytes, *, retry_after_s: float | None = None) -> NeuronError:
        """The provider answered with an HTTP status that is not a success."""
        answer = _object_in(body)
        told = None if answer is None else self.provider.failure_in(answer, status)
        failure = told or failure_of_status(status)
        said = self._quote(body.decode(errors="replace") if answer is None else _words_in(answer))
        message = f"{self.server} answered {_status_line(status)}"
        if said:
            message += f": {said}"
        if retry_after_s is not None and failure.recoverable:
            message += f"; it asks to wait {retry_after_s:g} s"
        return self._advised(failure, message, answer)

    def redirected(self, status: int, location: str) -> NeuronError:
        """The provider sent us elsewhere, where no key must follow."""
        where = self._quote(location) or "nowhere"
        return failure_of_status(status).error(
            f"{self.server} answered {_status_line(status)} to {where}, which is not followed; "
            "if that is the right server, set endpoint to it"
        )

    def reported(self, answer: Mapping[str, Any]) -> NeuronError:
        """The provider answered with a success, and put an error into the body or into the stream."""
        failure = self.provider.failure_in(answer, None) or PROVIDER_ERROR
        said = self._quote(_words_in(answer)) or "no reason given"
        return self._advised(failure, f"{self.server} reported an error: {said}", answer)

    def unreachable(self, reason: str) -> NeuronError:
        """No connection could be made."""
        return self._advised(PROVIDER_UNREACHABLE, f"no connection to {self.server}: {self._quote(reason)}")

    def lost(self, reason: str) -> NeuronError:
        """The connection broke before the answer was complete."""
        return PROVIDER_UNREACHABLE.error(f"no complete answer from {self.server}: {self._quote(reason)}")

    def cut(self) -> NeuronError:
        """The stream ended as a whole one does, but before the answer did."""
        return PROVIDER_UNREACHABLE.error(f"{self.server} ended its stream before the answer was complete")

    def timed_out(self) -> NeuronError:
        """The time limit of the call passed."""
        message = f"{self.server} did not answer completely within {self.timeout_s:g} s"
        return self._advised(PROVIDER_TIMEOUT, message)

    def malformed(self, reason: object, body: bytes | str = "") -> NeuronError:
        """The answer was not understood."""
        message = f"{self.server} sent an answer that is not understood, {self._quote(str(reason))}"
        if said := self._quote(body if isinstance(body, str) else body.decode(errors="replace")):
            message += f": {said}"
        return self._advised(PROVIDER_MALFORMED, message)

    def too_large(self, limit: int) -> NeuronError:
        """The answer is larger than what is read of one, in bytes."""
        return PROVIDER_MALFORMED.error(f"{self.server} sent more than the {limit >> 20} MiB that are read")

    def _quote(self, text: str) -> str:
        return provider_text(text, secrets=self.secrets)

    def _advised(
        self, failure: Failure, message: str, answer: Mapping[str, Any] | None = None
    ) -> NeuronError:
        advice = self.provider.advice(failure, answer)
        return failure.error(f"{message}; {advice}" if advice else message)


def _object_in(body: bytes) -> dict[str, Any] | None:
    try:
        return parse_object(body)
    except ValueError:
        return None


def _words_in(answer: Mapping[str, Any]) -> str:
    words = answer.get("error") or answer.get("message") or answer.get("detail") or answer
    if isinstance(words, dict):
        words = words.get("message") or words
    return str(words)


def _status_line(status: int) -> str:
    return f"{status} {HTTPStatus(status).phrase}" if status in set(HTTPStatus) else str(status)
