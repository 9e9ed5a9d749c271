"""Marks for quoted data, which separate it from a Neuron's own text within one string.

If a builder resolves variables or escapes tags, `data` puts a value between two marks while the prompt is
composed. The marks consist of Unicode noncharacters, which are reserved for use inside a program, and are
random for each process, so that data cannot imitate them. They are removed before the prompt is returned.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import pairwise
from typing import Any, Final

import attrs

Mark = Callable[[Any], str]

_BEGINS: Final = "\ufdd0"
_ENDS: Final = "\ufdd1"
# The start of every mark: 12 random digits of base 30, which cannot be guessed.
_KEY: Final = "".join(chr(0xFDD2 + digit % 30) for digit in secrets.token_bytes(12))
_OPEN: Final = _KEY + _BEGINS
_CLOSE: Final = _KEY + _ENDS
# The first piece may start with the rest of a mark that a Neuron cut.
_BEGUN: Final = re.compile(f"[\ufdd2-\ufdef]*{_BEGINS}")
_NONCHARACTERS: Final = re.compile("[\ufdd0-\ufdef]+")

_mark: ContextVar[Mark] = ContextVar("cosmo_context_mark", default=format)


@attrs.frozen(slots=True)
class Part:
    """A part of a fragment.

    Attributes:
        text: The text.
        own: Whether it is the Neuron's own text; otherwise it is quoted data.
    """

    text: str
    own: bool


def data(value: Any) -> str:
    """Return a value as text that is marked as data, so that it is not resolved and can be escaped.

    For the f-strings of a context Neuron: ``f"<weather>{data(weather)}</weather>"``. A Neuron that uses it
    must use it for all values that it quotes, after ``repr`` or ``json.dumps``. All other text counts as its
    own.
    """
    return _mark.get()(value)


def marker() -> Mark:
    """Return the function that `data` calls at this moment. It is faster for many values."""
    return _mark.get()


@contextmanager
def marking() -> Iterator[None]:
    """A context manager within which `data` marks values."""
    token = _mark.set(_marked)
    try:
        yield
    finally:
        _mark.reset(token)


def parts(fragment: str) -> list[Part] | None:
    """Split a marked fragment into its parts; None if it has no marks."""
    if _KEY not in fragment:
        return None
    pieces = fragment.split(_KEY)
    # The text after an opening or before a closing mark is data, even if a Neuron cut off the other mark.
    marked = [
        Part(unmarked(piece), own=following.startswith(_BEGINS) and not _BEGUN.match(piece))
        for piece, following in pairwise([*pieces, _BEGINS])
    ]
    return [part for part in marked if part.text]


def unmarked(text: str) -> str:
    """Return a text with the marks removed."""
    return text if text.isascii() else _NONCHARACTERS.sub("", text)


def _marked(value: Any) -> str:
    # Marks inside the value are removed, since all of it is data.
    return f"{_OPEN}{unmarked(format(value))}{_CLOSE}"
