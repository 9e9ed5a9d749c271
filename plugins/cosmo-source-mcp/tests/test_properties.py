"""Properties that hold for anything that a server sends."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import httpx2
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cosmo_core.errors import NeuronError
from cosmo_llm import Secrets
from cosmo_source_mcp import codes
from cosmo_source_mcp.calls import LIST_TOOLS, Call, read_call
from cosmo_source_mcp.http import CheckedEvents
from cosmo_source_mcp.options import McpOptions
from cosmo_source_mcp.schema import mismatch
from cosmo_source_mcp.stdio import OversizedLine, error_for, parse_line, read_line

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LIMIT = 300
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)
LINES = st.lists(st.binary(max_size=3 * LIMIT).map(lambda line: line.replace(b"\n", b"")), max_size=5)


def cut(data: st.DataObject, body: bytes) -> list[bytes]:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    return [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]


@given(lines=LINES, data=st.data())
@settings(deadline=None)
async def test_lines_are_read_whole_or_by_their_ends_for_any_chunks(
    lines: list[bytes], data: st.DataObject
) -> None:
    stream = asyncio.StreamReader(limit=LIMIT)
    for chunk in cut(data, b"".join(line + b"\n" for line in lines)):
        stream.feed_data(chunk)
    stream.feed_eof()
    for line in lines:
        read = await read_line(stream)
        if isinstance(read, OversizedLine):
            assert len(line) >= LIMIT
            assert line.startswith(read.head[: len(line)])
            assert (line + b"\n").endswith(read.tail)
            assert len(read.tail) == min(256, len(line) + 1)
        else:
            assert read == line + b"\n"
            assert len(line) <= LIMIT
    assert await read_line(stream) is None


@given(line=st.binary(max_size=200))
@example(line=b"[" * 100_000)
@example(line=b'{"jsonrpc":"2.0","id":1,"result":{"x":' + b"9" * 5_000 + b"}}")
def test_any_line_can_be_parsed(line: bytes) -> None:
    parse_line(line)


@given(
    id=st.integers(0, 10**17), result=st.dictionaries(st.text(max_size=5), JSON, max_size=3), data=st.data()
)
def test_answer_is_recognised_by_its_ends(id: int, result: dict[str, Any], data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["result", "error"]))
    separators = data.draw(st.sampled_from([(",", ":"), (", ", ": ")]))
    version = {"jsonrpc": "2.0"}
    for answer in ({**version, "id": id, kind: result}, {kind: result, **version, "id": id}):
        line = json.dumps(answer, separators=separators).encode() + b"\n"
        error = error_for(line[:256], line[-256:], codes.TOO_LARGE)
        assert error is not None
        assert (error.id, error.error.code) == (id, codes.TOO_LARGE)


@given(id=st.integers(0, 99), params=st.dictionaries(st.text(max_size=5), JSON, max_size=3))
def test_request_or_notification_is_not_recognised_as_an_answer(id: int, params: dict[str, Any]) -> None:
    version = {"jsonrpc": "2.0"}
    for message in (
        {**version, "id": id, "method": "ping", "params": params},
        {**version, "method": "notify", "params": {**params, "id": id}},
        {"method": "ping", "params": params, **version, "id": id},
        {"result": {**params, "id": id}},
    ):
        line = json.dumps(message).encode() + b"\n"
        found = error_for(line[:256], line[-256:], codes.TOO_LARGE)
        assert found is None


@given(
    messages=st.lists(st.dictionaries(st.text(max_size=5), JSON, max_size=3), max_size=4),
    ends=st.sampled_from(["\n", "\r\n", "\r"]),
    data=st.data(),
)
@settings(deadline=None)
async def test_events_pass_in_one_form_for_any_chunks(
    messages: list[dict[str, Any]], ends: str, data: st.DataObject
) -> None:
    answers = [json.dumps({"jsonrpc": "2.0", "id": n, "result": result}) for n, result in enumerate(messages)]
    events = [f"event: message{ends}id: {n}{ends}data: {answer}" for n, answer in enumerate(answers)]
    # A byte order mark, a comment, an event of another type, and the last event without an empty line.
    ping = f"event: ping{ends}data: now"
    body = ("\ufeff" + (2 * ends).join([": hello", *events[:-1], ping, *events[-1:]])).encode()

    async def chunks() -> AsyncIterator[bytes]:
        for chunk in cut(data, body):
            yield chunk

    checked = CheckedEvents(httpx2.Response(200, content=chunks()), Secrets([]))
    expected = "".join(f"id: {n}\ndata: {answer}\n\n" for n, answer in enumerate(answers))
    assert b"".join([chunk async for chunk in checked]).decode() == expected


@given(
    secrets=st.lists(st.text("ABC123", min_size=4, max_size=9), max_size=4),
    pieces=st.lists(st.text("ABC123 .", max_size=12) | st.integers(0, 3), max_size=9),
)
def test_quote_does_not_show_a_secret(secrets: list[str], pieces: list[str | int]) -> None:
    text = "".join(
        piece if isinstance(piece, str) else secrets[piece] if piece < len(secrets) else ""
        for piece in pieces
    )
    kept = McpOptions.parse(
        {"command": "x", "env": {f"V{n}": secret for n, secret in enumerate(secrets)}}
    ).secrets
    for quote in (kept.quote(text), kept.quote_end(text, cut=False), kept.quote_end(text, cut=True)):
        assert not any(secret in quote for secret in secrets)
        assert len(quote) <= 500


WORDS = "type properties required items $ref $defs $schema enum const pattern minimum allOf not if format"
SCHEMAS = st.recursive(
    LEAVES | st.sampled_from(["object", "integer", "string", "#", "#/$defs/a", "[", "http://x/", "a"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from([*WORDS.split(), "a"]), inner, max_size=3)
    ),
)


@given(
    schema=st.dictionaries(st.sampled_from([*WORDS.split(), "a"]), SCHEMAS, max_size=4),
    arguments=st.dictionaries(st.sampled_from(["a", "b"]), JSON, max_size=2),
)
@settings(max_examples=500, deadline=None)
@example(schema={"$ref": "#"}, arguments={})
@example(schema={"properties": {"a": {"pattern": "["}}}, arguments={"a": "x"})
@example(schema={"$schema": []}, arguments={})
def test_any_schema_can_be_checked(schema: dict[str, Any], arguments: dict[str, Any]) -> None:
    found = mismatch(arguments, schema, "arguments")
    assert found is None or found.endswith(")")


KEYS = st.sampled_from(
    ["tool", "resource", "prompt", "arguments", "list_tools", "clarifications", LIST_TOOLS, "x"]
)


@given(input=st.dictionaries(KEYS, JSON, max_size=4), bound=st.sampled_from([None, "add"]))
def test_any_input_is_a_call_or_invalid(input: dict[str, Any], bound: str | None) -> None:
    before = json.dumps(input)
    outcome = call_or_code(input, bound)
    assert outcome == "INPUT_INVALID" or isinstance(outcome, Call)
    assert json.dumps(input) == before


def call_or_code(input: dict[str, Any], bound: str | None) -> Call | str:
    try:
        return read_call(input, bound)
    except NeuronError as error:
        return error.code
