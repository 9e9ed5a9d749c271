"""The keys of an input: those of OpenAI's API are passed on, and unknown ones are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from cosmo_core.errors import NeuronError
from cosmo_source_huggingface.options import LIMITS, OPENAI_KEYS
from cosmo_testing import ChatServer

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from cosmo_source_huggingface import HuggingFaceNeuron, StreamingHuggingFaceNeuron

    Ask = Callable[..., Coroutine[Any, Any, dict[str, Any]]]
    Make = Callable[..., HuggingFaceNeuron | StreamingHuggingFaceNeuron]

VALUES: dict[str, Any] = {
    "response_format": {"type": "json_object"},
    "seed": 7,
    "logprobs": True,
    "n": 1,
    "reasoning_effort": "low",
    "max_tokens": 9,
    "tool_choice": "none",
    "temperature": 0,
}


async def test_the_keys_of_openais_api_are_passed_on(make: Make, ask: Ask, server: ChatServer) -> None:
    await ask(make(max_new_tokens=5), {"prompt": "Hi", **VALUES})
    assert VALUES.items() <= server.requests[0].json.items()


@pytest.mark.parametrize("name", sorted(OPENAI_KEYS - {"stream_options", *LIMITS}))
async def test_every_known_key_is_passed_on(make: Make, ask: Ask, server: ChatServer, name: str) -> None:
    await ask(make(), {"prompt": "Hi", name: "any"})
    assert server.requests[0].json[name] == "any"


async def test_the_options_of_the_stream_are_merged(make: Make, ask: Ask, server: ChatServer) -> None:
    await ask(make(), {"prompt": "Hi", "stream_options": {"include_obfuscation": False}})
    await ask(make(), {"prompt": "Hi", "stream_options": {"include_usage": False}})
    first, second = (request.json["stream_options"] for request in server.requests)
    assert first == {"include_usage": True, "include_obfuscation": False}
    assert second == {"include_usage": False}


async def test_one_maximum_length_replaces_the_option(make: Make, ask: Ask, server: ChatServer) -> None:
    await ask(make(max_new_tokens=5), {"prompt": "Hi", "max_completion_tokens": 2})
    body = server.requests[0].json
    assert (body["max_completion_tokens"], "max_tokens" in body) == (2, False)


@pytest.mark.parametrize("name", ["extra", "extra_body"])
async def test_extra_is_passed_on_as_it_is(make: Make, ask: Ask, server: ChatServer, name: str) -> None:
    neuron = make(extra={"top_k": 1, "provider": {"order": ["a"]}}, temperature=1)
    extra = {"top_k": 4, "x": None, "temperature": 2, "provider": {"only": ["b"]}, "stream_options": {"y": 1}}
    await ask(neuron, {"prompt": "Hi", name: extra})
    await ask(neuron, {"prompt": "Hi"})
    first, second = (request.json for request in server.requests)
    assert (first["top_k"], first["x"], first["temperature"]) == (4, None, 2)
    # One level of objects is merged: the option with the input, and both with what the source sends.
    assert first["provider"] == {"order": ["a"], "only": ["b"]}
    assert first["stream_options"] == {"include_usage": True, "y": 1}
    assert (second["top_k"], second["temperature"]) == (1, 1)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("temprature", "did you mean temperature?"),
        ("respone_format", "did you mean response_format?"),
        ("max_token", "did you mean max_tokens?"),
        ("stop_sequences", "stop"),
        ("xyzzy", "into extra"),
    ],
)
async def test_an_unknown_key_is_refused_with_a_suggestion(
    make: Make, ask: Ask, server: ChatServer, mode: dict[str, bool], name: str, hint: str
) -> None:
    with pytest.raises(NeuronError, match=f"no key {name}.*{hint}") as caught:
        await ask(make(**mode), {"prompt": "Hi", name: 1})
    assert (caught.value.code, caught.value.recoverable) == ("INPUT_INVALID", False)
    assert server.received == 0


@pytest.mark.parametrize("value", ["seed", [1], {"a": float("nan")}])
async def test_extra_must_be_a_json_object(make: Make, ask: Ask, value: Any) -> None:
    with pytest.raises(NeuronError, match=r"^input\.extra=") as caught:
        await ask(make(), {"prompt": "Hi", "extra": value})
    assert caught.value.code == "INPUT_INVALID"


async def test_tgi_takes_the_keys_that_it_has(make: Make, ask: Ask, server: ChatServer) -> None:
    neuron = make(use_chat_api=False, max_new_tokens=5)
    extra = {"parameters": {"top_k": 4}, "adapter_id": "a"}
    await ask(neuron, {"prompt": "Hi", "seed": 7, "max_tokens": 2, "extra": extra})
    body = server.requests[0].json
    assert body["parameters"] == {"seed": 7, "max_new_tokens": 2, "top_k": 4}
    assert body["adapter_id"] == "a"
    with pytest.raises(NeuronError, match="tools in the input: that needs use_chat_api=True"):
        await ask(neuron, {"prompt": "Hi", "tools": []})


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        ("", "{}"),
        (None, "{}"),
        (" ", "{}"),
        ({}, "{}"),
        ({"a": 1}, '{"a": 1}'),
        ('{"a":1}', '{"a":1}'),
        ("{", "{"),
    ],
)
async def test_the_tool_calls_of_another_source_are_converted(
    make: Make, ask: Ask, server: ChatServer, arguments: object, sent: str
) -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": arguments}}
    messages = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": None, "tool_calls": [call, 7]},
        {"role": "tool", "tool_call_id": "a", "content": "1"},
    ]
    await ask(make(), {"messages": messages})
    calls = server.requests[0].json["messages"][1]["tool_calls"]
    assert calls == [{**call, "function": {"name": "f", "arguments": sent}}, 7]
