from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosmo_core.errors import NeuronError
from cosmo_source_ollama.ndjson import LineParser

LINES = st.lists(st.binary(max_size=8).map(lambda line: line.replace(b"\n", b"")), max_size=6)
ENDS = st.sampled_from([b"\n", b"\r\n"])


@given(LINES, ENDS, st.booleans(), st.data())
def test_lines_are_the_same_wherever_they_are_cut(
    lines: list[bytes], end: bytes, ended: bool, data: st.DataObject
) -> None:
    body = end.join(lines) + end * ended
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    parser = LineParser()
    found = []
    for start, stop in zip([0, *cuts], [*cuts, len(body)], strict=True):
        found += parser.feed(body[start:stop])
    found += parser.end()
    assert found == [line.strip() for line in lines if line.strip()]
    assert parser.end() == []


def code_of(parser: LineParser, chunks: list[bytes]) -> str | None:
    try:
        for chunk in chunks:
            parser.feed(chunk)
    except NeuronError as error:
        return error.code
    return None


@given(st.lists(st.binary(max_size=12), max_size=8))
def test_a_line_longer_than_the_bound_and_nothing_else_is_refused(chunks: list[bytes]) -> None:
    longest = max(map(len, b"".join(chunks).split(b"\n")))
    expected = "PROVIDER_MALFORMED" if longest > 10 else None
    assert code_of(LineParser(max_line_bytes=10), chunks) == expected


def test_a_line_as_long_as_the_bound_is_taken() -> None:
    parser = LineParser(max_line_bytes=3)
    assert parser.feed(b"abc\nab") == [b"abc"]
    with pytest.raises(NeuronError, match="longer than 3 bytes"):
        parser.feed(b"cd")
