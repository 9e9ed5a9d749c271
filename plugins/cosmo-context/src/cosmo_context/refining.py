"""The final text of a fragment: variables are resolved, and imitated tags in data are escaped."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from functools import cached_property, lru_cache
from typing import Any, Final

import attrs

from cosmo_context.context import Context
from cosmo_context.data import Part, parts, unmarked
from cosmo_context.variables import DynamicVariableRegistry, placeholders


class Refiner:
    """Turns the fragments of one prompt into their final text.

    Args:
        ctx: The Context, for variables and for the texts that a Neuron may have quoted.
        variables: Resolves variables; None for no resolving.
        resolve_in_data: Whether variables are resolved in quoted data, too.
        escape_tags: Whether data that imitates a tag or a turn is escaped.
    """

    def __init__(
        self,
        ctx: Context,
        variables: DynamicVariableRegistry | None,
        *,
        resolve_in_data: bool,
        escape_tags: bool,
    ) -> None:
        self._ctx = ctx
        self._variables = variables
        self._resolve_in_data = resolve_in_data
        self._escape_tags = escape_tags
        self._tags = TAGS

    def refine_all(self, fragments: Sequence[str]) -> list[str]:
        """Return the final texts of all fragments of a prompt, and record the tags that they use."""
        split_up = [self._parts(fragment) for fragment in fragments]
        if self._escape_tags:
            self._tags = TAGS.union(*map(_own_tags, split_up))
        return [self._join(fragment) for fragment in split_up]

    def refine(self, fragment: str) -> str:
        """Return the final text of another fragment of the same prompt."""
        return self._join(self._parts(fragment))

    def _parts(self, fragment: str) -> list[Part]:
        if (marked := parts(fragment)) is not None:
            return marked
        fragment = unmarked(fragment)
        if "${" in fragment or (self._escape_tags and ("<" in fragment or "[" in fragment)):
            return split(fragment, self._quoted)
        return [Part(fragment, own=True)]

    @cached_property
    def _quoted(self) -> list[str]:
        return suspicious_texts(self._ctx.task_id, self._ctx.state.to_dict())

    def _join(self, fragment: Sequence[Part]) -> str:
        resolved = [piece for part in fragment for piece in self._resolved(part)]
        if self._escape_tags:
            return _escape(resolved, self._tags)
        return "".join(piece.text for piece in resolved)

    def _resolved(self, part: Part) -> Iterator[Part]:
        position = 0
        if (variables := self._variables) is not None and (part.own or self._resolve_in_data):
            for found in placeholders(part.text):
                yield Part(part.text[position : found.start()], part.own)
                # The value of a variable is data.
                yield Part(variables.replacement(found, self._ctx.state), own=False)
                position = found.end()
        yield Part(part.text[position:], part.own)


# The tags of this package's Neurons. They are escaped also in a prompt that does not use all of them.
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


def _own_tags(fragment: Sequence[Part]) -> set[str]:
    """Return the names of the tags in a Neuron's own text."""
    return {tag for part in fragment if part.own and "<" in part.text for tag in _TAG.findall(part.text)}


def _escape(fragment: Sequence[Part], tags: frozenset[str]) -> str:
    """Return the text of a fragment, with these tags and turns escaped where data forms or completes them."""
    text = "".join(part.text for part in fragment)
    if all(part.own for part in fragment) or not ("<" in text or "[" in text):
        return text
    own = b"".join(bytes([part.own]) * len(part.text) for part in fragment)
    pieces: list[str] = []
    last = 0
    for position in sorted({*_forged_tags(text, own, tags), *_forged_turns(text, own)}):
        pieces += (text[last:position], _ESCAPED[text[position]])
        last = position + 1
    return "".join((*pieces, text[last:]))


def _forged_tags(text: str, own: bytes, tags: frozenset[str]) -> Iterator[int]:
    for found in _tag_pattern(tags).finditer(text):
        if not all(own[found.start() : found.end()]):
            yield found.start()


def _forged_turns(text: str, own: bytes) -> Iterator[int]:
    for found in _TURN.finditer(text):
        # The role may be data, but the brackets and the colon must be the Neuron's own text.
        opening, closing = found.start(1), found.start(2)
        if not (own[opening] and all(own[closing : closing + 2])):
            yield opening


@lru_cache(maxsize=64)
def _tag_pattern(tags: frozenset[str]) -> re.Pattern[str]:
    names = "|".join(sorted(map(re.escape, tags)))
    return re.compile(rf"<\s*+(?:/\s*+)?+(?:{names}|step\d+)(?!\w)", re.IGNORECASE)


# Only texts that can be taken for a variable, a tag or a turn matter.
_SUSPICIOUS: Final = re.compile(r"\{|<\s*+/?+\s*+\w|\]:")
# `{x}` can follow a dollar sign in the Neuron's own text, and `{x` can continue in the next value.
_BRACED: Final = re.compile(r"\{[^}]+\}?")


def suspicious_texts(*values: Any) -> list[str]:
    """Return the texts of the values that matter, and their parts in braces, the longest first.

    They are searched for in the fragments of Neurons that do not mark data. This finds texts in containers,
    attrs classes and dataclasses that are quoted unchanged; `cosmo_context.data` is exact.
    """
    found: set[str] = set()
    for text in map(unmarked, _texts(values)):
        if _SUSPICIOUS.search(text):
            found.add(text.strip())
            found.update(_BRACED.findall(text))
    return sorted(found, key=len, reverse=True)


def split(fragment: str, quoted: Iterable[str]) -> list[Part]:
    """Split a fragment at the texts that it quotes."""
    pattern = "|".join(re.escape(text) for text in quoted if text in fragment)
    if not pattern:
        return [Part(fragment, own=True)]
    # Splitting at a group returns the text between matches and the matches alternately.
    pieces = re.split(f"({pattern})", fragment)
    return [Part(text, own=index % 2 == 0) for index, text in enumerate(pieces) if text]


def _texts(values: Iterable[Any]) -> Iterator[str]:
    seen: set[int] = set()
    todo = list(values)
    while todo:
        value = todo.pop()
        if isinstance(value, str):
            yield value
        elif id(value) not in seen:
            seen.add(id(value))
            todo += _children(value)


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return (*value, *value.values())
    if isinstance(value, (list, tuple, deque, AbstractSet)):
        return value
    # Of other objects, only records are searched; the rest may refer to any part of the program.
    record = type(value)
    if is_dataclass(record):
        return [getattr(value, field.name, None) for field in fields(record)]
    if attrs.has(record):
        return [getattr(value, field.name, None) for field in attrs.fields(record)]
    return ()
