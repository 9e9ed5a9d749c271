"""The codes and messages of failures, and what a source adds to them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from cosmo_core.errors import NeuronError
from cosmo_llm import (
    PROVIDER_REFUSED,
    RATE_LIMITED,
    Failure,
    Failures,
    Provider,
    Secrets,
    UnexpectedShapeError,
    failure_of_status,
    read_answer,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

SECRET = "hunter/2\"'\\"


class Toy(Provider):
    """Gives its arguments as advice, so that a test can check them."""

    def failure_in(self, answer: Mapping[str, Any], status: int | None) -> Failure | None:
        return PROVIDER_REFUSED if answer.get("quota") else None

    def advice(self, failure: Failure, answer: Mapping[str, Any] | None) -> str | None:
        return f"[{failure.code} {sorted(answer or ())}]"


@pytest.fixture
def failures() -> Failures:
    return Failures(server="http://toy", timeout_s=2.5, provider=Toy(), secrets=Secrets([SECRET]))


@pytest.mark.parametrize(
    ("status", "body", "code", "message"),
    [
        (
            429,
            b'{"error": {"message": "slow down"}}',
            "RATE_LIMITED",
            "429 Too Many Requests: slow down; [RATE_LIMITED ['error']]",
        ),
        (
            500,
            b'{"error": "oh"}',
            "PROVIDER_ERROR",
            "500 Internal Server Error: oh; [PROVIDER_ERROR ['error']]",
        ),
        (404, b"<html>", "MODEL_NOT_FOUND", "404 Not Found: <html>; [MODEL_NOT_FOUND []]"),
        (499, b"", "PROVIDER_REFUSED", "499; [PROVIDER_REFUSED []]"),
        (400, b'{"detail": "no", "quota": 1}', "PROVIDER_REFUSED", "400 Bad Request: no; [PROVIDER_REFUSED "),
        (422, b'{"message": "no"}', "INPUT_INVALID", "422 Unprocessable "),
    ],
)
def test_refused_names_the_server_the_status_and_the_advice(
    failures: Failures, status: int, body: bytes, code: str, message: str
) -> None:
    error = failures.refused(status, body)
    assert error.code == code
    assert str(error).startswith(f"http://toy answered {message}")


def test_refused_names_the_requested_wait_only_if_recoverable(failures: Failures) -> None:
    assert "it asks to wait 7 s; [" in str(failures.refused(503, b"", retry_after_s=7.0))
    assert "wait" not in str(failures.refused(400, b"", retry_after_s=7.0))


def test_every_other_failure_has_its_code_and_message(failures: Failures) -> None:
    said = {
        str(error): error.code
        for error in (
            failures.redirected(307, "http://other"),
            failures.reported({"error": "it broke"}),
            failures.unreachable("refused"),
            failures.lost("reset"),
            failures.cut(),
            failures.timed_out(),
            failures.malformed("no choices", b"<html>"),
            failures.too_large(3 << 20),
        )
    }
    assert said == {
        "http://toy answered 307 Temporary Redirect to http://other, which is not followed; "
        "if that is the right server, set endpoint to it": "PROVIDER_REFUSED",
        "http://toy reported an error: it broke; [PROVIDER_ERROR ['error']]": "PROVIDER_ERROR",
        "no connection to http://toy: refused; [PROVIDER_UNREACHABLE []]": "PROVIDER_UNREACHABLE",
        "no complete answer from http://toy: reset": "PROVIDER_UNREACHABLE",
        "http://toy ended its stream before the answer was complete": "PROVIDER_UNREACHABLE",
        "http://toy did not answer completely within 2.5 s; [PROVIDER_TIMEOUT []]": "PROVIDER_TIMEOUT",
        "http://toy sent a malformed answer (no choices): <html>; [PROVIDER_MALFORMED []]": (
            "PROVIDER_MALFORMED"
        ),
        "http://toy sent more than the limit of 3 MiB": "PROVIDER_MALFORMED",
    }


@pytest.mark.parametrize(
    "body",
    [
        f"the key {SECRET} is wrong".encode(),
        json.dumps({"error": f"the key {SECRET} is wrong"}).encode(),
        json.dumps({"error": {"details": [SECRET]}}).encode(),
        json.dumps({"error": {"details": [SECRET]}}).replace("/", r"\/").encode(),
        b"{" + json.dumps(SECRET).replace("/", r"\/").encode(),
    ],
)
def test_a_secret_is_redacted_however_it_is_written(failures: Failures, body: bytes) -> None:
    for error in (failures.refused(401, body), failures.malformed("no", body)):
        assert "[redacted]" in str(error)
        assert "hunter" not in str(error)


def test_no_repr_shows_a_secret(failures: Failures) -> None:
    assert "hunter" not in repr(failures)


def test_for_call_changes_the_advice_and_the_time_limit(failures: Failures) -> None:
    class Silent(Toy):
        def advice(self, failure: Failure, answer: Mapping[str, Any] | None) -> str | None:
            return None

    silent = failures.for_call(Silent(), 7)
    assert str(silent.refused(500, SECRET.encode())) == (
        "http://toy answered 500 Internal Server Error: [redacted]"
    )
    assert "PROVIDER_ERROR" in str(failures.refused(500, b""))


def test_read_answer_returns_the_converted_object(failures: Failures) -> None:
    assert read_answer(b'{"a": 1, "error": null}', failures, lambda answer: answer["a"] + 1) == 2


def refuse(answer: dict[str, Any]) -> None:
    raise UnexpectedShapeError("no choices")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"[]", "(not a JSON object): []"),
        ("{", "malformed"),
        (b"{}", "(no choices): {}"),
        (b'{"error": "it broke"}', "reported an error: it broke"),
    ],
)
def test_read_answer_raises_an_error_without_a_cause_or_context(
    failures: Failures, data: bytes | str, says: str
) -> None:
    with pytest.raises(NeuronError) as caught:
        read_answer(data, failures, refuse)
    assert says in str(caught.value)
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


def test_an_error_has_the_code_of_its_failure(failures: Failures) -> None:
    assert (failures.refused(429, b"").code, failures.refused(429, b"").recoverable) == RATE_LIMITED


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        (400, ("INPUT_INVALID", False)),
        (401, ("AUTH_FAILED", False)),
        (402, ("PROVIDER_REFUSED", False)),
        (403, ("AUTH_FAILED", False)),
        (404, ("MODEL_NOT_FOUND", False)),
        (408, ("PROVIDER_TIMEOUT", True)),
        (413, ("INPUT_INVALID", False)),
        (422, ("INPUT_INVALID", False)),
        (425, ("PROVIDER_ERROR", True)),
        (429, ("RATE_LIMITED", True)),
        (500, ("PROVIDER_ERROR", True)),
        (599, ("PROVIDER_ERROR", True)),
        (302, ("PROVIDER_REFUSED", False)),
    ],
)
def test_every_status_maps_to_a_failure(status: int, failure: tuple[str, bool]) -> None:
    assert failure_of_status(status) == failure


def test_a_failure_makes_the_error_that_ends_a_task() -> None:
    error = RATE_LIMITED.error("too fast")
    assert (str(error), error.code, error.recoverable) == ("too fast", "RATE_LIMITED", True)
