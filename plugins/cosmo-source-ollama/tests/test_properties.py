"""Properties that hold for any response of a server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cosmo_core.errors import NeuronError
from cosmo_source_ollama import OllamaNeuron, ollama

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    Item = str | dict[str, Any]

TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), max_size=6)
CODES = {"PROVIDER_MALFORMED", "PROVIDER_UNREACHABLE", "PROVIDER_ERROR"}
WORDS = "message content role thinking tool_calls logprobs done done_reason error model response eval_count"
KEYS = st.sampled_from(WORDS.split())
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=4)
)
MESSAGES = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(["content", "thinking"], st.text(max_size=3) | VALUES)
)
PARTS = st.fixed_dictionaries(
    {"message": MESSAGES | VALUES}, optional={"done": st.booleans(), "error": VALUES}
)
ANSWERS = PARTS | st.dictionaries(KEYS, VALUES, max_size=4)


class Chunks(httpx.AsyncByteStream):
    def __init__(self, chunks: list[bytes]) -> None:
        self._chunks = chunks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            yield chunk


async def answers(chunks: list[bytes], *, stream: bool) -> list[Item]:
    """All items that a Neuron returns or yields for a response of these chunks."""
    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=Chunks(chunks)))
    async with httpx.AsyncClient(transport=transport) as client:
        neuron = ollama(model="llama3", client=client, stream=stream)
        if isinstance(neuron, OllamaNeuron):
            return [await neuron({"prompt": "Hi"}, [])]
        return [item async for item in neuron({"prompt": "Hi"}, [])]


async def answers_or_code(chunks: list[bytes], *, stream: bool) -> list[Item] | str:
    try:
        return await answers(chunks, stream=stream)
    except NeuronError as error:
        return error.code


def line(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"


def streamed(texts: list[str], end: bytes) -> bytes:
    parts = [line({"message": {"role": "assistant", "content": text}, "done": False}) for text in texts]
    last = line({"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"})
    return b"".join([*parts, last]).removesuffix(b"\n") + end


@given(TEXTS, st.sampled_from([b"", b"\n", b"\r\n\r\n"]), st.data())
@settings(deadline=None)
async def test_the_answer_does_not_depend_on_where_chunks_are_cut(
    texts: list[str], end: bytes, data: st.DataObject
) -> None:
    body = streamed(texts, end)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    chunks = [body[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    *deltas, output = await answers(chunks, stream=True)
    assert deltas == [text for text in texts if text]
    assert isinstance(output, dict)
    assert output["response"] == "".join(texts)
    assert output["meta"]["message"]["content"] == "".join(texts)


@given(TEXTS)
@settings(max_examples=20, deadline=None)
async def test_a_stream_can_arrive_byte_by_byte(texts: list[str]) -> None:
    *deltas, _ = await answers([bytes([byte]) for byte in streamed(texts, b"\n")], stream=True)
    assert deltas == [text for text in texts if text]


@given(body=st.binary(max_size=200), stream=st.booleans())
@settings(deadline=None)
@example(body=b"[" * 200_000, stream=False)
@example(body=b"[" * 200_000 + b"\n", stream=True)
@example(body=b'{"message":{"content":"\\ud800"},"done":true}', stream=False)
@example(body=b'{"message":{"content":"Hi"},"done":true,"eval_count":1e999}', stream=True)
@example(body=b'{"message":{"content":"Hi"},"done":true,"eval_count":' + b"9" * 5_000 + b"}", stream=True)
@example(body=b"x" * (1 << 21), stream=True)
async def test_any_bytes_are_an_answer_or_malformed(body: bytes, stream: bool) -> None:
    outcome = await answers_or_code([body], stream=stream)
    assert isinstance(outcome, list) or outcome == "PROVIDER_MALFORMED"


@given(parts=st.lists(ANSWERS, min_size=1, max_size=3), stream=st.booleans())
@settings(max_examples=300, deadline=None)
async def test_any_json_is_an_answer_that_json_can_carry_or_a_known_code(
    parts: list[dict[str, Any]], stream: bool
) -> None:
    outcome = await answers_or_code([b"".join(map(line, parts if stream else parts[:1]))], stream=stream)
    assert isinstance(outcome, list) or outcome in CODES
    json.dumps(outcome, allow_nan=False, ensure_ascii=False).encode()
