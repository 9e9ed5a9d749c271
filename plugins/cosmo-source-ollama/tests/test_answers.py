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
from cosmo_source_huggingface import huggingface
from cosmo_source_ollama import OllamaNeuron, StreamingOllamaNeuron, ollama
from cosmo_testing import ChatServer

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    Ask = Callable[..., Coroutine[Any, Any, dict[str, Any]]]
    Make = Callable[..., OllamaNeuron | StreamingOllamaNeuron]

GREETING = "Hello! Welcome aboard; the local chat server sends its regards."


async def test_the_output_is_the_text_and_ollamas_answer(make: Make, ask: Ask, stream: bool) -> None:
    output = await ask(make(stream=stream))
    assert set(output) == {"response", "meta"}
    assert output["response"] == GREETING
    assert output["meta"]["message"] == {"role": "assistant", "content": GREETING}
    assert (output["meta"]["done"], output["meta"]["done_reason"]) == (True, "stop")
    assert output["meta"]["eval_count"] == 10


async def test_a_stream_yields_the_text_in_pieces_then_the_output(make: Make) -> None:
    neuron = make(stream=True)
    assert isinstance(neuron, StreamingOllamaNeuron)
    *texts, output = [item async for item in neuron({"prompt": "Say hello."}, [])]
    assert isinstance(output, dict)
    assert len(texts) == 10
    assert "".join(map(str, texts)) == output["response"]


async def test_a_stream_ends_with_the_output_of_the_plain_call(make: Make, ask: Ask) -> None:
    assert await ask(make(stream=True)) == await ask(make())


def test_the_core_recognises_plain_and_streaming_neurons() -> None:
    plain, streaming = (ollama(model="llama3", stream=stream) for stream in (False, True))
    assert isinstance(plain, NeuronFn)
    assert inspect.iscoroutinefunction(plain.__call__)
    assert inspect.isasyncgenfunction(streaming.__call__)


async def test_the_output_has_the_same_shape_as_that_of_huggingface(
    server: ChatServer, make: Make, ask: Ask, stream: bool
) -> None:
    """After a switch of the source, keys, text and pieces are the same."""
    other = huggingface(endpoint=server.url, stream=stream)
    mine = make(stream=stream)
    input = {"messages": [{"role": "user", "content": "Say hello to one called Ada."}]}

    async def items(neuron: Any) -> list[Any]:
        return [item async for item in neuron(input, [])] if stream else [await neuron(input, [])]

    *texts, output = await items(mine)
    *other_texts, other_output = await items(other)
    await other.aclose()
    assert texts == other_texts
    assert output.keys() == other_output.keys()
    assert output["response"] == other_output["response"]
    assert type(output["meta"]) is type(other_output["meta"])


async def test_without_options_a_request_holds_only_model_messages_and_stream(
    make: Make, ask: Ask, server: ChatServer, stream: bool
) -> None:
    await ask(make(stream=stream))
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/api/chat")
    assert "authorization" not in request.headers
    messages = [{"role": "user", "content": "Say hello."}]
    assert request.json == {"model": "llama3", "messages": messages, "stream": True}


async def test_every_option_is_in_the_request(make: Make, ask: Ask, server: ChatServer) -> None:
    await ask(
        make(
            model="mistral:7b",
            system="Be brief.",
            temperature=0,
            max_tokens=9,
            options={"num_ctx": 4096, "stop": ("END",), "temperature": 1, "num_predict": -1},
            keep_alive=0,
        )
    )
    assert server.requests[0].json == {
        "model": "mistral:7b",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Say hello."}],
        "stream": True,
        "options": {"num_ctx": 4096, "stop": ["END"], "temperature": 0, "num_predict": 9},
        "keep_alive": 0,
    }


async def test_the_input_of_a_call_overrides_options(make: Make, ask: Ask, server: ChatServer) -> None:
    neuron = make(max_tokens=9, system="Be brief.", options={"num_ctx": 4096, "seed": 1}, keep_alive="5m")
    call = {"model": "mistral:7b", "max_tokens": 2, "options": {"seed": 7}, "keep_alive": -1, "system": None}
    await ask(neuron, {"prompt": "Hi", **call})
    await ask(neuron)
    first, second = (request.json for request in server.requests)
    assert (first["model"], first["keep_alive"]) == ("mistral:7b", -1)
    assert first["options"] == {"num_ctx": 4096, "seed": 7, "num_predict": 2}
    assert first["messages"][0]["content"] == "Be brief."
    assert (second["model"], second["keep_alive"]) == ("llama3", "5m")
    assert second["options"] == {"num_ctx": 4096, "seed": 1, "num_predict": 9}


async def test_tools_format_and_think_are_passed_on(make: Make, ask: Ask, server: ChatServer) -> None:
    extra = {"tools": [{"type": "function", "function": {"name": "clock"}}], "format": "json", "think": False}
    await ask(make(), {"prompt": "Hi", **extra})
    assert extra.items() <= server.requests[0].json.items()


async def test_names_of_ollamas_options_become_options(make: Make, ask: Ask, server: ChatServer) -> None:
    neuron = make(options={"num_ctx": 4096, "seed": 1}, extra={"raw": 1, "options": {"mirostat": 1}})
    keys = {"seed": 7, "stop": ["END"], "top_p": 0.5, "options": {"min_p": 0.1}, "extra": {"x_new": None}}
    await ask(neuron, {"prompt": "Hi", **keys})
    await ask(neuron, {"prompt": "Hi", "seed": 8})
    first, second = (request.json for request in server.requests)
    assert first["options"] == {
        "num_ctx": 4096,
        "seed": 7,
        "stop": ["END"],
        "top_p": 0.5,
        "min_p": 0.1,
        "mirostat": 1,
    }
    assert (first["raw"], first["x_new"]) == (1, None)
    assert second["options"] == {"num_ctx": 4096, "seed": 8, "mirostat": 1}


@pytest.mark.parametrize(
    ("name", "hint"),
    [("temprature", "did you mean temperature?"), ("tool", "did you mean tools?"), ("xyzzy", "into extra")],
)
async def test_an_unknown_key_is_refused_with_a_suggestion(
    make: Make, ask: Ask, server: ChatServer, stream: bool, name: str, hint: str
) -> None:
    with pytest.raises(NeuronError, match=f"no key {name}.*{hint}") as caught:
        await ask(make(stream=stream), {"prompt": "Hi", name: 1})
    assert (caught.value.code, caught.value.recoverable) == ("INPUT_INVALID", False)
    assert server.received == 0


@pytest.mark.parametrize(
    "override",
    [{"temperature": -1}, {"max_tokens": 0}, {"options": []}, {"keep_alive": "soon"}, {"model": {}}],
)
async def test_an_override_that_cannot_work_is_an_input_error(
    make: Make, ask: Ask, server: ChatServer, override: dict[str, Any]
) -> None:
    (name,) = override
    with pytest.raises(NeuronError, match=rf"^input\.{name}=") as caught:
        await ask(make(options={"seed": 1}), {"prompt": "Hi", **override})
    assert (caught.value.code, caught.value.recoverable) == ("INPUT_INVALID", False)
    assert server.received == 0


async def test_max_tokens_limits_the_answer(make: Make, ask: Ask, stream: bool) -> None:
    output = await ask(make(stream=stream, max_tokens=2))
    assert (output["response"], output["meta"]["done_reason"]) == ("Hello! Welcome", "length")


@pytest.mark.parametrize("input", [{}, {"prompt": ""}, {"prompt": 7}, {"messages": []}])
async def test_a_wrong_input_is_refused_before_a_request_is_sent(
    make: Make, ask: Ask, server: ChatServer, stream: bool, input: dict[str, Any]
) -> None:
    with pytest.raises(NeuronError, match="expected") as caught:
        await ask(make(stream=stream), input)
    assert caught.value.code == "INPUT_INVALID"
    assert server.received == 0


async def test_an_input_that_json_cannot_carry_is_refused(make: Make, ask: Ask) -> None:
    with pytest.raises(NeuronError, match="JSON") as caught:
        await ask(make(), {"prompt": "Hi", "format": {"minimum": float("nan")}})
    assert caught.value.code == "INPUT_INVALID"


async def test_the_input_is_not_changed(make: Make, ask: Ask, stream: bool) -> None:
    call = {"function": {"name": "clock", "arguments": "{}"}}
    input = {
        "messages": [
            {"role": "developer", "content": [{"type": "text", "text": "Hi"}]},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "content": "7"},
        ],
        "options": {"seed": 7},
    }
    before = copy.deepcopy(input)
    await ask(make(stream=stream, system="Be brief.", options={"num_ctx": 4096}), input)
    assert input == before


async def test_later_changes_to_the_options_object_have_no_effect(
    make: Make, ask: Ask, server: ChatServer
) -> None:
    options = {"seed": 1}
    neuron = make(options=options)
    options["seed"] = 2
    await ask(neuron)
    assert server.requests[0].json["options"] == {"seed": 1}


async def test_extra_headers_are_sent_and_override_the_sources_own(
    make: Make, ask: Ask, server: ChatServer
) -> None:
    await ask(make(headers={"X-Team": "blue", "Content-Type": "application/json; charset=utf-8"}))
    headers = server.requests[0].headers
    assert (headers["x-team"], headers["content-type"]) == ("blue", "application/json; charset=utf-8")


async def test_parts_of_a_streamed_message_are_joined(ask: Ask) -> None:
    def part(**message: Any) -> dict[str, Any]:
        return {"model": "llama3", "message": {"role": "assistant", "content": "", **message}, "done": False}

    clock: dict[str, Any] = {"function": {"name": "clock", "arguments": {}}}
    date: dict[str, Any] = {"function": {"name": "date", "arguments": {}}}
    last = {"model": "llama3", "done": True, "done_reason": "stop", "eval_count": 3}
    lines = [
        part(thinking="Let me "),
        {**part(thinking="see."), "logprobs": [1]},
        part(tool_calls=[clock]),
        {**part(content="It is", tool_calls=[date]), "logprobs": [2, 3]},
        part(content=" late."),
        last,
    ]
    body = "\n".join(map(json.dumps, lines))  # the last line has no line feed
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=body.encode()))
    async with httpx.AsyncClient(transport=transport) as client:
        output = await ask(ollama(model="llama3", stream=True, client=client))
    assert output["response"] == "It is late."
    message = {"role": "assistant", "content": "It is late.", "thinking": "Let me see."}
    assert output["meta"] == {
        **last,
        "message": {**message, "tool_calls": [clock, date]},
        "logprobs": [1, 2, 3],
    }


async def test_the_text_of_a_last_line_without_line_feed_is_yielded() -> None:
    body = b'{"message": {"content": "Hel"}, "done": false}\n{"message": {"content": "lo"}, "done": true}'
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=body))
    async with httpx.AsyncClient(transport=transport) as client:
        neuron = ollama(model="llama3", stream=True, client=client)
        assert isinstance(neuron, StreamingOllamaNeuron)
        *texts, output = [item async for item in neuron({"prompt": "Hi"}, [])]
    assert texts == ["Hel", "lo"]
    assert isinstance(output, dict)
    assert output["response"] == "Hello"


async def test_data_after_the_last_part_is_ignored(ask: Ask) -> None:
    body = b'{"message": {"content": "Hi"}, "done": true}\n{"error": "too late"}\n'
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=body))
    async with httpx.AsyncClient(transport=transport) as client:
        assert (await ask(ollama(model="llama3", stream=True, client=client)))["response"] == "Hi"
