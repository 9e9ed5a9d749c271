"""What counts as a word, in an entry and in a query alike: every Engram finds the same.

Case, accents and compatible forms make no difference. Where a script has no spaces between its words, as
Chinese and Japanese, each character counts as one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any, Final

MAX_WORD: Final = 64
"""Characters of a word that count."""

MAX_INDEXED_BYTES: Final = 256 * 1024
"""Bytes of words, in UTF-8, by which an entry can be found; what comes after that cannot."""

_ACCENTS: Final = dict.fromkeys(range(0x0300, 0x0370))
_UNSPACED: Final = "\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
# Vowel signs and the like, without which the letters around them would be words of their own.
_SIGNS: Final = (
    "\u0591-\u05bd\u0610-\u061a\u064b-\u065f\u0900-\u0903\u093a-\u094f\u0951-\u0957\u0962\u0963\u0981-\u0dff"
    "\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ece\u0f71-\u0f84\u102b-\u103e\u17b4-\u17d3"
)
_WORD: Final = re.compile(f"[{_UNSPACED}]|(?:[^\\W_{_UNSPACED}]|[{_SIGNS}])+")
_SEPARATE: Final = frozenset({"id", "embedding"})


def words_in(text: str) -> list[str]:
    """Return the words of a text, folded, in their order; each of `MAX_WORD` characters at most."""
    if text.isascii():
        return [word[:MAX_WORD] for word in _WORD.findall(text.lower())]
    plain = unicodedata.normalize("NFKD", text.casefold()).translate(_ACCENTS)
    # Once more: what was decomposed may have a case again.
    folded = unicodedata.normalize("NFC", plain.casefold())
    return [word[:MAX_WORD] for word in _WORD.findall(folded)]


def text_of(entry: Mapping[str, Any]) -> str:
    """Return the words by which an entry can be found, with spaces between them.

    They are those of all its texts, at whatever depth, but for its ``id`` and the names of its keys.
    """
    words: list[str] = []
    left = MAX_INDEXED_BYTES
    for text in _texts({key: value for key, value in entry.items() if key not in _SEPARATE}):
        for word in words_in(text):
            left -= len(word.encode()) + 1
            if left < 0:
                return " ".join(words)
            words.append(word)
    return " ".join(words)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
