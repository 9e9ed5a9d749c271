"""Words as PostgreSQL's own text types write them, so that its parser has no opinion on what a word is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

# Both are PostgreSQL's: the highest place of a word, and the most places that it keeps of one.
_LAST_PLACE: Final = 16_383
_MAX_PLACES: Final = 255

_OPERATORS: Final = {"all": " & ", "any": " | "}


def as_tsvector(text: str) -> str:
    """Return words with spaces between them as a ``tsvector``, with the place of each."""
    places: dict[str, list[str]] = {}
    for place, word in enumerate(text.split(), 1):
        known = places.setdefault(word, [])
        if len(known) < _MAX_PLACES and (place <= _LAST_PLACE or not known):
            known.append(str(min(place, _LAST_PLACE)))
    return " ".join([f"{_quoted(word)}:{','.join(known)}" for word, known in places.items()])


def as_tsquery(words: Sequence[str], match: Literal["all", "any"]) -> str:
    """Return words as a ``tsquery`` that wants all of them, or any."""
    if len(words) == 1:
        return _quoted(words[0])
    # The server's stack is as deep as the query is: so both halves are as deep as each other.
    middle = len(words) // 2
    halves = as_tsquery(words[:middle], match), as_tsquery(words[middle:], match)
    return f"({_OPERATORS[match].join(halves)})"


def _quoted(word: str) -> str:
    return "'" + word.replace("\\", "\\\\").replace("'", "''") + "'"
