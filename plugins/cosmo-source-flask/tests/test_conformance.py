"""The conformance kit for sources, with a WSGI and an ASGI app."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from cosmo_llm import Failure
from cosmo_source_flask import asgi, wsgi
from cosmo_testing import SourceConformance

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

    from cosmo_core.contracts.neuron import NeuronFn
    from cosmo_testing import Scenario

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

STATUS = "an app's HTTP status is an output, whatever it is"


class TestWsgi(SourceConformance):
    llm = False
    content_type = "application/json"
    secrets: ClassVar[Mapping[str, Any]] = {"base_headers": {"Authorization": "Bearer of-the-test-42"}}
    invalid_inputs = (
        {"path": "no-slash"},
        {"method": 7},
        {"path": "/", "prompt": "mixed"},
        {"headers": {"X": "a\r\nb"}},
        {"json": 1, "data": "two bodies"},
    )
    failures: ClassVar[Mapping[str, Failure]] = {
        "malformed": Failure("APP_ERROR", recoverable=False),
        "raises": Failure("APP_ERROR", recoverable=False),
        "stalled": Failure("TIMEOUT", recoverable=True),
    }
    not_applicable: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(
            ("fault:unauthorized", "fault:rate-limited", "fault:server-error", "fault:unavailable"), STATUS
        ),
        "fault:cut": "an in-process app has no connection that could be cut",
    }

    def neuron(self, **options: Any) -> NeuronFn:
        return wsgi(**options)

    def input(self, n: int) -> dict[str, Any]:
        return {"path": f"/{n}", "json": {"question": n}, "cookies": {"n": str(n)}}

    @asynccontextmanager
    async def provider(self, scenario: Scenario) -> AsyncIterator[dict[str, Any]]:
        def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
            assert environ["HTTP_AUTHORIZATION"] == "Bearer of-the-test-42"
            scenario.reached_in_thread()
            if scenario.fault == "raises":
                raise LookupError(scenario.words)
            if scenario.fault != "malformed":
                start_response("200 OK", [("Content-Type", self.content_type), ("Set-Cookie", "seen=1")])
            yield environ["wsgi.input"].read() or b"{}"
            if scenario.fault == "stalled":
                scenario.stall_in_thread()

        yield {"app": app, "timeout": 0.3 if scenario.fault == "stalled" else 30}


class TestAsgi(TestWsgi):
    def neuron(self, **options: Any) -> NeuronFn:
        return asgi(**options)

    @asynccontextmanager
    async def provider(self, scenario: Scenario) -> AsyncIterator[dict[str, Any]]:
        async def answer(scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
            assert (b"authorization", b"Bearer of-the-test-42") in scope["headers"]
            await scenario.reached()
            if scenario.fault == "raises":
                raise LookupError(scenario.words)
            if scenario.fault != "malformed":
                headers = [(b"content-type", self.content_type.encode()), (b"set-cookie", b"seen=1")]
                await send({"type": "http.response.start", "status": 200, "headers": headers})
            body = (await receive())["body"] or b"{}"
            await send({"type": "http.response.body", "body": body, "more_body": True})
            if scenario.fault == "stalled":
                await scenario.stall()
            await send({"type": "http.response.body"})

        async def app(scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                await answer(scope, receive, send)
                return
            for step in ("startup", "shutdown"):
                assert await receive() == {"type": f"lifespan.{step}"}
                await send({"type": f"lifespan.{step}.complete"})

        yield {"app": app, "timeout": 0.3 if scenario.fault == "stalled" else 30}


class TestWsgiStreaming(TestWsgi):
    content_type = "text/plain"
    options: ClassVar[Mapping[str, Any]] = {"stream": True}
    streams = True


class TestAsgiStreaming(TestAsgi):
    content_type = "text/plain"
    options: ClassVar[Mapping[str, Any]] = {"stream": True}
    streams = True
