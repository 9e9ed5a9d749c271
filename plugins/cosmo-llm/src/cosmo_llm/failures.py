"""The failures of a provider: their codes, and the errors that end a TASK with them."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple, TypeVar

import attrs

from cosmo_core.errors import NeuronError
from cosmo_llm.redaction import Secrets
from cosmo_llm.wire import parse_object

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")


class Failure(NamedTuple):
    """How a provider failed.

    Attributes:
        code: The code of the ERROR.
        recoverable: Whether the same TASK may succeed if it is sent again.
    """

    code: str
    recoverable: bool

    def error(self, message: str) -> NeuronError:
        """The exception that ends a TASK with this failure."""
        return NeuronError(message, code=self.code, recoverable=self.recoverable)


INPUT_INVALID: Final = Failure("INPUT_INVALID", recoverable=False)
"""The Neuron, or the provider behind it, does not accept the input."""
AUTH_FAILED: Final = Failure("AUTH_FAILED", recoverable=False)
"""The provider does not accept the key, or the key does not permit the request."""
MODEL_NOT_FOUND: Final = Failure("MODEL_NOT_FOUND", recoverable=False)
"""The provider does not have the model, or the path."""
RATE_LIMITED: Final = Failure("RATE_LIMITED", recoverable=True)
"""The provider asks for fewer requests."""
PROVIDER_ERROR: Final = Failure("PROVIDER_ERROR", recoverable=True)
"""The provider failed internally."""
PROVIDER_REFUSED: Final = Failure("PROVIDER_REFUSED", recoverable=False)
"""The provider refused for another reason, such as an exhausted quota; the message quotes the reason."""
PROVIDER_UNREACHABLE: Final = Failure("PROVIDER_UNREACHABLE", recoverable=True)
"""No connection could be made, or it broke before the answer was complete."""
PROVIDER_TIMEOUT: Final = Failure("PROVIDER_TIMEOUT", recoverable=True)
"""The answer was not complete within the source's time limit."""
PROVIDER_MALFORMED: Final = Failure("PROVIDER_MALFORMED", recoverable=False)
"""The answer is not in the provider's own format, or exceeds the source's size limit."""

_MAX_SEARCHED: Final = 2_000
_UNKNOWN_MODEL: Final = re.compile(
    r"\b(?:invalid|unknown|unsupported|no such|unrecogni[sz]ed|not a valid|no) model\b"
    r"|\bmodel_not_found\b"
    r"|\bmodel\b.{0,200}?\b(?:not found|not exist|cannot be found|not loaded)\b"
    r"|\bmodel(?: \S{1,200})? (?:is )?not (?:available|supported)\b"
    r"|\bpinned to\b.{0,200}?\brequested\b",
    re.IGNORECASE | re.DOTALL,
)
_BY_STATUS: Final = {
    400: INPUT_INVALID,
    401: AUTH_FAILED,
    403: AUTH_FAILED,
    404: MODEL_NOT_FOUND,
    408: PROVIDER_TIMEOUT,
    413: INPUT_INVALID,
    422: INPUT_INVALID,
    425: PROVIDER_ERROR,
    429: RATE_LIMITED,
}


def failure_of_status(status: int) -> Failure:
    """Map the HTTP status of an error response to a failure."""
    return _BY_STATUS.get(status, PROVIDER_ERROR if status >= 500 else PROVIDER_REFUSED)


def names_unknown_model(answer: Mapping[str, Any]) -> bool:
    """Whether the text of an error says that there is no such model; some servers answer that with 400."""
    return _UNKNOWN_MODEL.search(_text_in(answer)[:_MAX_SEARCHED]) is not None


def status_line(status: int) -> str:
    """An HTTP status with its standard phrase, such as ``404 Not Found``."""
    return f"{status} {HTTPStatus(status).phrase}" if status in set(HTTPStatus) else str(status)


class Provider:
    """What a source knows about the failures of its provider. A source overrides what it knows better."""

    ADVICE: ClassVar[Mapping[Failure, str]] = {}
    """What the user can do about each failure, as the end of a sentence."""

    def failure_in(self, answer: Mapping[str, Any], status: int | None) -> Failure | None:
        """The failure that an error of the provider stands for, or ``None`` to go by the status.

        Args:
            answer: The object in which the provider reports the error.
            status: The HTTP status; ``None`` for an error inside a successful response.
        """
        return None

    def advice(self, failure: Failure, answer: Mapping[str, Any] | None) -> str | None:
        """What the user can do about a failure, as the end of a sentence.

        Args:
            failure: What happened.
            answer: The object in which the provider reported it, if there is one.
        """
        return self.ADVICE.get(failure)

    def for_model(self, model: str | None) -> Provider:
        """The provider for a call of this model; advice may name the model."""
        return self


@attrs.frozen(kw_only=True)
class Failures:
    """Makes the errors for the failures of one provider, with its secrets redacted.

    Attributes:
        server: What messages call the provider, usually its URL.
        timeout_s: The time limit of one call, in seconds.
        provider: What the source knows about the provider.
        secrets: What no error may show.
        credentials: What no answer may show either. These are fewer: redacting the value of any header would
            garble answers.
    """

    server: str
    timeout_s: float
    provider: Provider = attrs.field(factory=Provider)
    secrets: Secrets = attrs.field(factory=Secrets)
    credentials: Secrets = attrs.field(factory=Secrets)

    def for_call(self, provider: Provider, timeout_s: float) -> Failures:
        """These failures for one call: a provider object that knows more of it, and its time limit."""
        return attrs.evolve(self, provider=provider, timeout_s=timeout_s)

    def error(
        self,
        failure: Failure,
        message: str,
        *,
        quote: str = "",
        note: str = "",
        answer: Mapping[str, Any] | None = None,
    ) -> NeuronError:
        """The error for a failure: a message, the provider's own text, a note, and advice.

        Args:
            failure: What happened.
            message: A sentence that says what happened. It must not hold a secret.
            quote: The provider's own text, which the message quotes with its secrets redacted.
            note: An addition to the message.
            answer: The object in which the provider reported the failure, if there is one.
        """
        if quoted := self.secrets.quote(quote):
            message += f": {quoted}"
        advice = self.provider.advice(failure, answer)
        return failure.error("; ".join(filter(None, (message, note, advice))))

    def refused(self, status: int, body: bytes, *, retry_after_s: float | None = None) -> NeuronError:
        """The error for an HTTP status that is not a success.

        Args:
            status: The HTTP status.
            body: The body of the response.
            retry_after_s: How long the provider asks to wait, in seconds.
        """
        answer = object_in(body)
        reported = None if answer is None else self.provider.failure_in(answer, status)
        failure = reported or failure_of_status(status)
        asks_to_wait = retry_after_s is not None and failure.recoverable
        return self.error(
            failure,
            f"{self.server} answered {status_line(status)}",
            quote=body.decode(errors="replace") if answer is None else _text_in(answer),
            note=f"it asks to wait {retry_after_s:g} s" if asks_to_wait else "",
            answer=answer,
        )

    def redirected(self, status: int, location: str) -> NeuronError:
        """The error for a redirect: it is not followed, because a key must not go to another server."""
        where = self.secrets.quote(location) or "nowhere"
        return failure_of_status(status).error(
            f"{self.server} answered {status_line(status)} to {where}, which is not followed; "
            "if that is the right server, set endpoint to it"
        )

    def reported(self, answer: Mapping[str, Any]) -> NeuronError:
        """The error for a successful response with an error in its body or in its stream."""
        failure = self.provider.failure_in(answer, None) or PROVIDER_ERROR
        reason = self.secrets.quote(_text_in(answer)) or "no reason given"
        return self.error(failure, f"{self.server} reported an error", quote=reason, answer=answer)

    def unreachable(self, reason: str) -> NeuronError:
        """The error for a connection that could not be made."""
        return self.error(PROVIDER_UNREACHABLE, f"no connection to {self.server}", quote=reason)

    def lost(self, reason: str) -> NeuronError:
        """The error for a connection that broke before the answer was complete."""
        quoted = self.secrets.quote(reason)
        return PROVIDER_UNREACHABLE.error(f"no complete answer from {self.server}: {quoted}")

    def cut(self) -> NeuronError:
        """The error for a stream that ended in good order, but before the answer was complete."""
        return PROVIDER_UNREACHABLE.error(f"{self.server} ended its stream before the answer was complete")

    def timed_out(self) -> NeuronError:
        """The error for a call that exceeded its time limit."""
        message = f"{self.server} did not answer completely within {self.timeout_s:g} s"
        return self.error(PROVIDER_TIMEOUT, message)

    def idle(self, idle_s: float) -> NeuronError:
        """The error for a stream that sent nothing for its idle time, in seconds."""
        return self.error(PROVIDER_TIMEOUT, f"{self.server} sent nothing for {idle_s:g} s")

    def malformed(self, reason: object, body: bytes | str = "") -> NeuronError:
        """The error for an answer that is not in the provider's format."""
        message = f"{self.server} sent a malformed answer ({self.secrets.quote(str(reason))})"
        quote = body if isinstance(body, str) else body.decode(errors="replace")
        return self.error(PROVIDER_MALFORMED, message, quote=quote)

    def too_large(self, limit: int) -> NeuronError:
        """The error for an answer that exceeds the size limit, which is given in bytes."""
        return PROVIDER_MALFORMED.error(f"{self.server} sent more than the limit of {limit >> 20} MiB")


class UnexpectedShapeError(Exception):
    """An answer is a JSON object, but not one of the provider's API; the message says what is wrong."""


def read_answer(
    data: bytes | str, failures: Failures, read: Callable[[dict[str, Any]], T], *, halves: bool = False
) -> T:
    """Parse the JSON object that a provider sent, and read it.

    Args:
        data: The whole body, or one event of a stream.
        failures: Makes the error for an answer that cannot be read.
        read: Converts the object; it can raise `UnexpectedShapeError`.
        halves: Whether strings may hold halves of surrogate pairs, which `read` joins.

    Raises:
        NeuronError: The answer is malformed, or reports an ``error``.
    """
    try:
        answer = parse_object(data, halves=halves)
        if not _is_error(answer):
            return read(answer)
    except RecursionError:
        failure = failures.malformed("nested too deep")
    except (ValueError, UnexpectedShapeError) as error:
        failure = failures.malformed(error, data)
    else:
        failure = failures.reported(answer)
    # Raised outside the handler, so that it does not refer to an exception that holds the whole answer.
    raise failure


def _is_error(answer: Mapping[str, Any]) -> bool:
    """Whether an object that came with a successful status reports an error, in any of the usual forms."""
    if answer.get("error") or "error" in (answer.get("object"), answer.get("type")):
        return True
    if answer.get("choices") is not None:
        return False
    has_code = any(answer.get(name) for name in ("code", "status", "status_code"))
    return bool(
        answer.get("errors") or answer.get("detail") or (has_code and _is_text(answer.get("message")))
    )


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def object_in(body: bytes | str) -> dict[str, Any] | None:
    """The JSON object that a provider sent; ``None`` for anything else."""
    try:
        return parse_object(body)
    except ValueError:
        return None


def _text_in(answer: Mapping[str, Any]) -> str:
    names = ("error", "message", "detail", "errors")
    text = next((value for value in map(answer.get, names) if value), answer)
    if isinstance(text, list) and len(text) == 1:
        text = text[0]
    if isinstance(text, dict):
        text = text.get("message") or text
    return str(text)
