"""Finding quoted data in the fragment of a Neuron that did not mark any.

A best effort, by looking for the state's own texts, in containers, attrs classes and dataclasses:
`cosmo_context.data` is exact.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from typing import Any, Final

import attrs

from cosmo_context.data import Part, unmarked

# Only what could be taken for a variable, a tag or a turn matters.
_SUSPICIOUS: Final = re.compile(r"\{|<\s*+/?+\s*+\w|\]:")
# `{x}` may follow a dollar of the Neuron's own, and `{x` may go on in its next value.
_BRACED: Final = re.compile(r"\{[^}]+\}?")


def suspicious_texts(*values: Any) -> list[str]:
    """Return what to look for in fragments, the longest first: the values' texts, and what is in braces."""
    found: set[str] = set()
    for text in map(unmarked, _texts(values)):
        if _SUSPICIOUS.search(text):
            found.add(text.strip())
            found.update(_BRACED.findall(text))
    return sorted(found, key=len, reverse=True)


def split(fragment: str, quoted: Iterable[str]) -> list[Part]:
    """Take a fragment apart where it quotes one of the texts."""
    pattern = "|".join(re.escape(text) for text in quoted if text in fragment)
    if not pattern:
        return [Part(fragment, own=True)]
    # Splitting at a group gives what is between the texts and the texts in turn.
    pieces = re.split(f"({pattern})", fragment)
    return [Part(text, own=place % 2 == 0) for place, text in enumerate(pieces) if text]


def _texts(values: Iterable[Any]) -> Iterator[str]:
    seen: set[int] = set()
    todo = list(values)
    while todo:
        value = todo.pop()
        if isinstance(value, str):
            yield value
        elif id(value) not in seen:
            seen.add(id(value))
            todo += _inside(value)


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return (*value, *value.values())
    if isinstance(value, (list, tuple, deque, AbstractSet)):
        return value
    # Records are data; any other object may lead to all that the program has.
    record = type(value)
    if is_dataclass(record):
        return [getattr(value, field.name, None) for field in fields(record)]
    if attrs.has(record):
        return [getattr(value, field.name, None) for field in attrs.fields(record)]
    return ()
