"""Concurrency and cancellation of ASGI requests, which are tasks of the caller's event loop."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import fastapi
import pytest

from cosmo_core.errors import NeuronError
from cosmo_source_flask import asgi_transport

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from cosmo_source_flask import AsgiNeuron

    Ask = Callable[..., Coroutine[Any, Any, dict[str, Any]]]
    Make = Callable[..., AsgiNeuron]
    Send = Callable[[dict[str, Any]], Awaitable[None]]
    Receive = Callable[[], Awaitable[dict[str, Any]]]

START: dict[str, Any] = {"type": "http.response.start", "status": 200, "headers": []}


class Gate:
    """An app whose requests wait until ``open`` is set."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.arrived = asyncio.Semaphore(0)
        self.cancelled = asyncio.Event()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await send(START)
        self.arrived.release()
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        await send({"type": "http.response.body", "body": scope["raw_path"]})


@pytest.fixture
async def gate() -> Gate:
    return Gate()


async def test_calls_run_concurrently_and_share_nothing(make_asgi: Make, ask: Ask, gate: Gate) -> None:
    neuron = make_asgi(gate, lifespan=False)
    calls = [asyncio.ensure_future(ask(neuron, {"path": f"/{number}"})) for number in range(100)]
    for _ in calls:
        await gate.arrived.acquire()
    gate.open.set()
    assert [(await call)["response"] for call in calls] == [f"/{number}" for number in range(100)]


async def test_cancelled_call_cancels_the_app(make_asgi: Make, ask: Ask, gate: Gate) -> None:
    neuron = make_asgi(gate, lifespan=False)
    call = asyncio.ensure_future(ask(neuron))
    await gate.arrived.acquire()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    async with asyncio.timeout(5):
        await gate.cancelled.wait()
    gate.open.set()
    assert (await ask(neuron))["ok"]


async def test_timeout_cancels_the_app(make_asgi: Make, ask: Ask, gate: Gate) -> None:
    with pytest.raises(NeuronError, match="did not answer completely") as caught:
        await ask(make_asgi(gate, lifespan=False, timeout=0.2))
    assert (caught.value.code, caught.value.recoverable) == ("TIMEOUT", True)
    async with asyncio.timeout(5):
        await gate.cancelled.wait()


async def test_view_in_a_thread_blocks_neither_the_loop_nor_a_cancellation(make_asgi: Make, ask: Ask) -> None:
    app, release, began = fastapi.FastAPI(), threading.Event(), asyncio.Event()
    loop, ended = asyncio.get_running_loop(), asyncio.Event()

    @app.get("/")
    def view() -> None:
        loop.call_soon_threadsafe(began.set)
        release.wait(20)
        loop.call_soon_threadsafe(ended.set)

    call = asyncio.ensure_future(ask(make_asgi(app)))
    async with asyncio.timeout(5):
        await began.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert not ended.is_set()
        release.set()
        await ended.wait()


async def test_only_aclose_waits_for_an_app_that_handles_a_cancellation_slowly(
    make_asgi: Make, ask: Ask
) -> None:
    began, cleaned_up, may_clean_up = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        try:
            began.set()
            await asyncio.Event().wait()
        finally:
            await may_clean_up.wait()
            cleaned_up.set()

    neuron = make_asgi(app, lifespan=False)
    call = asyncio.ensure_future(ask(neuron))
    async with asyncio.timeout(5):
        await began.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        may_clean_up.set()
        assert not cleaned_up.is_set()
        await neuron.aclose()
    assert cleaned_up.is_set()


async def test_aclose_stops_waiting_for_a_running_request_after_its_grace_period(
    make_asgi: Make, ask: Ask, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asgi_transport, "CLOSE_GRACE_S", 0.01)
    neuron = make_asgi(gate, lifespan=False)
    call = asyncio.ensure_future(ask(neuron))
    await gate.arrived.acquire()
    await neuron.aclose()
    assert not call.done()
    gate.open.set()
    assert (await call)["ok"]


async def test_endless_stream_does_not_block_the_loop_and_can_be_cancelled(make_asgi: Make, ask: Ask) -> None:
    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await send(START)
        while True:
            await send({"type": "http.response.body", "body": b"", "more_body": True})

    call = asyncio.ensure_future(ask(make_asgi(app, lifespan=False)))
    async with asyncio.timeout(5):
        for _ in range(10):
            await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call


async def test_body_limit_holds_if_the_app_catches_the_exception(make_asgi: Make, ask: Ask) -> None:
    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await send(START)
        for _ in range(3):
            with suppress(Exception):
                await send({"type": "http.response.body", "body": b"12345", "more_body": True})

    with pytest.raises(NeuronError) as caught:
        await ask(make_asgi(app, lifespan=False, max_response_bytes=9))
    assert caught.value.code == "RESPONSE_TOO_LARGE"
