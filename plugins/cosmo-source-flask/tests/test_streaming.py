"""Bodies that are yielded as the app sends them, and the app's exceptions after its answer."""

from __future__ import annotations

import asyncio
import base64
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import fastapi
import pytest
from fastapi.responses import JSONResponse, StreamingResponse

from cosmo_core.errors import NeuronError
from cosmo_source_flask import neuron as neuron_module

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

Make = Callable[..., Any]
Ask = Callable[..., Awaitable[dict[str, Any]]]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

EVENTS = "text/event-stream"


def chunked(chunks: Iterable[bytes], *headers: tuple[str, str]) -> Callable[..., Iterable[bytes]]:
    """A WSGI app that answers with these chunks."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", list(headers))
        return chunks

    return app


def events_app() -> fastapi.FastAPI:
    app = fastapi.FastAPI()

    async def endless() -> AsyncIterator[str]:
        number = 0
        try:
            while True:
                yield f"data: {number}\n\n"
                number += 1
                await asyncio.sleep(0.01)
        finally:
            app.state.ended.set()

    @app.get("/")
    async def root() -> StreamingResponse:
        app.state.ended = asyncio.Event()
        return StreamingResponse(endless(), media_type=EVENTS)

    @app.get("/moved")
    async def moved() -> fastapi.Response:
        return fastapi.Response("moved", status_code=302, headers={"location": "/few"})

    @app.get("/few")
    async def few() -> StreamingResponse:
        async def few() -> AsyncIterator[bytes]:
            for piece in (b"caf\xc3", b"\xa9", b"!"):
                yield piece

        return StreamingResponse(few(), media_type="text/plain")

    return app


async def test_endless_stream_is_read_until_the_caller_stops(make_asgi: Make) -> None:
    app = events_app()
    stream = make_asgi(app, stream=True, timeout=10)({}, [])
    async with asyncio.timeout(10):
        text = ""
        while "data: 3\n\n" not in text:
            text += await anext(stream)
        await stream.aclose()
        await app.state.ended.wait()


async def test_endless_stream_of_a_wsgi_app_is_read_until_the_caller_stops(make_wsgi: Make) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()

    def numbers() -> Iterator[bytes]:
        try:
            while True:
                yield b"data: x\n\n"
        finally:
            loop.call_soon_threadsafe(ended.set)

    app = chunked(numbers(), ("Content-Type", EVENTS))
    stream = make_wsgi(app, stream=True, max_response_bytes=1 << 30)({}, [])
    async with asyncio.timeout(20):
        assert (await anext(stream)).startswith("data: x\n\n")
        await stream.aclose()
        await ended.wait()


async def test_pieces_and_output_are_equal_after_a_redirect(make_asgi: Make) -> None:
    neuron = make_asgi(events_app(), stream=True)
    *pieces, output = [item async for item in neuron({"path": "/moved"}, [])]
    assert "".join(pieces) == output["response"] == "café!"
    assert output["meta"]["redirects"] == ["/moved"]


@pytest.mark.parametrize(
    ("chunks", "headers", "response"),
    [
        ([b"a", b"b"], (("Content-Type", "text/plain; charset=latin-1"),), "ab"),
        ([b"\xe9", b"!"], (("Content-Type", "text/plain; charset=latin-1"),), "é!"),
        ([b"a\xff", b"b"], (("Content-Type", "text/plain"),), "a\ufffdb"),
        ([b"\x89PNG\xff"], (("Content-Type", "image/png"),), "iVBOR/8="),
        ([b'{"a": ', b"1}"], (("Content-Type", "application/json"),), ""),
        ([gzip.compress(b"zip")], (("Content-Type", "text/plain"), ("Content-Encoding", "gzip")), "zip"),
        ([], (("Content-Type", "text/plain"),), ""),
        ([b"a", b"b"], (), "ab"),
        ([b"\x89PNG\xff"], (), "iVBOR/8="),
    ],
)
async def test_joined_pieces_are_the_response(
    make_wsgi: Make, chunks: list[bytes], headers: tuple[tuple[str, str], ...], response: str
) -> None:
    neuron = make_wsgi(chunked(chunks, *headers), stream=True)
    *pieces, output = [item async for item in neuron({}, [])]
    assert "".join(pieces) == output["response"] == response
    is_json = ("Content-Type", "application/json") in headers
    assert output["json"] == ({"a": 1} if is_json else None)


async def test_body_without_a_type_that_turns_out_to_be_binary_is_whole_in_the_output(
    make_wsgi: Make,
) -> None:
    chunks = [b"PK", b"\x03\xff", b"more"]
    *pieces, output = [item async for item in make_wsgi(chunked(chunks), stream=True)({}, [])]
    assert pieces == ["PK"]
    assert base64.b64decode(output["response"]) == b"".join(chunks)


@pytest.mark.parametrize(
    "type",
    [
        EVENTS,
        "Text/Event-Stream; charset=utf-8",
        "application/x-ndjson",
        "application/jsonl",
        "application/x-jsonlines",
        "application/json-lines",
        "application/json-seq",
        "application/geo+json-seq",
        "application/x-json-stream",
        None,
    ],
)
async def test_endless_stream_of_any_type_of_text_is_yielded(make_asgi: Make, type: str | None) -> None:
    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        headers = [] if type is None else [(b"content-type", type.encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b'{"n": 1}\n', "more_body": True})
        await asyncio.Event().wait()

    stream = make_asgi(app, stream=True, lifespan=False, timeout=20)({}, [])
    async with asyncio.timeout(10):
        assert await anext(stream) == '{"n": 1}\n'
        await stream.aclose()


async def test_each_piece_begins_the_time_limit_again(
    make_asgi: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = []
    extend = neuron_module._extend

    def noted(limit: asyncio.Timeout, seconds: float) -> None:
        before = limit.when()
        extend(limit, seconds)
        begun.append((before, limit.when(), seconds))

    monkeypatch.setattr(neuron_module, "_extend", noted)
    neuron = make_asgi(events_app(), stream=True, timeout=30)
    *pieces, _ = [item async for item in neuron({"path": "/few"}, [])]
    assert "".join(pieces) == "café!"
    assert len(begun) == 3
    assert all(before and after and before <= after and seconds == 30 for before, after, seconds in begun)


async def test_stream_that_stops_times_out(make_asgi: Make) -> None:
    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/plain")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        await asyncio.Event().wait()

    stream = make_asgi(app, stream=True, lifespan=False, timeout=0.3)({}, [])
    assert await anext(stream) == "x"
    with pytest.raises(NeuronError, match="did not answer completely") as caught:
        await anext(stream)
    assert caught.value.code == "TIMEOUT"


async def test_body_of_bytes_is_sent_as_it_is(make_mirror: Make, ask: Ask) -> None:
    output = await ask(make_mirror(), {"content_base64": "AP/+"})
    assert (output["json"]["body"], output["json"]["type"]) == ("AP/+", "application/octet-stream")
    output = await ask(make_mirror(), {"content_base64": "AP\r\n/+\n"})
    assert output["json"]["body"] == "AP/+"
    typed = {"content_base64": "AP/+", "headers": {"Content-Type": "image/png"}, "method": "PUT"}
    output = await ask(make_mirror(), typed)
    assert (output["json"]["type"], output["json"]["method"]) == ("image/png", "PUT")


@pytest.mark.parametrize(
    ("input", "message"),
    [
        ({"content_base64": "?"}, "content_base64: the content in base64 is needed"),
        ({"content_base64": 7}, "content_base64: the content in base64 is needed"),
        ({"content_base64": "AA==", "json": 1}, "json and content_base64 are two bodies; json comes alone"),
        ({"content_base64": "AA==", "data": "x"}, "content_base64 and data are two bodies"),
    ],
)
async def test_invalid_body_of_bytes_is_refused(
    make_mirror: Make, ask: Ask, input: dict[str, Any], message: str
) -> None:
    with pytest.raises(NeuronError, match=message) as caught:
        await ask(make_mirror(), input)
    assert caught.value.code == "INPUT_INVALID"


async def test_answer_of_an_exception_handler_is_the_output(
    make_asgi: Make, ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    app = fastapi.FastAPI()

    @app.exception_handler(Exception)
    async def handle(request: fastapi.Request, error: Exception) -> JSONResponse:
        return JSONResponse({"sorry": str(error)}, status_code=500)

    @app.get("/")
    async def fail() -> None:
        raise LookupError("no such thing")

    output = await ask(make_asgi(app))
    assert (output["status"], output["json"]) == (500, {"sorry": "no such thing"})
    assert "raised after its answer" in caplog.text


class Panic(BaseException):
    pass


@pytest.mark.parametrize(
    "error",
    [Panic("P"), GeneratorExit(), BaseExceptionGroup("G", [Panic("P")]), StopAsyncIteration()],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("after", [False, True])
async def test_no_exception_of_an_asgi_app_spreads(
    make_asgi: Make, ask: Ask, error: BaseException, after: bool
) -> None:
    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            raise error
        if after:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"done"})
        raise error

    neuron = make_asgi(app)
    if after:
        assert (await ask(neuron))["response"] == "done"
    else:
        with pytest.raises(NeuronError, match=f"raised {type(error).__name__};") as caught:
            await ask(neuron)
        assert caught.value.code == "APP_ERROR"


async def test_interrupt_in_an_asgi_app_reaches_the_caller(make_asgi: Make, ask: Ask) -> None:
    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await make_asgi(app, lifespan=False)({}, [])
