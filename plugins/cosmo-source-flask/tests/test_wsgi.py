"""Raw WSGI: the protocol, and errors for an app that violates it."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from wsgiref.validate import validator

import pytest

from cosmo_core.errors import NeuronError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Iterator
    from wsgiref.types import StartResponse, WSGIEnvironment

    from cosmo_source_flask import WsgiNeuron

    Ask = Callable[..., Coroutine[Any, Any, dict[str, Any]]]
    Make = Callable[..., WsgiNeuron]

TEXT = [("Content-Type", "text/plain")]


def plain(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    start_response("200 OK", [*TEXT, ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])
    return [environ["REQUEST_METHOD"].encode(), b" ", body]


INPUTS: list[dict[str, Any]] = [
    {},
    {"method": "HEAD"},
    {"path": "/a b/ü?x=%20", "query": {"y": ["1", None]}},
    {"data": "text", "headers": {"X-One": "1", "Host": "shop.example:8080", "Cookie": "a=1"}},
    {"json": {"a": None}, "method": "PUT"},
    {"data": {"a": "1"}},
    {"files": {"a": {"filename": "b", "content_base64": "YQ=="}}},
]


@pytest.mark.parametrize("input", INPUTS, ids=str)
async def test_call_of_an_app_is_valid_wsgi(make_wsgi: Make, ask: Ask, input: dict[str, Any]) -> None:
    # The validator of the standard library raises on a violation by the app or by the server.
    output = await ask(make_wsgi(validator(plain)), input)
    assert output["status"] == 200


async def test_repeated_headers_are_joined_and_cookies_are_in_meta(make_wsgi: Make, ask: Ask) -> None:
    output = await ask(make_wsgi(plain))
    assert output["headers"]["set-cookie"] == "a=1, b=2"
    assert output["meta"]["cookies"] == {"a": "1", "b": "2"}


async def test_answer_to_head_has_no_body(make_wsgi: Make, ask: Ask) -> None:
    output = await ask(make_wsgi(plain), {"method": "head"})
    assert (output["response"], output["headers"]["content-type"]) == ("", "text/plain")


async def test_written_chunks_precede_returned_chunks(make_wsgi: Make, ask: Ask) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        write = start_response("201 Created", TEXT)
        write(b"written, ")
        return [b"", b"returned"]

    output = await ask(make_wsgi(app))
    assert (output["status"], output["response"]) == (201, "written, returned")


class Body:
    """A body that counts how often it was closed."""

    def __init__(self, *chunks: bytes | Exception) -> None:
        self.chunks = chunks
        self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self.chunks:
            if isinstance(chunk, Exception):
                raise chunk
            yield chunk

    def close(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("chunks", [[b"a"], [ValueError()], [b"a", ValueError()], [b"a" * 11], []])
async def test_body_is_closed_at_any_end(make_wsgi: Make, ask: Ask, chunks: list[bytes | Exception]) -> None:
    body = Body(*chunks)

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", TEXT)
        return body

    with suppress(NeuronError):
        await ask(make_wsgi(app, max_response_bytes=10))
    assert body.closed == 1


async def test_app_may_be_a_generator_or_a_class(make_wsgi: Make, ask: Ask) -> None:
    def generator(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", TEXT)
        yield b"yielded"

    class Application:
        def __init__(self, environ: WSGIEnvironment, start_response: StartResponse) -> None:
            start_response("200 OK", TEXT)

        def __iter__(self) -> Iterator[bytes]:
            return iter([b"iterated"])

    assert (await ask(make_wsgi(generator)))["response"] == "yielded"
    assert (await ask(make_wsgi(Application)))["response"] == "iterated"


def restart(start_response: StartResponse, body: bytes) -> Iterator[bytes]:
    start_response("200 OK", TEXT)
    yield body
    try:
        [].pop()
    except IndexError:
        start_response("500 Oops", TEXT, sys.exc_info())
    yield b"sorry"


async def test_app_can_replace_its_status_before_its_body(make_wsgi: Make, ask: Ask) -> None:
    output = await ask(make_wsgi(lambda environ, start_response: restart(start_response, b"")))
    assert (output["status"], output["response"]) == (500, "sorry")


async def test_status_replaced_after_the_body_began_is_an_app_error(make_wsgi: Make, ask: Ask) -> None:
    with pytest.raises(NeuronError, match="raised IndexError"):
        await ask(make_wsgi(lambda environ, start_response: restart(start_response, b"all is well")))


@pytest.mark.parametrize(
    "error", [ValueError("V"), StopIteration(), SystemExit(3), KeyboardInterrupt(), NeuronError("inner")]
)
async def test_exception_in_an_app_ends_its_call_only(
    make_wsgi: Make, ask: Ask, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    failing = True

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if failing:
            raise error
        start_response("200 OK", TEXT)
        return [b"well again"]

    neuron = make_wsgi(app)
    with pytest.raises(NeuronError, match=f" raised {type(error).__name__};") as caught:
        await ask(neuron)
    assert (caught.value.code, caught.value.recoverable) == ("APP_ERROR", False)
    assert caught.value.__context__ is None
    assert [record.levelno for record in caplog.records if "Traceback" in record.message] == [logging.ERROR]
    failing = False
    assert (await ask(neuron))["response"] == "well again"


def call_twice(start_response: StartResponse) -> list[bytes]:
    start_response("200 OK", TEXT)
    start_response("200 OK", TEXT)
    return []


def answer(start_response: Any, status: Any, headers: Any, body: Any) -> Any:
    start_response(status, headers)
    return body


VIOLATIONS: dict[str, Callable[[Any], Any]] = {
    "called start_response twice": call_twice,
    "did not call start_response before its body": lambda _: [b"body"],
    "did not call start_response": lambda _: [],
    "gave a body of str, not of bytes": lambda start: answer(start, "200 OK", TEXT, ["text"]),
    "called start_response with an invalid status or headers": lambda start: answer(start, "OK", TEXT, []),
    "called start_response with an invalid status": lambda start: answer(start, 200, TEXT, []),
    "called start_response with an invalid": lambda start: answer(start, "200 OK", [("X", 1)], []),
    "called start_response with": lambda start: answer(start, "200 OK", [("X", "€")], []),
    "called start_response": lambda start: answer(start, "20 OK", TEXT, []),
}


@pytest.mark.parametrize(("reason", "app"), VIOLATIONS.items(), ids=list(VIOLATIONS))
async def test_violation_of_wsgi_is_an_app_error(
    make_wsgi: Make, ask: Ask, reason: str, app: Callable[[Any], Any]
) -> None:
    with pytest.raises(NeuronError, match=f"violated WSGI: it {reason}") as caught:
        await ask(make_wsgi(lambda environ, start_response: app(start_response)))
    assert (caught.value.code, caught.value.recoverable) == ("APP_ERROR", False)


async def test_app_that_returns_none_is_an_app_error(make_wsgi: Make, ask: Ask) -> None:
    with pytest.raises(NeuronError, match="raised TypeError"):
        await ask(make_wsgi(lambda environ, start_response: None))
