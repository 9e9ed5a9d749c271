from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from cosmo_core.errors import NeuronError
from cosmo_llm.http import transport
from cosmo_llm.http.options import DEFAULT_RETRIES
from cosmo_source_huggingface import StreamingHuggingFaceNeuron, huggingface
from cosmo_testing import ChatServer, Fault, json_response

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from cosmo_source_huggingface import HuggingFaceNeuron

    Ask = Callable[..., Coroutine[Any, Any, dict[str, Any]]]
    Make = Callable[..., HuggingFaceNeuron | StreamingHuggingFaceNeuron]


@pytest.fixture
def no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "FIRST_DELAY_S", 0)


@pytest.mark.parametrize(
    "status", [408, 425, 429, 500, 502, 503, 504, 507, 520, 521, 522, 523, 524, 529, 530]
)
async def test_a_busy_provider_is_retried_after_the_requested_wait(
    make: Make, ask: Ask, server: ChatServer, mode: dict[str, bool], status: int
) -> None:
    server.script(Fault.status(status, retry_after=0), Fault.status(status, retry_after=0))
    assert (await ask(make(**mode)))["response"].startswith("Hello!")
    assert server.received == 3


async def test_a_retry_after_date_in_the_past_means_no_wait(make: Make, ask: Ask, server: ChatServer) -> None:
    server.script(Fault.status(429, retry_after="Wed, 21 Oct 2015 07:28:00 GMT"))
    await ask(make())
    assert server.received == 2


@pytest.mark.usefixtures("no_delay")
async def test_a_busy_provider_is_retried_without_retry_after(
    make: Make, ask: Ask, server: ChatServer, mode: dict[str, bool]
) -> None:
    server.script(Fault.status(503))
    await ask(make(**mode))
    assert server.received == 2


@pytest.mark.usefixtures("no_delay")
async def test_a_connection_lost_before_the_answer_is_retried(
    make: Make, ask: Ask, server: ChatServer, mode: dict[str, bool]
) -> None:
    server.script(Fault.cut())
    await ask(make(**mode))
    assert server.received == 2


async def test_a_retry_sends_the_same_request(make: Make, ask: Ask, server: ChatServer) -> None:
    server.script(Fault.status(429, retry_after=0))
    await ask(make(api_key="k"))
    first, second = server.requests
    assert (first.body, first.headers) == (second.body, second.headers)


async def test_the_attempts_are_bounded(
    make: Make, ask: Ask, server: ChatServer, mode: dict[str, bool]
) -> None:
    server.script(*[Fault.status(429, retry_after=0)] * 10)
    with pytest.raises(NeuronError) as caught:
        await ask(make(**mode))
    assert (caught.value.code, caught.value.recoverable) == ("RATE_LIMITED", True)
    assert server.received == 1 + DEFAULT_RETRIES


@pytest.mark.parametrize("wait", [61, 10**30])
async def test_a_wait_beyond_the_time_limit_is_not_begun(
    make: Make, ask: Ask, server: ChatServer, wait: int
) -> None:
    server.script(Fault.status(429, retry_after=wait))
    with pytest.raises(NeuronError, match=re.escape(f"asks to wait {wait:g} s")) as caught:
        await ask(make(timeout=60))
    assert caught.value.code == "RATE_LIMITED"
    assert server.received == 1


@pytest.mark.parametrize(
    "fault", [Fault.status(501), Fault.status(505), Fault.status(400), Fault.malformed(), Fault.cut(0)]
)
async def test_other_failures_are_not_retried(
    make: Make, ask: Ask, server: ChatServer, mode: dict[str, bool], fault: Fault
) -> None:
    server.script(fault)
    with pytest.raises(NeuronError):
        await ask(make(**mode))
    assert server.received == 1


@pytest.mark.usefixtures("no_delay")
@pytest.mark.parametrize("where", ["option", "input"])
@pytest.mark.parametrize("retries", [0, 1, 5])
async def test_the_number_of_retries_is_an_option(
    make: Make, ask: Ask, server: ChatServer, mode: dict[str, bool], where: str, retries: int
) -> None:
    server.script(*[Fault.status(500)] * 10)
    option, input = ({"max_retries": retries}, {}) if where == "option" else ({}, {"max_retries": retries})
    with pytest.raises(NeuronError, match="500"):
        await ask(make(**mode, **option), {"prompt": "Hi", **input})
    assert server.received == 1 + retries


async def test_retry_after_ms_is_heeded(make: Make, ask: Ask, server: ChatServer) -> None:
    response = json_response(429, {}, headers={"retry-after-ms": "3600000", "retry-after": "0"})
    server.script(Fault(response))
    with pytest.raises(NeuronError, match="asks to wait 3600 s"):
        await ask(make())
    response = json_response(429, {}, headers={"retry-after-ms": "0.5", "retry-after": "3600"})
    server.script(Fault(response))
    assert (await ask(make()))["response"].startswith("Hello!")


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        b"SSH-2.0-OpenSSH\r\n\r\n",
    ],
)
async def test_an_answer_that_is_not_http_is_not_asked_for_again(ask: Ask, head: bytes) -> None:
    asked = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        neuron = huggingface(endpoint=f"http://127.0.0.1:{port}")
        with pytest.raises(NeuronError) as caught:
            await ask(neuron)
        await neuron.aclose()
    assert (caught.value.code, asked) == ("PROVIDER_MALFORMED", 1)


async def test_a_stream_that_falls_silent_ends_at_its_idle_time(
    make: Make, ask: Ask, server: ChatServer, mode: dict[str, bool]
) -> None:
    server.script(Fault.stall(2), Fault.stall(2))
    with pytest.raises(NeuronError, match=r"sent nothing for 0\.05 s") as caught:
        await ask(make(**mode, idle_timeout=0.05))
    assert (caught.value.code, caught.value.recoverable) == ("PROVIDER_TIMEOUT", True)
    with pytest.raises(NeuronError, match=r"sent nothing for 0\.04 s"):
        await ask(make(**mode), {"prompt": "Hi", "idle_timeout": 0.04})


async def test_a_stream_that_goes_on_may_take_longer_than_its_idle_time(ask: Ask) -> None:
    class Slow(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            for _ in range(6):
                await asyncio.sleep(0.1)
                yield b": still here\n\n"
            yield b'data: {"choices": [{"delta": {"content": "Hi"}, "finish_reason": "stop"}]}\n\n'

    async with httpx.AsyncClient(
        transport=httpx.MockTransport(lambda _: httpx.Response(200, stream=Slow()))
    ) as client:
        output = await ask(huggingface(endpoint="http://localhost", client=client, idle_timeout=0.5))
    assert output["response"] == "Hi"


async def test_the_time_limit_can_be_that_of_a_call(
    make: Make, ask: Ask, server: ChatServer, mode: dict[str, bool]
) -> None:
    server.script(Fault.stall(1))
    with pytest.raises(NeuronError, match=r"within 0\.05 s") as caught:
        await ask(make(**mode), {"prompt": "Hi", "timeout": 0.05})
    assert caught.value.code == "PROVIDER_TIMEOUT"


async def test_a_call_is_not_retried_after_its_first_delta(make: Make, server: ChatServer) -> None:
    server.script(Fault.cut(2))
    neuron = make(stream=True)
    assert isinstance(neuron, StreamingHuggingFaceNeuron)
    stream = neuron({"prompt": "Say hello."}, [])
    assert await anext(stream) == "Hello!"
    with pytest.raises(NeuronError):
        await anext(stream)
    assert server.received == 1


@pytest.mark.usefixtures("no_delay")
async def test_a_refused_connection_is_retried(ask: Ask) -> None:
    attempts = 0

    def refuse_twice(request: httpx.Request) -> httpx.Response:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise httpx.ConnectError("refused")
        return httpx.Response(200, json={"choices": [{"message": {"content": "Hi"}}]})

    async with httpx.AsyncClient(transport=httpx.MockTransport(refuse_twice)) as client:
        output = await ask(huggingface(endpoint="http://localhost", client=client))
    assert (output["response"], attempts) == ("Hi", 3)
