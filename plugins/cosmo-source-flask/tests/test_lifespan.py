"""The lifespan of an ASGI app: once per event loop, from the first call to aclose."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import fastapi
import pytest

from cosmo_core.errors import NeuronError
from cosmo_source_flask import asgi, asgi_transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine

    from cosmo_source_flask import AsgiNeuron

    Ask = Callable[..., Coroutine[Any, Any, dict[str, Any]]]
    Make = Callable[..., AsgiNeuron]
    Send = Callable[[dict[str, Any]], Awaitable[None]]
    Receive = Callable[[], Awaitable[dict[str, Any]]]


class RecordingApp:
    """An app that records its startup, its requests and its shutdown."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.begun = asyncio.Event()
        self.may_start = asyncio.Event()
        self.may_start.set()
        self.fails_to: str | None = None
        self.app = fastapi.FastAPI(lifespan=self.lifespan)
        self.app.add_api_route("/", self.view)

    @asynccontextmanager
    async def lifespan(self, app: fastapi.FastAPI) -> AsyncIterator[dict[str, str]]:
        self.events.append("starts")
        self.begun.set()
        await self.may_start.wait()
        if self.fails_to == "start":
            raise ConnectionError("the app's own words")
        try:
            yield {"pen": "blue"}
        finally:
            self.events.append("stops")
        if self.fails_to == "stop":
            raise ConnectionError("the app's own words")

    async def view(self, request: fastapi.Request) -> dict[str, Any]:
        pen = request.state.pen
        request.state.pen = "red"
        self.events.append("answers")
        return {"pen": pen}


@pytest.fixture
def recorder() -> RecordingApp:
    return RecordingApp()


async def test_startup_runs_once_before_the_first_answer_and_shutdown_in_aclose(
    make_asgi: Make, ask: Ask, recorder: RecordingApp
) -> None:
    neuron = make_asgi(recorder.app)
    assert recorder.events == []
    for _ in range(2):
        assert (await ask(neuron))["json"] == {"pen": "blue"}
    await neuron.aclose()
    await neuron.aclose()
    assert recorder.events == ["starts", "answers", "answers", "stops"]
    await ask(neuron)
    assert recorder.events[4:] == ["starts", "answers"]


async def test_concurrent_first_calls_share_one_startup(
    make_asgi: Make, ask: Ask, recorder: RecordingApp
) -> None:
    recorder.may_start.clear()
    neuron = make_asgi(recorder.app)
    async with asyncio.TaskGroup() as group:
        for _ in range(10):
            group.create_task(ask(neuron))
        await recorder.begun.wait()
        recorder.may_start.set()
    assert recorder.events == ["starts", *["answers"] * 10]


async def test_cancelled_call_does_not_cancel_the_startup(
    make_asgi: Make, ask: Ask, recorder: RecordingApp
) -> None:
    recorder.may_start.clear()
    neuron = make_asgi(recorder.app)
    first = asyncio.ensure_future(ask(neuron))
    await recorder.begun.wait()
    first.cancel()
    await asyncio.wait([first])
    recorder.may_start.set()
    await ask(neuron)
    assert recorder.events == ["starts", "answers"]


async def test_slow_startup_times_out_the_call(make_asgi: Make, ask: Ask, recorder: RecordingApp) -> None:
    recorder.may_start.clear()
    neuron = make_asgi(recorder.app, timeout=0.2)
    with pytest.raises(NeuronError) as caught:
        await ask(neuron)
    assert caught.value.code == "TIMEOUT"
    await neuron.aclose()
    assert recorder.events == ["starts"]


async def test_aclose_during_the_startup_ends_the_waiting_calls(make_asgi: Make, ask: Ask) -> None:
    begun, scopes = asyncio.Event(), []

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        scopes.append(scope["type"])
        begun.set()
        await asyncio.Event().wait()

    neuron = make_asgi(app)
    call = asyncio.ensure_future(ask(neuron))
    await begun.wait()
    await neuron.aclose()
    async with asyncio.timeout(5):
        with pytest.raises(NeuronError) as caught:
            await call
    assert caught.value.code == "APP_STARTUP_FAILED"
    assert scopes == ["lifespan"]


async def test_failed_startup_is_an_error_and_the_next_call_tries_again(
    make_asgi: Make, ask: Ask, recorder: RecordingApp, caplog: pytest.LogCaptureFixture
) -> None:
    recorder.fails_to = "start"
    neuron = make_asgi(recorder.app)
    with pytest.raises(NeuronError, match=r"the startup of fastapi\S+ failed") as caught:
        await ask(neuron)
    assert (caught.value.code, caught.value.recoverable) == ("APP_STARTUP_FAILED", True)
    assert "own words" not in str(caught.value)
    assert "the app's own words" in caplog.text
    recorder.fails_to = None
    assert (await ask(neuron))["ok"]
    assert recorder.events == ["starts", "starts", "answers"]


async def test_failed_shutdown_is_logged(
    make_asgi: Make, ask: Ask, recorder: RecordingApp, caplog: pytest.LogCaptureFixture
) -> None:
    recorder.fails_to = "stop"
    neuron = make_asgi(recorder.app)
    await ask(neuron)
    await neuron.aclose()
    assert "FastAPI failed to shut down" in caplog.text
    assert "the app's own words" in caplog.text


async def test_lifespan_false_runs_neither_startup_nor_shutdown(make_asgi: Make, ask: Ask) -> None:
    scopes = []

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        scopes.append(scope["type"])
        await send({"type": "http.response.start", "status": 204})
        await send({"type": "http.response.body"})

    neuron = make_asgi(app, lifespan=False)
    await ask(neuron)
    await neuron.aclose()
    assert scopes == ["http"]


@pytest.mark.parametrize("how", ["raises", "returns", "exits"])
async def test_app_without_lifespan_is_used_without_it(
    make_asgi: Make, ask: Ask, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="cosmo_source_flask")

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if how == "returns":
                return
            raise NotImplementedError if how == "raises" else SystemExit(3)
        await send({"type": "http.response.start", "status": 204})
        await send({"type": "http.response.body"})

    assert (await ask(make_asgi(app)))["status"] == 204
    assert ("is used without lifespan: it raised" in caplog.text) == (how != "returns")


async def test_app_that_does_not_shut_down_is_cancelled(
    make_asgi: Make, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asgi_transport, "SHUTDOWN_GRACE_S", 0.01)
    cancelled = asyncio.Event()

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await send({"type": "lifespan.startup.complete"})
            try:
                while True:
                    await receive()
            finally:
                cancelled.set()
        await send({"type": "http.response.start", "status": 204})
        await send({"type": "http.response.body"})

    neuron = make_asgi(app)
    await ask(neuron)
    await neuron.aclose()
    assert cancelled.is_set()


async def test_exception_during_the_lifespan_is_logged_and_the_app_still_answers(
    make_asgi: Make, ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await send({"type": "lifespan.startup.complete"})
            raise LookupError("on its own")
        await send({"type": "http.response.start", "status": 204})
        await send({"type": "http.response.body"})

    neuron = make_asgi(app)
    for _ in range(2):
        assert (await ask(neuron))["status"] == 204
    await neuron.aclose()
    assert len([record for record in caplog.records if "LookupError: on its own" in record.message]) == 1


def test_next_call_releases_a_closed_loop(ask: Ask, recorder: RecordingApp) -> None:
    neuron = asgi(app=recorder.app)

    async def call() -> weakref.ref[asyncio.AbstractEventLoop]:
        await ask(neuron)
        return weakref.ref(asyncio.get_running_loop())

    first = asyncio.run(call())
    asyncio.run(call())
    recorder.begun, recorder.may_start = asyncio.Event(), asyncio.Event()
    gc.collect()
    assert first() is None


def test_each_loop_has_its_own_lifespan(ask: Ask, recorder: RecordingApp) -> None:
    neuron = asgi(app=recorder.app)

    async def call_and_close() -> None:
        await ask(neuron)
        await neuron.aclose()

    asyncio.run(call_and_close())
    asyncio.run(ask(neuron))  # its end cancels the lifespan
    asyncio.run(call_and_close())
    assert recorder.events == ["starts", "answers", "stops"] * 3
