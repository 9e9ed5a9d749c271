"""The lifespan of an ASGI app: once per loop, from the first call to the closing."""

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
from cosmo_source_flask import asgi, lifespan

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine

    from cosmo_source_flask import AsgiNeuron

    Ask = Callable[..., Coroutine[Any, Any, dict[str, Any]]]
    Make = Callable[..., AsgiNeuron]
    Send = Callable[[dict[str, Any]], Awaitable[None]]
    Receive = Callable[[], Awaitable[dict[str, Any]]]


class Diary:
    """An app whose lifespan writes down what happens to it."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.begun = asyncio.Event()
        self.may_start = asyncio.Event()
        self.may_start.set()
        self.fails_to: str | None = None
        self.app = fastapi.FastAPI(lifespan=self.lifespan)
        self.app.add_api_route("/", self.view)

    @asynccontextmanager
    async def lifespan(self, app: fastapi.FastAPI) -> AsyncIterator[dict[str, str]]:
        self.lines.append("starts")
        self.begun.set()
        await self.may_start.wait()
        if self.fails_to == "start":
            raise ConnectionError("the diary's own words")
        try:
            yield {"pen": "blue"}
        finally:
            self.lines.append("stops")
        if self.fails_to == "stop":
            raise ConnectionError("the diary's own words")

    async def view(self, request: fastapi.Request) -> dict[str, Any]:
        pen = request.state.pen
        request.state.pen = "red"
        self.lines.append("answers")
        return {"pen": pen}


@pytest.fixture
def diary() -> Diary:
    return Diary()


async def test_the_startup_runs_once_before_the_first_answer_and_the_shutdown_at_the_closing(
    make_asgi: Make, ask: Ask, diary: Diary
) -> None:
    neuron = make_asgi(diary.app)
    assert diary.lines == []
    for _ in range(2):
        assert (await ask(neuron))["json"] == {"pen": "blue"}
    await neuron.aclose()
    await neuron.aclose()
    assert diary.lines == ["starts", "answers", "answers", "stops"]
    await ask(neuron)
    assert diary.lines[4:] == ["starts", "answers"]


async def test_first_calls_at_once_share_one_startup(make_asgi: Make, ask: Ask, diary: Diary) -> None:
    diary.may_start.clear()
    neuron = make_asgi(diary.app)
    async with asyncio.TaskGroup() as group:
        for _ in range(10):
            group.create_task(ask(neuron))
        await diary.begun.wait()
        diary.may_start.set()
    assert diary.lines == ["starts", *["answers"] * 10]


async def test_a_call_that_is_cancelled_during_the_startup_does_not_cancel_the_startup(
    make_asgi: Make, ask: Ask, diary: Diary
) -> None:
    diary.may_start.clear()
    neuron = make_asgi(diary.app)
    first = asyncio.ensure_future(ask(neuron))
    await diary.begun.wait()
    first.cancel()
    await asyncio.wait([first])
    diary.may_start.set()
    await ask(neuron)
    assert diary.lines == ["starts", "answers"]


async def test_a_startup_that_takes_too_long_times_the_call_out(
    make_asgi: Make, ask: Ask, diary: Diary
) -> None:
    diary.may_start.clear()
    neuron = make_asgi(diary.app, timeout=0.01)
    with pytest.raises(NeuronError) as caught:
        await ask(neuron)
    assert caught.value.code == "TIMEOUT"
    await neuron.aclose()
    assert diary.lines == ["starts"]


async def test_closing_during_the_startup_ends_the_calls_that_wait_for_it(make_asgi: Make, ask: Ask) -> None:
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


async def test_a_startup_that_fails_is_said_and_tried_again(
    make_asgi: Make, ask: Ask, diary: Diary, caplog: pytest.LogCaptureFixture
) -> None:
    diary.fails_to = "start"
    neuron = make_asgi(diary.app)
    with pytest.raises(NeuronError, match=r"the startup of fastapi\S+ failed") as caught:
        await ask(neuron)
    assert (caught.value.code, caught.value.recoverable) == ("APP_STARTUP_FAILED", True)
    assert "own words" not in str(caught.value)
    assert "the diary's own words" in caplog.text
    diary.fails_to = None
    assert (await ask(neuron))["ok"]
    assert diary.lines == ["starts", "starts", "answers"]


async def test_a_shutdown_that_fails_is_logged(
    make_asgi: Make, ask: Ask, diary: Diary, caplog: pytest.LogCaptureFixture
) -> None:
    diary.fails_to = "stop"
    neuron = make_asgi(diary.app)
    await ask(neuron)
    await neuron.aclose()
    assert "FastAPI failed to shut down" in caplog.text
    assert "the diary's own words" in caplog.text


async def test_without_lifespan_nothing_is_started_and_nothing_stopped(make_asgi: Make, ask: Ask) -> None:
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
async def test_an_app_that_knows_no_lifespan_is_used_without(
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


async def test_an_app_that_does_not_stop_is_cancelled(
    make_asgi: Make, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifespan, "SHUTDOWN_GRACE_S", 0.01)
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


async def test_an_app_whose_lifespan_breaks_off_answers_on_and_its_error_is_logged(
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


def test_a_loop_that_ended_is_forgotten_by_the_next_call(ask: Ask, diary: Diary) -> None:
    neuron = asgi(app=diary.app)

    async def call() -> weakref.ref[asyncio.AbstractEventLoop]:
        await ask(neuron)
        return weakref.ref(asyncio.get_running_loop())

    first = asyncio.run(call())
    asyncio.run(call())
    diary.begun, diary.may_start = asyncio.Event(), asyncio.Event()
    gc.collect()
    assert first() is None


def test_each_loop_has_a_lifespan_of_its_own(ask: Ask, diary: Diary) -> None:
    neuron = asgi(app=diary.app)

    async def call_and_close() -> None:
        await ask(neuron)
        await neuron.aclose()

    asyncio.run(call_and_close())
    asyncio.run(ask(neuron))  # its end cancels the lifespan
    asyncio.run(call_and_close())
    assert diary.lines == ["starts", "answers", "stops"] * 3
