"""Ollama's own client accepts the fake server as Ollama, and sees the same data as the Neuron."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from ollama import AsyncClient, ResponseError

from cosmo_source_ollama import StreamingOllamaNeuron
from cosmo_testing import ChatServer, Fault

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from cosmo_source_ollama import OllamaNeuron

    Ask = Callable[..., Coroutine[Any, Any, dict[str, Any]]]
    Make = Callable[..., OllamaNeuron | StreamingOllamaNeuron]

MESSAGES = [{"role": "user", "content": "Say hello to one called Ada."}]
GREETING = "Hello, Ada! Welcome aboard; the local chat server sends its regards."


@pytest.fixture
async def client(server: ChatServer) -> AsyncIterator[AsyncClient]:
    async with asyncio.timeout(30), AsyncClient(host=server.url, timeout=10) as client:
        yield client


async def test_the_official_client_gets_the_same_answer(client: AsyncClient, make: Make, ask: Ask) -> None:
    theirs = await client.chat("llama3", MESSAGES, options={"num_predict": 3})
    mine = await ask(make(max_tokens=3), {"messages": MESSAGES})
    assert mine["meta"] == theirs.model_dump(exclude_none=True)
    assert mine["response"] == theirs.message.content == "Hello, Ada! Welcome"


async def test_the_official_client_gets_the_same_stream(client: AsyncClient, make: Make) -> None:
    parts = [part async for part in await client.chat("llama3", MESSAGES, stream=True)]
    neuron = make(stream=True)
    assert isinstance(neuron, StreamingOllamaNeuron)
    *texts, output = [item async for item in neuron({"messages": MESSAGES}, [])]
    assert isinstance(output, dict)
    assert [part.message.content for part in parts] == [*texts, ""]
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    assert output["response"] == GREETING
    assert parts[-1].eval_count == output["meta"]["eval_count"] == len(texts)


async def test_the_official_client_sends_the_same_request(
    client: AsyncClient, make: Make, ask: Ask, server: ChatServer
) -> None:
    tools = [{"type": "function", "function": {"name": "clock", "description": "Tell the time."}}]
    images = ["aW1hZ2U="]
    messages = [{"role": "user", "content": "What is this?", "images": images}]
    options = {"seed": 7, "num_predict": 9}
    await client.chat("llama3", messages, tools=tools, format="json", options=options, keep_alive="5m")
    input = {"prompt": "What is this?", "images": images, "tools": tools, "format": "json"}
    await ask(make(options={"seed": 7}, max_tokens=9, keep_alive="5m"), input)
    theirs, mine = (request.json for request in server.requests)
    assert mine == {**theirs, "stream": True}


async def test_the_official_client_completes_a_prompt(client: AsyncClient) -> None:
    whole = await client.generate("llama3", MESSAGES[0]["content"])
    parts = [part async for part in await client.generate("llama3", MESSAGES[0]["content"], stream=True)]
    assert whole.response == "".join(part.response or "" for part in parts) == GREETING
    assert (whole.done_reason, parts[-1].done_reason) == ("stop", "stop")


async def test_the_official_client_loads_a_model_with_an_empty_request(client: AsyncClient) -> None:
    assert (await client.generate("llama3")).done_reason == "load"
    assert (await client.chat("llama3")).done_reason == "load"


async def test_the_official_client_lists_and_shows_models(client: AsyncClient) -> None:
    assert [model.model for model in (await client.list()).models] == ["llama3:latest", "mistral:7b"]
    assert "completion" in ((await client.show("mistral:7b")).capabilities or [])


async def test_the_official_client_raises_for_a_missing_model(client: AsyncClient) -> None:
    with pytest.raises(ResponseError, match="model 'qwen3:8b' not found") as caught:
        await client.chat("qwen3:8b", MESSAGES)
    assert caught.value.status_code == 404
    with pytest.raises(ResponseError, match="model 'qwen3:8b' not found"):
        await anext(await client.chat("qwen3:8b", MESSAGES, stream=True))


async def test_the_official_client_raises_for_a_scripted_refusal(
    client: AsyncClient, server: ChatServer
) -> None:
    server.script(Fault.status(503, message="server busy"))
    with pytest.raises(ResponseError) as caught:
        await client.chat("llama3", MESSAGES)
    assert (caught.value.error, caught.value.status_code) == ("server busy", 503)
