"""The entries of the measured stores: notes of about 300 bytes, each with a key, an id and a topic."""

from __future__ import annotations

from itertools import product
from typing import Any, Final

NOTES_PER_TOPIC: Final = 10
"""The number of notes per topic, for any size of a store."""

_STRIDE: Final = 611_953
_WORDS_EACH: Final = 32
_SYLLABLES: Final = ("ba", "de", "fi", "go", "hu", "ka", "le", "mi", "no", "pu", "ra", "se")
_WORDS: Final = ["".join(syllables) for syllables in product(_SYLLABLES, repeat=3)]
_CYCLIC_WORDS: Final = [*_WORDS, *_WORDS[:_WORDS_EACH]]


def note(number: int, *, of: int) -> dict[str, Any]:
    """Return one note of a store with ``of`` notes."""
    start = number * _STRIDE % len(_WORDS)
    text = " ".join(_CYCLIC_WORDS[start : start + _WORDS_EACH])
    return {"title": f"Note {number} on {topic_of(number, of=of)}", "text": text, "turn": number}


def key_of(number: int) -> str:
    """Return the merge key of a note."""
    return f"key-{number}"


def id_of(number: int) -> str:
    """Return the id of a note."""
    return f"note-{number}"


def topic_of(number: int, *, of: int) -> str:
    """Return the topic of a note: a word that `NOTES_PER_TOPIC` notes all over the store contain."""
    return f"topic{number % max(1, of // NOTES_PER_TOPIC)}"


def scatter(turn: int, count: int) -> int:
    """Return a number below ``count``; successive turns visit all numbers, far from one another."""
    return turn * _STRIDE % count
