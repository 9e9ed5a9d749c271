"""Escaping what data has of a prompt's structure: tags, and lines that look like turns of a conversation.

The whole fragment is looked at: data may also complete what the text before it begins.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final

from cosmo_context.data import Part

# The tags of the Neurons that come with the package: a prompt without one of them can be told of it, too.
TAGS: Final = frozenset(
    {
        "available_skills",
        "conversation_history",
        "entities",
        "facts",
        "knowledge",
        "system_info",
        "task_info",
        "todo_list",
        "workspace",
    }
)

_TAG: Final = re.compile(r"</?([A-Za-z_][\w.-]*)")
_LINE_END: Final = r"\n\r\v\f\x1c-\x1e\x85\u2028\u2029"
_TURN: Final = re.compile(rf"(?:\A|[{_LINE_END}])[^\S{_LINE_END}]*(\[)[^\]{_LINE_END}]*(\]:)")
_ESCAPED: Final = {"<": "&lt;", "[": "\\["}


def own_tags(fragment: Sequence[Part]) -> set[str]:
    """Return the names of the tags in a Neuron's own text."""
    return {tag for part in fragment if part.own and "<" in part.text for tag in _TAG.findall(part.text)}


def escaped(fragment: Sequence[Part], tags: frozenset[str]) -> str:
    """Return a fragment as text in which only the Neuron itself writes these tags, and turns."""
    text = "".join(part.text for part in fragment)
    if all(part.own for part in fragment) or not ("<" in text or "[" in text):
        return text
    own = b"".join(bytes([part.own]) * len(part.text) for part in fragment)
    pieces: list[str] = []
    last = 0
    for place in sorted({*_forged_tags(text, own, tags), *_forged_turns(text, own)}):
        pieces += (text[last:place], _ESCAPED[text[place]])
        last = place + 1
    return "".join((*pieces, text[last:]))


def _forged_tags(text: str, own: bytes, tags: frozenset[str]) -> Iterator[int]:
    for found in _tag_of(tags).finditer(text):
        if not all(own[found.start() : found.end()]):
            yield found.start()


def _forged_turns(text: str, own: bytes) -> Iterator[int]:
    for found in _TURN.finditer(text):
        # The role may be data; the brackets and the colon are the Neuron's.
        opening, closing = found.start(1), found.start(2)
        if not (own[opening] and all(own[closing : closing + 2])):
            yield opening


@lru_cache(maxsize=64)
def _tag_of(tags: frozenset[str]) -> re.Pattern[str]:
    names = "|".join(sorted(map(re.escape, tags)))
    return re.compile(rf"<\s*+(?:/\s*+)?+(?:{names}|step\d+)(?!\w)", re.IGNORECASE)
