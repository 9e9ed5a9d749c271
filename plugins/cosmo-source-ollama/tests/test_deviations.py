"""Answers that deviate from Ollama's API: harmless deviations are skipped, broken answers are errors."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from cosmo_core.errors import NeuronError
from cosmo_source_ollama import OllamaNeuron, ollama
from cosmo_testing import ChatServer, Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from cosmo_source_ollama import StreamingOllamaNeuron

    Ask = Callable[..., Coroutine[Any, Any, dict[str, Any]]]
    Make = Callable[..., OllamaNeuron | StreamingOllamaNeuron]

LAST: dict[str, Any] = {"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"}


def line(value: object) -> bytes:
    return json.dumps(value).encode() + b"\n"


def text(content: object, **message: Any) -> dict[str, Any]:
    """A part with a text."""
    return {"message": {"role": "assistant", "content": content, **message}, "done": False}


async def items(body: bytes, *, stream: bool) -> list[Any]:
    """What a Neuron returns, or yields, for a response with this body."""
    answer = httpx.MockTransport(lambda _: httpx.Response(200, content=body))
    async with httpx.AsyncClient(transport=answer) as client:
        neuron = ollama(model="llama3", client=client, stream=stream)
        if isinstance(neuron, OllamaNeuron):
            return [await neuron({"prompt": "Hi"}, [])]
        return [item async for item in neuron({"prompt": "Hi"}, [])]


async def output(*parts: dict[str, Any] | bytes, stream: bool) -> dict[str, Any]:
    """The output for a stream of these parts."""
    body = b"".join(part if isinstance(part, bytes) else line(part) for part in parts)
    result: dict[str, Any] = (await items(body, stream=stream))[-1]
    return result


async def code(*parts: dict[str, Any] | bytes, stream: bool) -> str:
    """The code of the error for a stream of these parts."""
    with pytest.raises(NeuronError) as caught:
        await output(*parts, stream=stream)
    return caught.value.code


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize(
    "harmless",
    [
        b"\n",
        b" \r\n",
        line({}),
        line({"message": None}),
        line({"done": False}),
        line(text(None)),
        line(text([])),
    ],
)
async def test_a_part_that_carries_nothing_is_skipped(harmless: bytes, place: int, stream: bool) -> None:
    parts: list[dict[str, Any] | bytes] = [text("Hel"), text("lo")]
    parts.insert(place, harmless)
    found = await output(*parts, LAST, stream=stream)
    assert found["response"] == "Hello"
    assert (found["meta"]["done"], found["meta"]["done_reason"]) == (True, "stop")


@pytest.mark.parametrize("name", ["content", "thinking", "x_new"])
async def test_a_surrogate_pair_may_be_cut(name: str, stream: bool) -> None:
    halves = [{"message": {name: half}, "done": False} for half in ("a\ud83d", "\ude00b")]
    found = await output(*halves, LAST, stream=stream)
    assert found["meta"]["message"][name] == "a😀b"
    assert found["response"] == ("a😀b" if name == "content" else "")


async def test_the_texts_of_a_stream_with_cut_pairs_join_to_its_response() -> None:
    parts = ["\ud83d", "\ude00", "a\ud83d", "b", "c\ud83d"]
    *texts, found = await items(b"".join(map(line, [*map(text, parts), LAST])), stream=True)
    assert "".join(texts) == found["response"] == "😀a\ufffdbc\ufffd"


async def test_a_byte_order_mark_is_skipped(stream: bool) -> None:
    assert (await output(b"\xef\xbb\xbf" + line(text("Hi")), LAST, stream=stream))["response"] == "Hi"


async def test_content_in_parts_is_text(stream: bool) -> None:
    parts = [text([{"type": "text", "text": piece}]) for piece in ("Hel", "lo")]
    assert (await output(*parts, LAST, stream=stream))["response"] == "Hello"


async def test_every_field_of_a_stream_is_in_the_output(stream: bool) -> None:
    call = {"function": {"index": 0, "name": "f", "arguments": {"a": "b"}}}
    found = await output(
        {**text("", thinking="Let me "), "model": "m", "x_list": [1], "logprobs": [1]},
        {**text("", thinking="see.", x_new="A"), "model": "m", "x_list": [2]},
        text("Hel", tool_calls=[call], x_new="B"),
        {**text("lo", tool_calls=[call]), "logprobs": [2], "x_head": {"a": 1}},
        {**LAST, "eval_count": 3, "x_head": {"b": 2}},
        stream=stream,
    )
    message = {
        "role": "assistant",
        "content": "Hello",
        "thinking": "Let me see.",
        "x_new": "AB",
        "tool_calls": [call, call],
    }
    rest = {"model": "m", "x_list": [1, 2], "logprobs": [1, 2], "x_head": {"a": 1, "b": 2}, "eval_count": 3}
    meta = {**rest, "message": message, "done": True, "done_reason": "stop"}
    assert found == {"response": "Hello", "meta": meta}


@pytest.mark.parametrize("done", [None, False, 1, "true", {}])
async def test_an_answer_that_is_not_done_is_cut(done: object, stream: bool) -> None:
    assert await code(text("Hi"), {**LAST, "done": done}, stream=stream) == "PROVIDER_UNREACHABLE"


@pytest.mark.parametrize("last", [{**LAST, "done_reason": "error"}, {**LAST, "error": "it broke"}])
async def test_an_answer_that_ends_with_an_error_is_an_error(last: dict[str, Any], stream: bool) -> None:
    assert await code(text("Hi"), last, stream=stream) == "PROVIDER_ERROR"


@pytest.mark.parametrize("content", [7, True, {}, 0, False])
async def test_content_that_is_not_text_is_malformed(content: object, stream: bool) -> None:
    assert await code(text(content), LAST, stream=stream) == "PROVIDER_MALFORMED"


@pytest.mark.parametrize("body", [line({}), line({"status": "loading"}), line({"done": False})])
async def test_a_stream_without_a_message_is_malformed(body: bytes, stream: bool) -> None:
    assert await code(body, stream=stream) == "PROVIDER_MALFORMED"


async def test_every_call_asks_for_a_stream_so_that_leaving_it_stops_ollama(
    make: Make, ask: Ask, server: ChatServer, stream: bool
) -> None:
    server.script(Fault.stall(3))
    with pytest.raises(NeuronError) as caught:
        await ask(make(stream=stream, timeout=0.3))
    assert caught.value.code == "PROVIDER_TIMEOUT"
    async with asyncio.timeout(10):
        await server.disconnected.wait()
    assert server.requests[0].json["stream"] is True


async def test_a_server_that_refuses_to_stream_is_asked_for_a_whole_answer(
    make: Make, ask: Ask, server: ChatServer, stream: bool
) -> None:
    server.script(Fault.status(400, message="no streaming"))
    assert (await ask(make(stream=stream, max_retries=0)))["response"].startswith("Hello!")
    assert [request.json["stream"] for request in server.requests] == [True, False]


async def test_a_model_that_is_missing_may_be_reported_with_400(ask: Ask, stream: bool) -> None:
    answer = httpx.Response(400, json={"error": "model 'llama3' does not exist, is not found"})
    async with httpx.AsyncClient(transport=httpx.MockTransport(lambda _: answer)) as client:
        with pytest.raises(NeuronError, match="ollama pull") as caught:
            await ask(ollama(model="llama3", client=client, stream=stream))
    assert caught.value.code == "MODEL_NOT_FOUND"


@pytest.mark.parametrize("line", [b"null\n", b"[]\n", b'"ping"\n', b"1\n"])
async def test_a_line_that_is_not_an_object_is_skipped(line: bytes, stream: bool) -> None:
    assert (await output(text("Hel"), line, text("lo"), LAST, stream=stream))["response"] == "Hello"


@pytest.mark.parametrize("cut", [b'{"mess', b'{"message": {"content": "lo"', b"{"])
async def test_a_last_line_that_is_cut_means_that_the_stream_was_cut(cut: bytes, stream: bool) -> None:
    assert await code(text("Hel"), cut, stream=stream) == "PROVIDER_UNREACHABLE"


async def test_an_absent_tool_call_is_skipped(stream: bool) -> None:
    part = {"message": {"role": "assistant", "content": "Hi", "tool_calls": [None]}, "done": False}
    assert "tool_calls" not in (await output(part, LAST, stream=stream))["meta"]["message"]
