"""Answers that deviate from OpenAI's API: harmless deviations are skipped, broken answers are errors."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from cosmo_core.errors import NeuronError
from cosmo_source_huggingface import HuggingFaceNeuron, huggingface
from cosmo_testing import ChatServer, Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from cosmo_source_huggingface import StreamingHuggingFaceNeuron

    Ask = Callable[..., Coroutine[Any, Any, dict[str, Any]]]
    Make = Callable[..., HuggingFaceNeuron | StreamingHuggingFaceNeuron]

DONE = b"data: [DONE]\n\n"
STOP: dict[str, Any] = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}


@pytest.fixture(params=[False, True], ids=["whole", "stream"])
def stream(request: pytest.FixtureRequest) -> bool:
    """With and without streaming."""
    stream: bool = request.param
    return stream


def event(value: object) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def text(content: object, **delta: Any) -> dict[str, Any]:
    """A chunk with a text."""
    return {"choices": [{"index": 0, "delta": {"content": content, **delta}}]}


async def items(body: bytes, *, stream: bool, chat: bool = True, input: Any = None) -> list[Any]:
    """What a Neuron returns, or yields, for a response with this body."""
    answer = httpx.MockTransport(lambda _: httpx.Response(200, content=body))
    async with httpx.AsyncClient(transport=answer) as client:
        neuron = huggingface(endpoint="http://localhost", client=client, stream=stream, use_chat_api=chat)
        call = {"prompt": "Hi", **(input or {})}
        if isinstance(neuron, HuggingFaceNeuron):
            return [await neuron(call, [])]
        return [item async for item in neuron(call, [])]


async def output(*parts: dict[str, Any] | bytes, stream: bool = True, input: Any = None) -> dict[str, Any]:
    """The output for a stream of these chunks."""
    body = b"".join(part if isinstance(part, bytes) else event(part) for part in parts)
    result: dict[str, Any] = (await items(body, stream=stream, input=input))[-1]
    return result


async def code(*parts: dict[str, Any] | bytes, stream: bool) -> str:
    """The code of the error for a stream of these chunks."""
    with pytest.raises(NeuronError) as caught:
        await output(*parts, stream=stream)
    return caught.value.code


# --- harmless -----------------------------------------------------------------------------------------

HARMLESS = {
    "no-delta": event({"choices": [{"index": 0}]}),
    "null-delta": event({"choices": [{"index": 0, "delta": None, "finish_reason": None}]}),
    "null-choice": event({"choices": [None]}),
    "no-choice": event({"choices": []}),
    "null-choices": event({"choices": None}),
    "only-usage": event({"usage": {"total_tokens": 1}}),
    "empty-object": event({}),
    "null": b"data: null\n\n",
    "list": b"data: []\n\n",
    "empty-data": b"data:\n\n",
    "blank-data": b"data:   \n\n",
    "ping": b"event: ping\ndata: still here\n\n",
    "json-ping": b'event: ping\ndata: {"type": "ping"}\n\n',
    "comment": b": OPENROUTER PROCESSING\n\n",
    "retry": b"retry: 100\n\n",
    "byte-order-mark": "data: \ufeff{}\n\n".encode(),
    "empty-finish": event({"choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": ""}]}),
    "null-content": event(text(None)),
    "no-error": event({"error": None, "detail": "", "choices": []}),
}


@pytest.mark.parametrize("place", [0, 1, 2, 3])
@pytest.mark.parametrize("harmless", HARMLESS.values(), ids=list(HARMLESS))
async def test_a_part_that_carries_nothing_is_skipped(harmless: bytes, place: int, stream: bool) -> None:
    parts: list[dict[str, Any] | bytes] = [text("Hel"), text("lo"), STOP]
    parts.insert(place, harmless)
    found = await output(*parts, DONE, stream=stream)
    assert found["response"] == "Hello"
    assert found["meta"]["choices"] == [
        {"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}
    ]


@pytest.mark.parametrize(
    "end", [b"data: [DONE] \n\n", b"data:[DONE]\n\n", b"data: [DONE]", b"data: [DONE]\n", b""]
)
async def test_any_end_behind_a_finish_reason_is_the_end(end: bytes, stream: bool) -> None:
    assert (await output(text("Hi"), STOP, end, stream=stream))["response"] == "Hi"


@pytest.mark.parametrize("end", [b"data: [DONE]", b"data: [DONE]\n"])
async def test_without_a_finish_reason_done_is_the_end(end: bytes, stream: bool) -> None:
    assert (await output(text("Hi"), end, stream=stream))["response"] == "Hi"


@pytest.mark.parametrize("lines", [b"", b"\n"])
async def test_a_last_event_without_its_blank_line_is_read(lines: bytes, stream: bool) -> None:
    last = {"choices": [{"index": 0, "delta": {"content": "lo"}, "finish_reason": "stop"}]}
    found = await output(text("Hel"), event(last).rstrip(b"\n") + lines, stream=stream)
    assert found["response"] == "Hello"


async def test_a_message_event_may_have_another_name(stream: bool) -> None:
    named = b"event: chunk\n" + event(text("Hi"))
    assert (await output(named, STOP, stream=stream))["response"] == "Hi"


async def test_content_in_parts_is_text(stream: bool) -> None:
    image = {"type": "image", "url": "x"}
    parts = [
        [{"type": "text", "text": "Hel"}],
        [{"type": "text", "text": "lo"}, image],
    ]
    found = await output(*map(text, parts), STOP, stream=stream)
    assert found["response"] == "Hello"
    content = found["meta"]["choices"][0]["message"]["content"]
    assert content == [{"type": "text", "text": "Hello"}, image]


@pytest.mark.parametrize("name", ["content", "reasoning_content"])
async def test_a_surrogate_pair_may_be_cut(name: str, stream: bool) -> None:
    halves = [{"choices": [{"delta": {name: half}}]} for half in ("a\ud83d", "\ude00b")]
    found = await output(*halves, STOP, stream=stream)
    assert found["meta"]["choices"][0]["message"][name] == "a😀b"
    assert found["response"] == ("a😀b" if name == "content" else "")


async def test_the_texts_of_a_stream_with_cut_pairs_join_to_its_response() -> None:
    parts = ["\ud83d", "\ude00", "a\ud83d", "b", "\ude00", "c\ud83d"]
    body = b"".join(event(text(part)) for part in parts) + event(STOP)
    *texts, found = await items(body, stream=True)
    assert "".join(texts) == found["response"] == "😀a\ufffdb\ufffdc\ufffd"
    "".join(texts).encode()


@pytest.mark.parametrize("mark", ["", "\ufeff", "\ufeff\n  "])
async def test_a_whole_answer_is_accepted_although_a_stream_was_asked_for(mark: str, stream: bool) -> None:
    answer = {
        "id": "1",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}}],
        "x": [1],
    }
    body = (mark + json.dumps(answer, indent=1)).encode()
    *texts, found = await items(body, stream=stream)
    assert found == {"response": "Hi", "meta": answer}
    assert texts == (["Hi"] if stream else [])


async def test_a_byte_order_mark_before_a_stream_is_skipped(stream: bool) -> None:
    assert (await output(b"\xef\xbb\xbf" + event(text("Hi")), STOP, stream=stream))["response"] == "Hi"


@pytest.mark.parametrize("place", [0, 1])
async def test_a_byte_order_mark_within_a_stream_is_skipped(place: int, stream: bool) -> None:
    parts = [event(text("Hel")), event(text("lo"))]
    parts[place] = b"\xef\xbb\xbf" + parts[place]
    assert (await output(*parts, STOP, stream=stream))["response"] == "Hello"


async def test_a_single_part_of_content_may_come_without_its_list(stream: bool) -> None:
    found = await output(text({"type": "text", "text": "Hel"}), text("lo"), STOP, stream=stream)
    assert found["response"] == "Hello"
    content = found["meta"]["choices"][0]["message"]["content"]
    assert content == [{"type": "text", "text": "Hello"}]


@pytest.mark.parametrize("order", [("0", "1"), ("1", "0"), (0, "1"), ("0", 1)])
async def test_tool_calls_with_their_index_as_text_are_joined_in_its_order(
    order: tuple[str | int, str | int], stream: bool
) -> None:
    def delta(index: str | int, arguments: str, **more: Any) -> dict[str, Any]:
        return text(None, tool_calls=[{"index": index, "function": {"arguments": arguments}, **more}])

    first, second = order
    parts = [
        delta(first, "{", id=f"call-{first}"),
        delta(second, "[", id=f"call-{second}"),
        delta(first, "}"),
        delta(str(second), "]"),
    ]
    found = await output(*parts, STOP, stream=stream)
    calls = found["meta"]["choices"][0]["message"]["tool_calls"]
    assert [call["id"] for call in calls] == ["call-0", "call-1"]
    assert {call["id"]: call["function"]["arguments"] for call in calls} == {
        f"call-{first}": "{}",
        f"call-{second}": "[]",
    }


async def test_an_absent_tool_call_is_skipped(stream: bool) -> None:
    found = await output(text("Hi", tool_calls=[None]), STOP, stream=stream)
    assert found["meta"]["choices"][0]["message"]["tool_calls"] == []


async def test_a_single_tool_call_may_come_without_its_list(stream: bool) -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    found = await output(text(None, tool_calls=call), STOP, stream=stream)
    assert found["meta"]["choices"][0]["message"]["tool_calls"] == [call]


# --- broken -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", ["", " ", "null", "None", None, 0, False, {}])
async def test_a_stream_that_ends_without_a_finish_reason_is_cut(reason: object, stream: bool) -> None:
    last = {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}
    assert await code(text("Hi"), last, stream=stream) == "PROVIDER_UNREACHABLE"


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"finish_reason": "error"}, "PROVIDER_ERROR"),
        ({"finish_reason": "abort"}, "PROVIDER_ERROR"),
        ({"finish_reason": "ERROR"}, "PROVIDER_ERROR"),
        ({"finish_reason": "network_error"}, "PROVIDER_ERROR"),
        ({"finish_reason": "cancelled"}, "PROVIDER_ERROR"),
        ({"finish_reason": "failed"}, "PROVIDER_ERROR"),
        ({"finish_reason": "timeout"}, "PROVIDER_ERROR"),
        ({"finish_reason": "insufficient_system_resource"}, "PROVIDER_ERROR"),
        ({"finish_reason": "error", "error": {"code": 502, "message": "upstream"}}, "PROVIDER_ERROR"),
        ({"finish_reason": None, "error": {"code": 429, "message": "slow down"}}, "RATE_LIMITED"),
        ({"finish_reason": "stop", "error": "broken"}, "PROVIDER_ERROR"),
    ],
)
async def test_an_error_in_a_choice_is_an_error(choice: dict[str, Any], expected: str, stream: bool) -> None:
    streamed = {"choices": [{"index": 0, "delta": {"content": ""}, **choice}]}
    assert await code(text("Hi"), streamed, DONE, stream=stream) == expected
    whole = json.dumps({"choices": [{"index": 0, "message": {"content": "Hi"}, **choice}]}).encode()
    assert await code(whole, stream=stream) == expected


@pytest.mark.parametrize("reason", ["length", "content_filter", "tool_calls", "eos_token", "stop_sequence"])
async def test_other_reasons_to_end_an_answer_are_not_errors(reason: str, stream: bool) -> None:
    last = {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}
    assert (await output(text("Hi"), last, stream=stream))["response"] == "Hi"


@pytest.mark.parametrize(
    "reported",
    [
        {"object": "error", "message": "out of memory", "type": "InternalError", "code": 500},
        {"type": "error", "message": "out of memory"},
        {"errors": [{"message": "out of memory"}]},
        {"detail": "out of memory"},
        {"code": 500, "message": "out of memory"},
        {"status": 500, "message": "out of memory"},
    ],
)
async def test_an_error_of_any_form_is_an_error_also_when_done_follows(
    reported: dict[str, Any], stream: bool
) -> None:
    for body in (event(text("Hi")) + event(reported) + DONE, json.dumps(reported).encode()):
        with pytest.raises(NeuronError, match="reported an error: out of memory") as caught:
            await items(body, stream=stream)
        assert caught.value.code == "PROVIDER_ERROR"


@pytest.mark.parametrize(
    "data", ["slow down", '{"message": "slow down", "code": 429}', '{"error": "slow down"}']
)
async def test_an_error_event_is_an_error(data: str, stream: bool) -> None:
    body = event(text("Hi")) + f"event: error\ndata: {data}\n\n".encode() + DONE
    with pytest.raises(NeuronError, match="reported an error: slow down") as caught:
        await items(body, stream=stream)
    assert caught.value.recoverable


@pytest.mark.parametrize(
    "broken",
    [
        b'data: {"choices": [{"delta": {"content": "H\n\n',
        event({"choices": [{"delta": 7}]}),
        event({"choices": 7}),
        event({"choices": ["Hi"]}),
        event(text(7)),
        event(text({})),
        event(text(True)),
        event(text("a", tool_calls=[7])),
    ],
)
async def test_a_part_that_cannot_be_read_is_malformed(broken: bytes, stream: bool) -> None:
    assert await code(text("Hi"), broken, STOP, DONE, stream=stream) == "PROVIDER_MALFORMED"


@pytest.mark.parametrize("content", [7, True, {}, 0, False])
async def test_a_whole_answer_without_text_is_malformed(content: object, stream: bool) -> None:
    body = json.dumps({"choices": [{"message": {"content": content}}]}).encode()
    assert await code(body, stream=stream) == "PROVIDER_MALFORMED"


@pytest.mark.parametrize("cut", [b'data: {"choices": [{"delta": {"content": "lo', b"data: [DON", b"da"])
async def test_a_cut_last_event_adds_nothing(cut: bytes, stream: bool) -> None:
    assert await code(text("Hel"), cut, stream=stream) == "PROVIDER_UNREACHABLE"


@pytest.mark.parametrize("body", [DONE, b"data: {}\n\n" + DONE, event({"usage": {}}) + DONE])
async def test_a_stream_without_a_choice_is_malformed(body: bytes, stream: bool) -> None:
    assert await code(body, stream=stream) == "PROVIDER_MALFORMED"


async def test_all_choices_that_were_asked_for_must_be_finished(stream: bool) -> None:
    finished = [
        {"index": index, "delta": {"content": str(index)}, "finish_reason": "stop"} for index in (0, 1)
    ]
    chunks = [event({"choices": [choice]}) for choice in finished]
    with pytest.raises(NeuronError, match="before the answer was complete"):
        await output(chunks[0], stream=stream, input={"n": 2})
    found = await output(chunks[1], chunks[0], stream=stream, input={"n": 2})
    assert found["response"] == "0"
    assert [choice["message"]["content"] for choice in found["meta"]["choices"]] == ["0", "1"]


# --- no field is lost ---------------------------------------------------------------------------------


async def test_every_field_of_a_stream_is_in_the_output(stream: bool) -> None:
    head = {"id": "1", "object": "chat.completion.chunk", "model": "m", "created": 5, "provider": "P"}

    def chunk(delta: dict[str, Any], **choice: Any) -> dict[str, Any]:
        return {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None, **choice}]}

    def fragment(**call: Any) -> list[dict[str, Any]]:
        return [{"index": 0, **call}]

    found = await output(
        chunk({"role": "assistant", "content": "", "refusal": None}, logprobs=None),
        chunk({"reasoning_content": "Let me ", "reasoning": "A"}),
        chunk({"reasoning_content": "see.", "reasoning": "B", "x_new": {"a": [1], "b": "c"}}),
        chunk({"content": "Hel"}, logprobs={"content": [{"token": "Hel"}], "refusal": None}, x_choice="y"),
        chunk({"content": "lo"}, logprobs={"content": [{"token": "lo"}], "refusal": None}),
        chunk({"annotations": [{"type": "url_citation"}], "refusal": "No"}),
        chunk({"tool_calls": fragment(id="a", type="function", function={"name": "f", "arguments": ""})}),
        chunk({"tool_calls": fragment(function={"arguments": "{}"}), "x_new": {"a": [2], "b": "d"}}),
        {**chunk({}, finish_reason="tool_calls", stop_reason=7), "service_tier": "default"},
        {**head, "choices": [], "usage": {"total_tokens": 9}, "x_head": [1, 2]},
        DONE,
        stream=stream,
    )
    message = {
        "role": "assistant",
        "content": "Hello",
        "refusal": "No",
        "reasoning_content": "Let me see.",
        "reasoning": "AB",
        "x_new": {"a": [1, 2], "b": "cd"},
        "annotations": [{"type": "url_citation"}],
        "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
    }
    choice = {
        "index": 0,
        "message": message,
        "finish_reason": "tool_calls",
        "stop_reason": 7,
        "logprobs": {"content": [{"token": "Hel"}, {"token": "lo"}], "refusal": None},
        "x_choice": "y",
    }
    meta = {
        **head,
        "object": "chat.completion",
        "service_tier": "default",
        "usage": {"total_tokens": 9},
        "x_head": [1, 2],
        "choices": [choice],
    }
    assert found == {"response": "Hello", "meta": meta}


async def test_parallel_tool_calls_with_one_index_are_two_calls(stream: bool) -> None:
    def delta(**call: Any) -> dict[str, Any]:
        return text(None, tool_calls=[{"index": 0, **call}])

    found = await output(
        delta(id="a", function={"name": "clock", "arguments": '{"zone":1}'}),
        delta(id="b", function={"name": "date", "arguments": '{"day":2}'}),
        {"choices": [{"delta": {}, "finish_reason": "tool_calls"}]},
        stream=stream,
    )
    calls = found["meta"]["choices"][0]["message"]["tool_calls"]
    assert [(call["id"], call["function"]["arguments"]) for call in calls] == [
        ("a", '{"zone":1}'),
        ("b", '{"day":2}'),
    ]


async def test_tgi_details_have_the_tokens_when_asked_for(stream: bool) -> None:
    tokens = [{"id": n, "text": text, "special": n == 2} for n, text in enumerate(["Hel", "lo", "</s>"])]
    events = [{"index": n, "token": token, "x_new": n} for n, token in enumerate(tokens)]
    events[-1] |= {"generated_text": "Hello", "details": {"finish_reason": "eos_token"}}
    body = b"".join(map(event, events))
    *texts, plain = await items(body, stream=stream, chat=False)
    details = {"finish_reason": "eos_token"}
    assert plain == {"response": "Hello", "meta": {"generated_text": "Hello", "details": details, "x_new": 2}}
    assert texts == (["Hel", "lo"] if stream else [])
    asked = {"extra": {"parameters": {"details": True}}}
    (*_, detailed) = await items(body, stream=stream, chat=False, input=asked)
    assert detailed["meta"]["details"] == {**details, "tokens": tokens}


async def test_a_tgi_answer_that_ends_with_an_error_is_an_error(stream: bool) -> None:
    last = {"token": {"text": ""}, "generated_text": "Hi", "details": {"finish_reason": "error"}}
    with pytest.raises(NeuronError, match="reported an error"):
        await items(event(last), stream=stream, chat=False)


# --- a stream on the wire -----------------------------------------------------------------------------


async def test_every_call_asks_for_a_stream_so_that_leaving_it_stops_the_provider(
    make: Make, ask: Ask, server: ChatServer, mode: dict[str, bool]
) -> None:
    server.script(Fault.stall(3))
    with pytest.raises(NeuronError) as caught:
        await ask(make(**mode, timeout=0.3))
    assert caught.value.code == "PROVIDER_TIMEOUT"
    async with asyncio.timeout(10):
        await server.disconnected.wait()
    (request,) = server.requests
    assert request.json.get("stream") or request.path == "/generate_stream"


@pytest.mark.parametrize(
    ("refusals", "sent"),
    [
        (["unknown field stream_options"], [(True, False), (True, True)]),
        (["stream_options: forbidden", "streaming is off"], [(True, False), (True, True), (False, True)]),
    ],
)
async def test_a_server_that_refuses_to_stream_is_asked_for_less(
    make: Make, ask: Ask, server: ChatServer, stream: bool, refusals: list[str], sent: list[tuple[bool, bool]]
) -> None:
    server.script(*(Fault.status(400, message=refusal) for refusal in refusals))
    found = await ask(make(stream=stream, max_retries=0))
    assert found["response"].startswith("Hello!")
    bodies = [request.json for request in server.requests]
    assert len(bodies) == len(sent)
    assert [(body["stream"], "stream_options" not in body) for body in bodies[1:]] == sent[1:]


async def test_other_refusals_are_not_sent_again(make: Make, ask: Ask, server: ChatServer) -> None:
    server.script(Fault.status(400, message="temperature is too high"))
    with pytest.raises(NeuronError, match="too high"):
        await ask(make())
    assert server.received == 1
