"""Rules for entries that all Engrams share: which words an entry has, and how two entries merge."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

MAX_WORD: Final = 64
"""Longest word, in characters; a longer word is cut to this length."""

MAX_INDEXED_BYTES: Final = 256 * 1024
"""Most text per entry that a search can find, in UTF-8 bytes of its words; later words are not indexed."""

# Marks that many writers leave out: accents, the points of Hebrew and Syriac, the vowels of Arabic.
_OPTIONAL: Final = (
    "\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u0640\u064b-\u065f"
    "\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed\u0711\u0730-\u074a\u0816-\u0819\u081b-\u0823"
    "\u0825-\u0827\u0829-\u082d\u0898-\u089f\u08ca-\u08e1\u08e3-\u08ff\u0951-\u0954\u1ab0-\u1ace\u1cd0-\u1ce8"
    "\u1dc0-\u1dff\u20d0-\u20f0\u302a-\u302f\ufb1e\ufe20-\ufe2f"
)
# Characters without a width, such as soft hyphens, joiners and marks of direction. U+200B is not one of
# them, since it separates words.
_INVISIBLE: Final = (
    "\u00ad\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200c-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_IGNORED: Final = re.compile(f"[{_OPTIONAL}{_INVISIBLE}]+")
# Letters of pointed texts that stand for others: the alef of the Arabic article, and the digraphs of Yiddish.
_LETTERS: Final = {
    0x0671: "\u0627",
    0x05F0: "\u05d5\u05d5",
    0x05F1: "\u05d5\u05d9",
    0x05F2: "\u05d9\u05d9",
}
_UNSPACED: Final = "\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
# Vowel signs and similar marks. Without them, each consonant between two signs would be a word of its own.
_SIGNS: Final = (
    "\u0900-\u0903\u093a-\u094f\u0955-\u0957\u0962\u0963\u0981-\u0dff"
    "\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ece\u0f71-\u0f84\u102b-\u103e\u17b4-\u17d3"
)
_WORD: Final = re.compile(f"[{_UNSPACED}]|(?:[^\\W_{_UNSPACED}]|[{_SIGNS}])+")
_NOT_SEARCHED: Final = frozenset({"id", "embedding"})


def words_in(text: str) -> list[str]:
    """Return the words of ``text`` in order, normalized, each cut to `MAX_WORD` characters.

    Normalizing removes differences of case, of accents and of compatible forms (NFKD), and the points and
    vowel marks that Hebrew and Arabic are written with or without. Characters without a width, such as soft
    hyphens and joiners, are ignored. In scripts without spaces between words, such as Chinese and Japanese,
    each character is a word.
    """
    if text.isascii():
        return [word[:MAX_WORD] for word in _WORD.findall(text.lower())]
    plain = _IGNORED.sub("", unicodedata.normalize("NFKD", text.casefold()))
    # Decomposing can bring up characters that have a case, so the case is folded a second time.
    folded = unicodedata.normalize("NFC", plain.casefold().translate(_LETTERS))
    return [word[:MAX_WORD] for word in _WORD.findall(folded)]


def text_of(entry: Mapping[str, Any]) -> str:
    """Return the searchable words of ``entry``, joined by spaces, `MAX_INDEXED_BYTES` of them at most.

    They come from every string value of the entry, nested ones included, except its ``id``. The names of keys
    are not searchable.
    """
    words: list[str] = []
    left = MAX_INDEXED_BYTES
    for text in _strings({key: value for key, value in entry.items() if key not in _NOT_SEARCHED}):
        for word in words_in(text):
            left -= len(word.encode()) + 1
            if left < 0:
                return " ".join(words)
            words.append(word)
    return " ".join(words)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _strings(item)


def merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``old`` with ``new`` merged into it; neither argument is changed.

    Objects are merged key by key. Of two lists, the items of ``new`` that ``old`` lacks are appended. For
    every other value, ``new`` replaces ``old``.
    """
    result = dict(old)
    for key, value in new.items():
        result[key] = _merged_value(result[key], value) if key in result else value
    return result


def _merged_value(old: Any, new: Any) -> Any:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return merged(old, new)
    if isinstance(old, list | tuple) and isinstance(new, list | tuple):
        # Compared as JSON, where 1, 1.0 and true are three different values.
        seen = {msgspec.json.encode(item, order="sorted") for item in old}
        result = list(old)
        for item in new:
            encoded = msgspec.json.encode(item, order="sorted")
            if encoded not in seen:
                seen.add(encoded)
                result.append(item)
        return result
    return new
