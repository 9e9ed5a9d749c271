"""Finding the frames in a file: JSON lines, one JSON document, or a list of Signals."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain
from typing import BinaryIO

import attrs


@attrs.frozen
class Frame:
    """What may be a Signal.

    Attributes:
        place: Where it is: its line, or its place in a list.
        data: Its bytes.
    """

    place: str
    data: bytes


def frames(file: BinaryIO) -> Iterator[Frame]:
    """Yield the frames of a file; lines are read one by one.

    If the first line is no JSON by itself, or a list, it begins a document; where there is no document
    either, each line is taken for a frame that may be wrong.
    """
    lines = ((number, line) for number, line in enumerate(file, 1) if line.strip())
    first = next(lines, None)
    if first is None:
        return
    if isinstance(_parsed(first[1]), dict):
        yield from _lines(chain([first], lines))
        return
    rest = [first, *lines]
    document = _parsed(b"".join(line for _, line in rest))
    if isinstance(document, list):
        for place, item in enumerate(document):
            yield Frame(f"[{place}]", json.dumps(item).encode())
    elif isinstance(document, dict):
        yield Frame(str(first[0]), b"".join(line for _, line in rest))
    else:
        yield from _lines(iter(rest))


def _lines(lines: Iterator[tuple[int, bytes]]) -> Iterator[Frame]:
    for number, line in lines:
        yield Frame(str(number), line)


def _parsed(text: bytes) -> object:
    """Return what JSON it is; None if it is none, or nested so deeply that no Signal is."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
