"""Connections: sharing, closing, reopening, and event loops that have ended."""

from __future__ import annotations

import asyncio
import gc
from contextlib import aclosing
from threading import Thread
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from cosmo_core.errors import NeuronError
from cosmo_source_huggingface import HuggingFaceNeuron, StreamingHuggingFaceNeuron, huggingface
from cosmo_testing import ChatServer, Fault

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

    Ask = Callable[..., Coroutine[Any, Any, dict[str, Any]]]
    Make = Callable[..., HuggingFaceNeuron | StreamingHuggingFaceNeuron]

IN_FLIGHT = 32


class EndlessStream(httpx.AsyncByteStream):
    closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            yield b'data: {"choices": [{"delta": {"content": "more"}}]}\n\n'

    async def aclose(self) -> None:
        self.closed = True


@pytest.fixture
def served_elsewhere() -> Iterator[str]:
    """The URL of a server in another thread with its own event loop."""
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever)
    thread.start()
    server = ChatServer()
    asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result(5)
    try:
        yield server.url
    finally:
        asyncio.run_coroutine_threadsafe(server.aclose(), loop).result(5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()


async def test_calls_in_a_row_share_a_connection(
    make: Make, ask: Ask, server: ChatServer, mode: dict[str, bool]
) -> None:
    neuron = make(**mode)
    for _ in range(3):
        await ask(neuron)
    assert (server.received, server.connections) == (3, 1)


async def test_concurrent_calls_share_only_the_connection_pool(ask: Ask, mode: dict[str, bool]) -> None:
    release = asyncio.Event()
    async with ChatServer(reply=str.upper) as server:
        neuron = huggingface(endpoint=server.url, **mode)
        server.script(*[Fault.hold(release)] * IN_FLIGHT)
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            calls = [
                group.create_task(ask(neuron, {"prompt": f"call {n}", "temperature": n}))
                for n in range(IN_FLIGHT)
            ]
            await server.wait_received(IN_FLIGHT)
            release.set()
        assert [call.result()["response"] for call in calls] == [f"CALL {n}" for n in range(IN_FLIGHT)]
        assert server.connections == IN_FLIGHT
        await ask(neuron)
        assert server.connections == IN_FLIGHT
        await neuron.aclose()


async def test_a_closed_neuron_works_again(
    make: Make, ask: Ask, server: ChatServer, mode: dict[str, bool]
) -> None:
    neuron = make(**mode)
    await ask(neuron)
    await neuron.aclose()
    await neuron.aclose()
    await ask(neuron)
    assert server.connections == 2


async def test_a_neuron_that_was_never_called_can_be_closed() -> None:
    await huggingface(endpoint="http://localhost").aclose()


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # the connection of the ended loop
def test_a_neuron_works_after_its_first_event_loop_has_ended(
    ask: Ask, mode: dict[str, bool], served_elsewhere: str
) -> None:
    neuron = huggingface(endpoint=served_elsewhere, **mode)

    async def call_and_close() -> str:
        response: str = (await ask(neuron))["response"]
        await neuron.aclose()
        return response

    asyncio.run(ask(neuron))
    assert asyncio.run(call_and_close()).startswith("Hello!")
    gc.collect()


def test_a_neuron_works_in_two_event_loops_alternately(
    ask: Ask, mode: dict[str, bool], served_elsewhere: str
) -> None:
    neuron = huggingface(endpoint=served_elsewhere, **mode)
    with asyncio.Runner() as one, asyncio.Runner() as other:
        for runner in (one, other, one, other):
            assert runner.run(ask(neuron))["response"].startswith("Hello!")
        for runner in (one, other):
            runner.run(neuron.aclose())


async def test_an_injected_client_is_used_and_left_open(make: Make, ask: Ask, server: ChatServer) -> None:
    async with httpx.AsyncClient(headers={"x-mine": "yes"}) as client:
        neuron = make(client=client)
        await ask(neuron)
        await neuron.aclose()
        assert not client.is_closed
        await ask(neuron)
    assert [request.headers["x-mine"] for request in server.requests] == ["yes", "yes"]
    assert server.connections == 1


async def test_a_closed_injected_client_raises_an_error_that_names_it(make: Make, ask: Ask) -> None:
    async with httpx.AsyncClient() as client:
        neuron = make(client=client)
    with pytest.raises(NeuronError, match="client= is closed"):
        await ask(neuron)


async def test_the_time_limit_of_the_call_replaces_that_of_an_injected_client(
    make: Make, ask: Ask, server: ChatServer
) -> None:
    release = asyncio.Event()
    server.script(Fault.hold(release))
    async with httpx.AsyncClient(timeout=1e-9) as client, asyncio.TaskGroup() as group:
        call = group.create_task(ask(make(client=client, timeout=10)))
        await server.wait_received(1)
        release.set()
    assert call.result()["response"].startswith("Hello!")


async def test_cookies_are_not_kept_between_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    # The Neuron uses its own client; only the transport of the client is replaced.
    seen = []

    async def set_cookie(self: object, request: httpx.Request) -> httpx.Response:
        seen.append(request.headers.get("cookie"))
        answer = {"choices": [{"message": {"content": "Hi"}}]}
        return httpx.Response(200, json=answer, headers={"set-cookie": "session=1; Path=/"})

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", set_cookie)
    neuron = huggingface(endpoint="http://models.example")
    assert isinstance(neuron, HuggingFaceNeuron)
    for _ in range(2):
        await neuron({"prompt": "Hi"}, [])
    await neuron.aclose()
    assert seen == [None, None]


async def test_no_proxy_is_used_for_a_server_on_this_machine(
    make: Make, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ChatServer() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        await ask(make())
        assert proxy.connections == 0


@pytest.mark.parametrize("after", [None, 0, 1])
async def test_cancelling_a_call_closes_its_connection(
    make: Make, ask: Ask, server: ChatServer, mode: dict[str, bool], after: int | None
) -> None:
    server.script(Fault.stall(after))
    call = asyncio.ensure_future(ask(make(**mode)))
    async with asyncio.timeout(5):
        await server.wait_received(1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await server.disconnected.wait()


async def test_a_cancelled_call_leaves_the_neuron_usable(
    make: Make, ask: Ask, server: ChatServer, mode: dict[str, bool]
) -> None:
    server.script(Fault.stall())
    neuron = make(**mode)
    call = asyncio.ensure_future(ask(neuron))
    await server.wait_received(1)
    call.cancel()
    await asyncio.wait([call])
    assert (await ask(neuron))["response"].startswith("Hello!")


async def test_leaving_a_stream_closes_its_connection(make: Make, server: ChatServer) -> None:
    server.script(Fault.stall(2))
    neuron = make(stream=True)
    assert isinstance(neuron, StreamingHuggingFaceNeuron)
    async with asyncio.timeout(5):
        async with aclosing(neuron({"prompt": "Say hello."}, [])) as stream:
            assert await anext(stream) == "Hello!"
        await server.disconnected.wait()


async def test_leaving_a_stream_closes_its_response_at_once() -> None:
    response = EndlessStream()
    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=response))
    async with httpx.AsyncClient(transport=transport) as client:
        neuron = huggingface(endpoint="http://localhost", stream=True, client=client)
        assert isinstance(neuron, StreamingHuggingFaceNeuron)
        async with aclosing(neuron({"prompt": "Hi"}, [])) as stream:
            assert await anext(stream) == "more"
        assert response.closed


async def test_an_answer_is_complete_although_its_stream_stays_open(
    make: Make, ask: Ask, server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cosmo_llm.http.transport.LINGER_S", 0.01)
    server.script(Fault.stall(14))  # the role, 10 words, the finish reason, the usage, [DONE]
    assert (await ask(make(stream=True)))["response"].startswith("Hello!")
    async with asyncio.timeout(5):
        await server.disconnected.wait()
