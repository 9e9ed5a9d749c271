"""Properties that hold for any response of a provider."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cosmo_core.errors import NeuronError
from cosmo_source_huggingface import HuggingFaceNeuron, huggingface

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    Item = str | dict[str, Any]

TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), max_size=6)
CODES = {"PROVIDER_MALFORMED", "PROVIDER_UNREACHABLE", "PROVIDER_ERROR", "INPUT_INVALID"}
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
WORDS = """choices message delta content finish_reason index tool_calls function arguments name id error code
token text special generated_text details usage model"""
KEYS = st.sampled_from(WORDS.split())
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=4)
)
ANSWERS = st.dictionaries(KEYS, VALUES, max_size=4)


class Chunks(httpx.AsyncByteStream):
    def __init__(self, chunks: list[bytes]) -> None:
        self._chunks = chunks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            yield chunk


async def answers(chunks: list[bytes], **options: Any) -> list[Item]:
    """All items that a Neuron returns or yields for a response of these chunks."""
    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=Chunks(chunks)))
    async with httpx.AsyncClient(transport=transport) as client:
        neuron = huggingface(endpoint="http://localhost", client=client, **options)
        if isinstance(neuron, HuggingFaceNeuron):
            return [await neuron({"prompt": "Hi"}, [])]
        return [item async for item in neuron({"prompt": "Hi"}, [])]


async def answers_or_code(chunks: list[bytes], **options: Any) -> list[Item] | str:
    try:
        return await answers(chunks, **options)
    except NeuronError as error:
        return error.code


def event(value: object) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\r\n\r\n"


def chat_stream(texts: list[str]) -> bytes:
    deltas = [event({"choices": [{"delta": {"content": text}}]}) for text in texts]
    end = event({"choices": [{"delta": {}, "finish_reason": "stop"}]})
    return b": hello\n\n" + b"".join(deltas) + end + b"data: [DONE]\n\n"


def tgi_stream(texts: list[str]) -> bytes:
    tokens = [event({"token": {"text": text}}) for text in texts]
    last = {"token": {"text": "</s>", "special": True}, "generated_text": "".join(texts)}
    return b"".join(tokens) + event(last)


@given(texts=TEXTS, chat=st.booleans(), data=st.data())
@settings(deadline=None)
async def test_the_answer_does_not_depend_on_where_chunks_are_cut(
    texts: list[str], chat: bool, data: st.DataObject
) -> None:
    body = chat_stream(texts) if chat else tgi_stream(texts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    chunks = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    *deltas, output = await answers(chunks, use_chat_api=chat, stream=True)
    assert deltas == [text for text in texts if text]
    assert isinstance(output, dict)
    assert output["response"] == "".join(texts)


@given(texts=TEXTS, chat=st.booleans())
@settings(max_examples=20, deadline=None)
async def test_a_stream_can_arrive_byte_by_byte(texts: list[str], chat: bool) -> None:
    body = chat_stream(texts) if chat else tgi_stream(texts)
    *deltas, _ = await answers([bytes([byte]) for byte in body], use_chat_api=chat, stream=True)
    assert deltas == [text for text in texts if text]


@given(body=st.binary(max_size=200), chat=st.booleans(), stream=st.booleans())
@settings(deadline=None)
@example(body=b"[" * 200_000, chat=True, stream=False)
@example(body=b"data: " + b"[" * 200_000 + b"\n\n", chat=True, stream=True)
@example(body=b'{"choices":[{"message":{"content":"\\ud800"}}]}', chat=True, stream=False)
@example(body=b'{"choices":[{"message":{"content":"Hi"}}],"usage":1e999}', chat=True, stream=False)
@example(body=b'{"generated_text":"Hi","details":' + b"9" * 5_000 + b"}", chat=False, stream=False)
@example(body=b"data: " + b"x" * (1 << 21), chat=False, stream=True)
async def test_any_bytes_are_an_answer_or_malformed(body: bytes, chat: bool, stream: bool) -> None:
    outcome = await answers_or_code([body], use_chat_api=chat, stream=stream)
    assert isinstance(outcome, list) or outcome == "PROVIDER_MALFORMED"


@given(values=st.lists(ANSWERS, min_size=1, max_size=3), chat=st.booleans(), stream=st.booleans())
@settings(max_examples=300, deadline=None)
async def test_any_json_is_an_answer_that_json_can_carry_or_a_known_code(
    values: list[dict[str, Any]], chat: bool, stream: bool
) -> None:
    body = b"".join(map(event, values)) + b"data: [DONE]\n\n" if stream else json.dumps(values[0]).encode()
    outcome = await answers_or_code([body], use_chat_api=chat, stream=stream)
    assert isinstance(outcome, list) or outcome in CODES
    json.dumps(outcome, allow_nan=False, ensure_ascii=False).encode()
