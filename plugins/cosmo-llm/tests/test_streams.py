"""The parsers of streamed answers: server-sent events and JSON lines."""

from __future__ import annotations

import json
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosmo_core.errors import NeuronError
from cosmo_llm.streams import LineParser, ServerSentEvent, SSEParser

BOM = b"\xef\xbb\xbf"
FIELDS = [b"data", b"event", b"id", b":", b" ", b"x", b"\xff", b"\xc3\xa9", BOM]
PIECES = st.sampled_from([*FIELDS, b"\n", b"\r", b"\r\n", b"\n\n"])
STREAMS = st.lists(PIECES | st.binary(max_size=3), max_size=30).map(b"".join)
LINES = st.lists(st.binary(max_size=8).map(lambda line: line.replace(b"\n", b"")), max_size=6)
ENDS = st.sampled_from([b"\n", b"\r\n"])


# --- server-sent events -------------------------------------------------------------------------------


def reference(stream: bytes) -> list[ServerSentEvent]:
    """The algorithm of the HTML standard, on the whole stream at once."""
    events: list[ServerSentEvent] = []
    data: list[str] = []
    kind = ""
    *lines, _ = re.split(rb"\r\n|\n|\r", stream.removeprefix(BOM))
    for line in lines:
        name, _, value = line.decode(errors="replace").partition(":")
        value = value.removeprefix(" ")
        if line == b"":
            if data:
                events.append(ServerSentEvent("\n".join(data), kind or "message"))
            data, kind = [], ""
        elif name == "data":
            data.append(value)
        elif name == "event":
            kind = value
    return events


def feed_all(parser: SSEParser, chunks: list[bytes]) -> list[ServerSentEvent]:
    return [event for chunk in chunks for event in parser.feed(chunk)]


@given(STREAMS, st.lists(st.integers(0, 100), max_size=6))
def test_events_do_not_depend_on_where_the_stream_is_cut(stream: bytes, cuts: list[int]) -> None:
    bounds = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    chunks = [stream[start:end] for start, end in pairwise(bounds)]
    assert feed_all(SSEParser(), chunks) == reference(stream)


@given(STREAMS)
def test_a_stream_can_arrive_byte_by_byte(stream: bytes) -> None:
    assert feed_all(SSEParser(), [bytes([byte]) for byte in stream]) == reference(stream)


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: one\n\n", [("one", "message")]),
        (b"data:one\r\rdata:two\r\n\r\n", [("one", "message"), ("two", "message")]),
        (b"data: one\ndata: two\n\n", [("one\ntwo", "message")]),
        (b"event: error\ndata: {}\n\n", [("{}", "error")]),
        (b": comment\nid: 7\nretry: 1\ndata\n\n", [("", "message")]),
        (b"event: nothing\n\n\n\n", []),
        (b"data: never finished\n", []),
        (b"data:  two spaces\n\n", [(" two spaces", "message")]),
    ],
)
def test_cases_of_the_standard(stream: bytes, events: list[tuple[str, str]]) -> None:
    assert SSEParser().feed(stream) == events


def test_a_byte_order_mark_is_skipped() -> None:
    # httpx-sse reads the first field as U+FEFF followed by "data", and loses the event.
    assert SSEParser().feed(BOM + b"data: one\n\n") == [ServerSentEvent("one")]


def test_an_event_is_complete_when_its_last_cr_arrives() -> None:
    # httpx-sse keeps the last CR until it knows whether LF follows: a stream that pauses here is late.
    assert SSEParser().feed(b"data: one\r\r") == [ServerSentEvent("one")]


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_the_end_of_a_stream_ends_its_last_event(end: bytes) -> None:
    parser = SSEParser()
    assert parser.feed(b"data: one\n\nevent: x\ndata: two" + end) == [ServerSentEvent("one")]
    assert parser.end() == [ServerSentEvent("two", "x")]
    assert parser.end() == []


def test_a_byte_order_mark_before_lines_is_skipped() -> None:
    parser = LineParser()
    assert parser.feed(BOM + b"{}\n" + BOM) == [b"{}"]
    assert parser.end() == [BOM]


@pytest.mark.parametrize("stream", [b"x" * 101, b"data: 0123456789\n" * 7, b": " + b"x" * 100])
@pytest.mark.parametrize("size", [1, 1_000])
def test_an_event_is_bounded_however_it_comes(stream: bytes, size: int) -> None:
    # httpx-sse holds an event of any size.
    chunks = [stream[start : start + size] for start in range(0, len(stream), size)]
    with pytest.raises(NeuronError, match="100 bytes") as caught:
        feed_all(SSEParser(max_event_bytes=100), chunks)
    assert caught.value.code == "PROVIDER_MALFORMED"


def test_the_limit_applies_to_one_event_not_to_the_stream() -> None:
    parser = SSEParser(max_event_bytes=20)
    for _ in range(100):
        assert parser.feed(b": keep-alive\ndata: ten bytes\n\n") == [ServerSentEvent("ten bytes")]


# --- JSON lines ---------------------------------------------------------------------------------------


@given(LINES, ENDS, st.booleans(), st.data())
def test_lines_do_not_depend_on_where_the_stream_is_cut(
    lines: list[bytes], end: bytes, ended: bool, data: st.DataObject
) -> None:
    body = end.join(lines) + end * ended
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    parser = LineParser()
    found = []
    for start, stop in zip([0, *cuts], [*cuts, len(body)], strict=True):
        found += parser.feed(body[start:stop])
    found += parser.end()
    first = [line.removeprefix(b"\xef\xbb\xbf") for line in lines[:1]]
    assert found == [line.strip() for line in [*first, *lines[1:]] if line.strip()]
    assert parser.end() == []


def test_only_a_line_feed_ends_a_line() -> None:
    # httpx's `aiter_lines` also ends a line at these characters, inside a string of JSON.
    text = "\x85 \u2028 \u2029"
    line = json.dumps({"content": text}, ensure_ascii=False).encode()
    (found,) = LineParser().feed(line + b"\n")
    assert json.loads(found) == {"content": text}


def code_of(parser: LineParser, chunks: list[bytes]) -> str | None:
    try:
        for chunk in chunks:
            parser.feed(chunk)
    except NeuronError as error:
        return error.code
    return None


@given(st.lists(st.binary(max_size=12), max_size=8))
def test_a_line_is_bounded_however_it_comes(chunks: list[bytes]) -> None:
    # httpx's `aiter_lines` holds a line of any size.
    longest = max(map(len, b"".join(chunks).split(b"\n")))
    expected = "PROVIDER_MALFORMED" if longest > 10 else None
    assert code_of(LineParser(max_line_bytes=10), chunks) == expected


def test_a_line_as_long_as_the_limit_is_accepted() -> None:
    parser = LineParser(max_line_bytes=3)
    assert parser.feed(b"abc\nab") == [b"abc"]
    with pytest.raises(NeuronError, match="longer than 3 bytes"):
        parser.feed(b"cd")
