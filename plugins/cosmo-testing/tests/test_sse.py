from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosmo_core.errors import NeuronError
from cosmo_llm.sse import ServerSentEvent, SSEParser

BOM = b"\xef\xbb\xbf"
FIELDS = [b"data", b"event", b"id", b":", b" ", b"x", b"\xff", b"\xc3\xa9", BOM]
PIECES = st.sampled_from([*FIELDS, b"\n", b"\r", b"\r\n", b"\n\n"])
STREAMS = st.lists(PIECES | st.binary(max_size=3), max_size=30).map(b"".join)


def reference(stream: bytes) -> list[ServerSentEvent]:
    """The HTML standard, word for word, on the whole stream at once."""
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
def test_events_are_the_same_wherever_the_stream_is_cut(stream: bytes, cuts: list[int]) -> None:
    bounds = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    chunks = [stream[start:end] for start, end in pairwise(bounds)]
    assert feed_all(SSEParser(), chunks) == reference(stream)


@given(STREAMS)
def test_a_stream_may_come_byte_by_byte(stream: bytes) -> None:
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
def test_the_standards_cases(stream: bytes, events: list[tuple[str, str]]) -> None:
    assert SSEParser().feed(stream) == events


@pytest.mark.parametrize("stream", [b"x" * 101, b"data: 0123456789\n" * 7, b": " + b"x" * 100])
@pytest.mark.parametrize("size", [1, 1_000])
def test_an_event_is_bounded_however_it_comes(stream: bytes, size: int) -> None:
    chunks = [stream[start : start + size] for start in range(0, len(stream), size)]
    with pytest.raises(NeuronError, match="100 bytes") as caught:
        feed_all(SSEParser(max_event_bytes=100), chunks)
    assert caught.value.code == "PROVIDER_MALFORMED"


def test_the_bound_is_on_one_event_not_on_the_stream() -> None:
    parser = SSEParser(max_event_bytes=20)
    for _ in range(100):
        assert parser.feed(b": keep-alive\ndata: ten bytes\n\n") == [ServerSentEvent("ten bytes")]
