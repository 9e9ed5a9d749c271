"""Telling a Neuron's own text from the data it quotes, inside one plain string.

While a prompt is composed whose text is not taken as it is (its variables resolve, or imitated tags are
escaped), `data` puts a value between two marks. The marks are made of Unicode noncharacters, which are
reserved for use inside a program, and made anew by every process: no data can imitate them. They are gone
before anyone sees the prompt.
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
# Every mark starts with it. 30 digits, 12 of them: nobody guesses it.
_KEY: Final = "".join(chr(0xFDD2 + digit % 30) for digit in secrets.token_bytes(12))
_OPEN: Final = _KEY + _BEGINS
_CLOSE: Final = _KEY + _ENDS
# The first piece may have the rest of a mark that a Neuron cut.
_BEGUN: Final = re.compile(f"[\ufdd2-\ufdef]*{_BEGINS}")
_NONCHARACTERS: Final = re.compile("[\ufdd0-\ufdef]+")

_mark: ContextVar[Mark] = ContextVar("cosmo_context_mark", default=format)


@attrs.frozen(slots=True)
class Part:
    """A piece of a fragment.

    Attributes:
        text: What it says.
        own: Whether the Neuron says it; otherwise it is quoted data.
    """

    text: str
    own: bool


def data(value: Any) -> str:
    """Return a value as text, known as data: no variable in it resolves, and an imitated tag can be escaped.

    For the f-strings of a context Neuron: ``f"<weather>{data(weather)}</weather>"``. A Neuron that uses it
    uses it for all that it quotes, and last, after ``repr`` or ``json.dumps``: the rest is its own text.
    """
    return _mark.get()(value)


def marker() -> Mark:
    """Return what `data` calls now, for those who call it often."""
    return _mark.get()


@contextmanager
def marking() -> Iterator[None]:
    """Within it, `data` leaves its marks."""
    token = _mark.set(_marked)
    try:
        yield
    finally:
        _mark.reset(token)


def parts(fragment: str) -> list[Part] | None:
    """Take a marked fragment apart; None when it has no marks."""
    if _KEY not in fragment:
        return None
    pieces = fragment.split(_KEY)
    # After a beginning and before an end there is data, also when a Neuron cut off the other of the two.
    marked = [
        Part(unmarked(piece), own=following.startswith(_BEGINS) and not _BEGUN.match(piece))
        for piece, following in pairwise([*pieces, _BEGINS])
    ]
    return [part for part in marked if part.text]


def unmarked(text: str) -> str:
    """Return a text without marks."""
    return text if text.isascii() else _NONCHARACTERS.sub("", text)


def _marked(value: Any) -> str:
    # A value that was marked already loses its marks: all of it is data.
    return f"{_OPEN}{unmarked(format(value))}{_CLOSE}"
