from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from cosmo_core.errors import NeuronError
from cosmo_llm.http import transport
from cosmo_source_huggingface import StreamingHuggingFaceNeuron, huggingface
from cosmo_testing import ChatServer, Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from cosmo_source_huggingface import HuggingFaceNeuron

    Ask = Callable[..., Coroutine[Any, Any, dict[str, Any]]]
    Make = Callable[..., HuggingFaceNeuron | StreamingHuggingFaceNeuron]


@pytest.fixture
def no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "FIRST_DELAY_S", 0)


@pytest.mark.parametrize("status", [429, 503])
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
    assert server.received == transport.MAX_ATTEMPTS


@pytest.mark.parametrize("wait", [61, 10**30])
async def test_a_wait_beyond_the_time_limit_is_not_begun(
    make: Make, ask: Ask, server: ChatServer, wait: int
) -> None:
    server.script(Fault.status(429, retry_after=wait))
    with pytest.raises(NeuronError, match=re.escape(f"asks to wait {wait:g} s")) as caught:
        await ask(make(timeout=60))
    assert caught.value.code == "RATE_LIMITED"
    assert server.received == 1


@pytest.mark.parametrize("fault", [Fault.status(500), Fault.status(400), Fault.malformed(), Fault.cut(0)])
async def test_other_failures_are_not_retried(
    make: Make, ask: Ask, server: ChatServer, mode: dict[str, bool], fault: Fault
) -> None:
    server.script(fault)
    with pytest.raises(NeuronError):
        await ask(make(**mode))
    assert server.received == 1


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
