"""The size limit of a body, as the app sends it and decompressed."""

from __future__ import annotations

import gzip
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import fastapi.responses
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from cosmo_core.errors import NeuronError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
    from wsgiref.types import StartResponse, WSGIEnvironment

    from cosmo_source_flask import AsgiNeuron, WsgiNeuron

    Ask = Callable[..., Coroutine[Any, Any, dict[str, Any]]]
    MakeWsgi = Callable[..., WsgiNeuron]
    MakeAsgi = Callable[..., AsgiNeuron]

LIMIT = 1000
GZIP = [("Content-Type", "text/plain"), ("Content-Encoding", "gzip")]


def serve(body: Iterable[bytes], headers: list[tuple[str, str]]) -> Callable[..., Iterable[bytes]]:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", headers)
        return body

    return app


def assert_too_large(error: NeuronError) -> None:
    assert (error.code, error.recoverable) == ("RESPONSE_TOO_LARGE", False)
    assert "more than 1000 bytes; raise max_response_bytes" in str(error)
    assert error.__context__ is None


async def test_body_of_exactly_the_limit_is_an_output(make_wsgi: MakeWsgi, ask: Ask) -> None:
    output = await ask(make_wsgi(serve([b"x" * 500] * 2, []), max_response_bytes=LIMIT))
    assert len(output["response"]) == LIMIT


async def test_endless_body_is_an_error(
    make_wsgi: MakeWsgi, ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    def numbers() -> Iterator[bytes]:
        while True:
            yield b"x" * 400

    with pytest.raises(NeuronError) as caught:
        await ask(make_wsgi(serve(numbers(), []), max_response_bytes=LIMIT))
    assert_too_large(caught.value)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_endless_stream_of_an_asgi_app_is_an_error(make_asgi: MakeAsgi, ask: Ask) -> None:
    async def numbers() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 400

    async def view(request: object) -> fastapi.responses.StreamingResponse:
        return fastapi.responses.StreamingResponse(numbers())

    neuron = make_asgi(Starlette(routes=[Route("/", view)]), max_response_bytes=LIMIT)
    with pytest.raises(NeuronError) as caught:
        await ask(neuron)
    assert_too_large(caught.value)


async def test_limit_holds_for_write_if_the_app_catches_the_exception(make_wsgi: MakeWsgi, ask: Ask) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        write = start_response("200 OK", [])
        for _ in range(3):
            with suppress(Exception):
                write(b"x" * 400)
        return []

    with pytest.raises(NeuronError) as caught:
        await ask(make_wsgi(app, max_response_bytes=LIMIT))
    assert_too_large(caught.value)


async def test_compressed_body_is_decompressed(make_wsgi: MakeWsgi, ask: Ask) -> None:
    output = await ask(make_wsgi(serve([gzip.compress(b"hello")], GZIP)))
    assert (output["response"], output["meta"]["encoding"]) == ("hello", "utf-8")


async def test_limit_holds_after_decompression(make_wsgi: MakeWsgi, ask: Ask) -> None:
    bomb = gzip.compress(b"\0" * 100_000)
    assert len(bomb) < LIMIT
    with pytest.raises(NeuronError) as caught:
        await ask(make_wsgi(serve([bomb], GZIP), max_response_bytes=LIMIT))
    assert_too_large(caught.value)


async def test_body_that_cannot_be_decompressed_is_an_app_error(make_wsgi: MakeWsgi, ask: Ask) -> None:
    with pytest.raises(
        NeuronError, match="violated WSGI: it sent a body that cannot be decompressed"
    ) as caught:
        await ask(make_wsgi(serve([b"plain"], GZIP)))
    assert caught.value.code == "APP_ERROR"


async def test_requests_ask_for_an_uncompressed_body_by_default(make_mirror: Any, ask: Ask) -> None:
    assert (await ask(make_mirror()))["json"]["headers"]["accept_encoding"] == "identity"
    wanted = {"headers": {"Accept-Encoding": "gzip"}}
    assert (await ask(make_mirror(), wanted))["json"]["headers"]["accept_encoding"] == "gzip"
