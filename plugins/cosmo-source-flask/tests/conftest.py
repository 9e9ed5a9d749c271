from __future__ import annotations

import asyncio
import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from cosmo_source_flask import AsgiNeuron, WsgiNeuron, asgi, wsgi

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

    AnyNeuron = WsgiNeuron | AsgiNeuron


def wsgi_mirror(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer with the request."""
    headers = {name[5:].lower(): value for name, value in environ.items() if name.startswith("HTTP_")}
    seen = {
        "method": environ["REQUEST_METHOD"],
        "path": environ["PATH_INFO"].encode("latin-1").decode(),
        "query": environ["QUERY_STRING"],
        "type": environ.get("CONTENT_TYPE"),
        "headers": headers,
        "body": base64.b64encode(environ["wsgi.input"].read()).decode(),
    }
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(seen).encode()]


async def asgi_mirror(scope: dict[str, Any], receive: Callable[[], Any], send: Callable[..., Any]) -> None:
    """Answer with the request, in the format of `wsgi_mirror`."""
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    headers = {name.decode().replace("-", "_"): value.decode() for name, value in scope["headers"]}
    seen = {
        "method": scope["method"],
        "path": scope["path"],
        "query": scope["query_string"].decode(),
        "type": headers.pop("content_type", None),
        "headers": {name: value for name, value in headers.items() if name != "content_length"},
        "body": base64.b64encode(body).decode(),
    }
    start = {
        "type": "http.response.start",
        "status": 200,
        "headers": [(b"content-type", b"application/json")],
    }
    await send(start)
    await send({"type": "http.response.body", "body": json.dumps(seen).encode()})


@pytest.fixture
async def make_wsgi() -> AsyncIterator[Callable[..., WsgiNeuron]]:
    """Make Neurons of a WSGI app, and close them after the test."""
    made: list[WsgiNeuron] = []

    def make(app: Any, **options: Any) -> WsgiNeuron:
        made.append(wsgi(app=app, **options))
        return made[-1]

    yield make
    for neuron in made:
        await neuron.aclose()


@pytest.fixture
async def make_asgi() -> AsyncIterator[Callable[..., AsgiNeuron]]:
    """Make Neurons of an ASGI app, and close them after the test."""
    made: list[AsgiNeuron] = []

    def make(app: Any, **options: Any) -> AsgiNeuron:
        made.append(asgi(app=app, **options))
        return made[-1]

    yield make
    for neuron in made:
        await neuron.aclose()


@pytest.fixture(params=["wsgi", "asgi"])
def make_mirror(
    request: pytest.FixtureRequest,
    make_wsgi: Callable[..., WsgiNeuron],
    make_asgi: Callable[..., AsgiNeuron],
) -> Callable[..., AnyNeuron]:
    """Make Neurons of a WSGI and of an ASGI app that answers with the request."""

    def make(**options: Any) -> AnyNeuron:
        if request.param == "wsgi":
            return make_wsgi(wsgi_mirror, **options)
        return make_asgi(asgi_mirror, **options)

    return make


@pytest.fixture
def ask() -> Callable[..., Coroutine[Any, Any, dict[str, Any]]]:
    """Call a Neuron and return its output, within a time limit."""

    async def ask(neuron: AnyNeuron, input: dict[str, Any] | None = None) -> dict[str, Any]:
        async with asyncio.timeout(20):
            return await neuron({} if input is None else input, [])

    return ask
