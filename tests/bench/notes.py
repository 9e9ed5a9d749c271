"""The entries that stores are filled with: notes of some 300 bytes, each with a key, an id and a topic."""

from __future__ import annotations

from itertools import product
from typing import Any, Final

ON_A_TOPIC: Final = 10
"""How many notes of a full store are on one topic, whatever its size."""

_STRIDE: Final = 611_953
_WORDS_EACH: Final = 32
_SYLLABLES: Final = ("ba", "de", "fi", "go", "hu", "ka", "le", "mi", "no", "pu", "ra", "se")
_WORDS: Final = ["".join(syllables) for syllables in product(_SYLLABLES, repeat=3)]
_AROUND: Final = [*_WORDS, *_WORDS[:_WORDS_EACH]]


def note(number: int, *, of: int) -> dict[str, Any]:
    """Return a note of a store that has ``of`` of them."""
    start = number * _STRIDE % len(_WORDS)
    text = " ".join(_AROUND[start : start + _WORDS_EACH])
    return {"title": f"Note {number} on {topic_of(number, of=of)}", "text": text, "turn": number}


def key_of(number: int) -> str:
    """Return the merge key of a note."""
    return f"key-{number}"


def id_of(number: int) -> str:
    """Return the id that a note is stored under."""
    return f"note-{number}"


def topic_of(number: int, *, of: int) -> str:
    """Return the one word of a note that `ON_A_TOPIC` notes have, all over the store."""
    return f"topic{number % max(1, of // ON_A_TOPIC)}"


def scattered(turn: int, count: int) -> int:
    """Return a number below ``count``: all of them in turn, far from one another."""
    return turn * _STRIDE % count
