"""Requests and answers without a failure."""

from __future__ import annotations

import copy
import inspect
import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from cosmo_core.contracts.neuron import NeuronFn
from cosmo_core.errors import NeuronError
from cosmo_source_huggingface import HuggingFaceNeuron, StreamingHuggingFaceNeuron, huggingface
from cosmo_testing import ChatServer

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    Ask = Callable[..., Coroutine[Any, Any, dict[str, Any]]]
    Make = Callable[..., HuggingFaceNeuron | StreamingHuggingFaceNeuron]

GREETING = "Hello! Welcome aboard; the local chat server sends its regards."


async def test_every_mode_returns_the_same_text(make: Make, ask: Ask, mode: dict[str, bool]) -> None:
    output = await ask(make(**mode))
    assert set(output) == {"response", "meta"}
    assert output["response"] == GREETING


async def test_a_plain_chat_returns_the_providers_answer_as_meta(make: Make, ask: Ask) -> None:
    meta = (await ask(make()))["meta"]
    assert meta["object"] == "chat.completion"
    assert meta["choices"][0]["message"]["content"] == GREETING
    assert meta["usage"]["completion_tokens"] == 10


async def test_a_stream_yields_the_text_in_pieces_then_the_output(make: Make) -> None:
    neuron = make(stream=True)
    assert isinstance(neuron, StreamingHuggingFaceNeuron)
    *deltas, output = [item async for item in neuron({"prompt": "Say hello."}, [])]
    assert isinstance(output, dict)
    assert len(deltas) == 10
    assert "".join(map(str, deltas)) == output["response"]


async def test_a_stream_ends_with_the_output_of_the_plain_call(make: Make, ask: Ask) -> None:
    plain, streamed = await ask(make()), await ask(make(stream=True))
    for output in (plain, streamed):
        del output["meta"]["id"]
    assert streamed == plain


def test_the_core_recognises_plain_and_streaming_neurons() -> None:
    plain, streaming = (huggingface(endpoint="http://localhost", stream=stream) for stream in (False, True))
    assert isinstance(plain, NeuronFn)
    assert inspect.iscoroutinefunction(plain.__call__)
    assert inspect.isasyncgenfunction(streaming.__call__)


async def test_every_option_is_in_a_chat_request(make: Make, ask: Ask, server: ChatServer) -> None:
    neuron = make(
        model="m", max_new_tokens=9, temperature=0, top_p=1, stop="END", system="Be brief.", api_key="k"
    )
    await ask(neuron)
    (request,) = server.requests
    assert request.path == "/v1/chat/completions"
    assert request.headers["authorization"] == "Bearer k"
    assert request.json == {
        "model": "m",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Say hello."}],
        "max_tokens": 9,
        "temperature": 0,
        "top_p": 1,
        "stop": ["END"],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


async def test_every_option_is_in_a_tgi_request(make: Make, ask: Ask, server: ChatServer) -> None:
    neuron = make(
        use_chat_api=False, max_new_tokens=9, temperature=0.5, top_p=0.9, stop=["END"], system="Be brief."
    )
    await ask(neuron)
    (request,) = server.requests
    assert request.path == "/generate_stream"
    assert "authorization" not in request.headers
    assert request.json == {
        "inputs": "Be brief.\n\nSay hello.",
        "parameters": {"max_new_tokens": 9, "temperature": 0.5, "top_p": 0.9, "stop": ["END"]},
    }


async def test_values_that_tgi_refuses_are_not_sent(make: Make, ask: Ask, server: ChatServer) -> None:
    await ask(make(use_chat_api=False, temperature=0, top_p=1.0))
    assert server.requests[0].json["parameters"] == {}


async def test_a_conversation_is_sent_to_tgi_as_lines(make: Make, ask: Ask, server: ChatServer) -> None:
    messages = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "Bye"},
    ]
    await ask(make(use_chat_api=False), {"messages": messages})
    assert server.requests[0].json["inputs"] == "user: Hi\nassistant: Hello\nuser: Bye\nassistant:"


async def test_content_that_is_not_text_is_refused_for_tgi(make: Make, ask: Ask, server: ChatServer) -> None:
    parts = [{"type": "image_url", "image_url": {"url": "data:,"}}]
    with pytest.raises(NeuronError, match="use_chat_api=True") as caught:
        await ask(make(use_chat_api=False), {"messages": [{"role": "user", "content": parts}]})
    assert caught.value.code == "INPUT_INVALID"
    assert server.received == 0


async def test_the_input_of_a_call_overrides_options(make: Make, ask: Ask, server: ChatServer) -> None:
    neuron = make(model="m", max_new_tokens=9, system="Be brief.")
    tools = [{"type": "function", "function": {"name": "clock"}}]
    await ask(neuron, {"prompt": "Hi", "model": "other", "max_new_tokens": 2, "system": None, "tools": tools})
    await ask(neuron)
    first, second = (request.json for request in server.requests)
    assert (first["model"], first["max_tokens"], first["tools"]) == ("other", 2, tools)
    assert first["messages"][0]["content"] == "Be brief."
    assert (second["model"], second["max_tokens"]) == ("m", 9)
    assert "tools" not in second


@pytest.mark.parametrize("override", [{"temperature": -1}, {"top_p": 2}, {"stop": [0]}, {"model": {}}])
async def test_an_override_that_cannot_work_is_an_input_error(
    make: Make, ask: Ask, override: dict[str, Any]
) -> None:
    (name,) = override
    with pytest.raises(NeuronError, match=rf"^input\.{name}=") as caught:
        await ask(make(), {"prompt": "Hi", **override})
    assert (caught.value.code, caught.value.recoverable) == ("INPUT_INVALID", False)


async def test_max_new_tokens_limits_the_answer(make: Make, ask: Ask, mode: dict[str, bool]) -> None:
    output = await ask(make(**mode, max_new_tokens=2))
    assert output["response"] == "Hello! Welcome"


@pytest.mark.parametrize("input", [{}, {"prompt": ""}, {"prompt": 7}, {"messages": []}])
async def test_a_wrong_input_is_refused_before_a_request_is_sent(
    make: Make, ask: Ask, server: ChatServer, input: dict[str, Any], mode: dict[str, bool]
) -> None:
    with pytest.raises(NeuronError, match="expected") as caught:
        await ask(make(**mode), input)
    assert caught.value.code == "INPUT_INVALID"
    assert server.received == 0


async def test_an_input_that_json_cannot_carry_is_refused(make: Make, ask: Ask) -> None:
    with pytest.raises(NeuronError, match="JSON") as caught:
        await ask(make(), {"messages": [{"role": "user", "content": [float("nan")]}]})
    assert caught.value.code == "INPUT_INVALID"


async def test_the_input_is_not_changed(make: Make, ask: Ask, mode: dict[str, bool]) -> None:
    input = {"messages": [{"role": "user", "content": "Hi"}], "temperature": 0.5, "stop": ["END"]}
    before = copy.deepcopy(input)
    await ask(make(**mode, system="Be brief."), input)
    assert input == before


async def test_extra_headers_are_sent_and_override_the_sources_own(
    make: Make, ask: Ask, server: ChatServer
) -> None:
    await ask(make(api_key="k", headers={"X-Team": "blue", "Authorization": "Basic abc"}))
    headers = server.requests[0].headers
    assert (headers["x-team"], headers["authorization"]) == ("blue", "Basic abc")


async def test_fragments_of_streamed_tool_calls_are_joined(ask: Ask) -> None:
    def delta(**call: Any) -> str:
        return json.dumps({"choices": [{"delta": {"tool_calls": [{"index": 0, **call}]}}]})

    events = [
        delta(id="c1", type="function", function={"name": "clock", "arguments": ""}),
        delta(function={"arguments": '{"zone":'}),
        delta(function={"arguments": "1}"}),
        '{"choices":[{"delta":{},"finish_reason":"tool_calls"}]}',
        "[DONE]",
    ]
    body = "".join(f"data: {event}\n\n" for event in events).encode()
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=body))
    async with httpx.AsyncClient(transport=transport) as client:
        output = await ask(huggingface(endpoint="http://localhost", stream=True, client=client))
    choice = output["meta"]["choices"][0]
    function = {"name": "clock", "arguments": '{"zone":1}'}
    assert choice["message"]["tool_calls"] == [{"id": "c1", "type": "function", "function": function}]
    assert (output["response"], choice["finish_reason"]) == ("", "tool_calls")
