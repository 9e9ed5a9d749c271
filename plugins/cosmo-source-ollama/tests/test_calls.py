"""Retries, concurrent calls, cancellation, and calls after a close."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from cosmo_core.errors import NeuronError
from cosmo_llm.http import transport
from cosmo_llm.http.options import DEFAULT_RETRIES
from cosmo_source_ollama import StreamingOllamaNeuron, ollama
from cosmo_testing import ChatServer, Fault

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from cosmo_source_ollama import OllamaNeuron

    Ask = Callable[..., Coroutine[Any, Any, dict[str, Any]]]
    Make = Callable[..., OllamaNeuron | StreamingOllamaNeuron]

IN_FLIGHT = 32
RETRIED = (408, 425, 429, 500, 502, 503, 504, *range(520, 525), 529)


class EndlessAnswer(httpx.AsyncByteStream):
    closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            yield b'{"message": {"content": "more"}, "done": false}\n'

    async def aclose(self) -> None:
        self.closed = True


@pytest.fixture
def no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "FIRST_DELAY_S", 0)


@pytest.mark.usefixtures("no_delay")
@pytest.mark.parametrize(
    "fault",
    [
        *map(Fault.status, RETRIED),
        Fault.status(503, retry_after=0),
        Fault.cut(),
    ],
    ids=[*map(str, RETRIED), "says-when", "lost"],
)
async def test_transient_failures_are_retried_with_the_same_request(
    make: Make, ask: Ask, server: ChatServer, stream: bool, fault: Fault
) -> None:
    server.script(fault)
    assert (await ask(make(stream=stream)))["response"].startswith("Hello!")
    first, second = server.requests
    assert (first.body, first.headers) == (second.body, second.headers)


@pytest.mark.usefixtures("no_delay")
async def test_the_attempts_are_bounded(make: Make, ask: Ask, server: ChatServer, stream: bool) -> None:
    server.script(*[Fault.status(503, message="server busy")] * 10)
    with pytest.raises(NeuronError, match="server busy"):
        await ask(make(stream=stream))
    assert server.received == 1 + DEFAULT_RETRIES


@pytest.mark.parametrize(
    "fault",
    [
        Fault.status(501),
        Fault.status(400),
        Fault.malformed(),
        Fault.cut(0),
        Fault.status(429, retry_after=61),
    ],
    ids=["broken", "wrong", "malformed", "cut", "too-long-a-wait"],
)
async def test_other_failures_are_not_retried(
    make: Make, ask: Ask, server: ChatServer, stream: bool, fault: Fault
) -> None:
    server.script(fault)
    with pytest.raises(NeuronError):
        await ask(make(stream=stream, timeout=60))
    assert server.received == 1


async def test_a_call_is_not_retried_after_its_first_text(make: Make, server: ChatServer) -> None:
    server.script(Fault.cut(1))
    neuron = make(stream=True)
    assert isinstance(neuron, StreamingOllamaNeuron)
    async with aclosing(neuron({"prompt": "Say hello."}, [])) as items:
        assert await anext(items) == "Hello!"
        with pytest.raises(NeuronError):
            await anext(items)
    assert server.received == 1


async def test_calls_in_a_row_share_a_connection(
    make: Make, ask: Ask, server: ChatServer, stream: bool
) -> None:
    neuron = make(stream=stream)
    for _ in range(3):
        await ask(neuron)
    assert (server.received, server.connections) == (3, 1)


async def test_concurrent_calls_share_only_the_connection_pool(ask: Ask, stream: bool) -> None:
    release = asyncio.Event()
    async with ChatServer(reply=str.upper) as server:
        neuron = ollama(model="llama3", endpoint=server.url, stream=stream, options={"seed": 0})
        server.script(*[Fault.hold(release)] * IN_FLIGHT)
        inputs = [{"prompt": f"call {n}", "options": {"seed": n}} for n in range(IN_FLIGHT)]
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            calls = [group.create_task(ask(neuron, input)) for input in inputs]
            await server.wait_received(IN_FLIGHT)
            release.set()
        assert [call.result()["response"] for call in calls] == [f"CALL {n}" for n in range(IN_FLIGHT)]
        bodies = [request.json for request in server.requests]
        assert all(body["messages"][0]["content"] == f"call {body['options']['seed']}" for body in bodies)
        await neuron.aclose()


async def test_an_injected_client_is_used_and_left_open(make: Make, ask: Ask, server: ChatServer) -> None:
    async with httpx.AsyncClient(headers={"x-mine": "yes"}, timeout=1e-9) as client:
        neuron = make(client=client)
        await ask(neuron)
        await neuron.aclose()
        assert not client.is_closed
        await ask(neuron)
    assert [request.headers["x-mine"] for request in server.requests] == ["yes", "yes"]


@pytest.mark.parametrize("after", [None, 0, 1])
async def test_a_cancelled_call_closes_its_connection_and_the_neuron_stays_usable(
    make: Make, ask: Ask, server: ChatServer, stream: bool, after: int | None
) -> None:
    server.script(Fault.stall(after))
    neuron = make(stream=stream)
    call = asyncio.ensure_future(ask(neuron))
    async with asyncio.timeout(5):
        await server.wait_received(1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await server.disconnected.wait()
    assert (await ask(neuron))["response"].startswith("Hello!")


async def test_a_call_can_be_cancelled_while_it_waits_for_a_retry(
    make: Make, ask: Ask, server: ChatServer, caplog: pytest.LogCaptureFixture
) -> None:
    waits = asyncio.Event()

    def notice(record: logging.LogRecord) -> bool:
        if record.name == "cosmo_llm.http.transport":
            waits.set()
        return True

    caplog.handler.addFilter(notice)
    caplog.set_level(logging.INFO, "cosmo_llm.http.transport")
    server.script(Fault.status(503, retry_after=30))
    call = asyncio.ensure_future(ask(make(timeout=60)))
    async with asyncio.timeout(5):
        await waits.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert server.received == 1


async def test_leaving_a_stream_closes_its_response() -> None:
    answer = EndlessAnswer()
    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=answer))
    async with httpx.AsyncClient(transport=transport) as client:
        neuron = ollama(model="llama3", stream=True, client=client)
        assert isinstance(neuron, StreamingOllamaNeuron)
        async with aclosing(neuron({"prompt": "Hi"}, [])) as items:
            assert await anext(items) == "more"
        assert answer.closed


async def test_an_answer_is_complete_although_its_stream_stays_open(
    make: Make, ask: Ask, server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cosmo_llm.http.transport.LINGER_S", 0.01)
    server.script(Fault.stall(11))  # 10 words and the last part
    assert (await ask(make(stream=True)))["response"].startswith("Hello!")
    async with asyncio.timeout(5):
        await server.disconnected.wait()
