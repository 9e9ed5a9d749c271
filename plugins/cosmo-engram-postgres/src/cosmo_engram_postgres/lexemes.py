"""Words as literals of PostgreSQL's text search types, so that its parser does not split or change them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

# PostgreSQL's limits: the highest position of a word, and the most positions of one word.
_LAST_POSITION: Final = 16_383
_MAX_POSITIONS: Final = 255

_OPERATORS: Final = {"all": " & ", "any": " | "}


def as_tsvector(text: str) -> str:
    """Return space-separated words as a ``tsvector`` with their positions."""
    positions: dict[str, list[str]] = {}
    for position, word in enumerate(text.split(), 1):
        known = positions.setdefault(word, [])
        if len(known) < _MAX_POSITIONS and (position <= _LAST_POSITION or not known):
            known.append(str(min(position, _LAST_POSITION)))
    return " ".join([f"{_quoted(word)}:{','.join(known)}" for word, known in positions.items()])


def as_tsquery(words: Sequence[str], match: Literal["all", "any"]) -> str:
    """Return words as a ``tsquery`` that needs all of them, or any of them."""
    if len(words) == 1:
        return _quoted(words[0])
    # The server's stack depth grows with the depth of the query, so the query is a balanced tree.
    middle = len(words) // 2
    halves = as_tsquery(words[:middle], match), as_tsquery(words[middle:], match)
    return f"({_OPERATORS[match].join(halves)})"


def _quoted(word: str) -> str:
    return "'" + word.replace("\\", "\\\\").replace("'", "''") + "'"
