"""What an Engram is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import attrs

from cosmo_core.contracts.engram.checks import checked_name, checked_tags, checked_vector, invalid
from cosmo_core.contracts.engram.words import words_in

MAX_LIMIT: Final = 1_000
"""How many entries one RECALL can bring."""

DEFAULT_LIMIT: Final = 10
"""How many it brings if nobody says."""


@attrs.frozen(kw_only=True)
class Query:
    """The conditions an entry must fit, all of them; made with `parse`, which checks them.

    Attributes:
        id: Its id.
        merge_key: Its merge key.
        tags: Its tags include all of these.
        words: The words of its text include these, as `words_in` gives them; None where text is no
            condition. An empty list fits nothing.
        match: Whether the text has ``all`` of the words, or at least ``any``.
        vector: Its embedding has as many numbers; the more similar, the better.
        limit: How many are wanted.
    """

    id: str | None = None
    merge_key: str | None = None
    tags: tuple[str, ...] = ()
    words: tuple[str, ...] | None = None
    match: Literal["all", "any"] = "all"
    vector: tuple[float, ...] | None = None
    limit: int = DEFAULT_LIMIT

    @classmethod
    def parse(cls, query: object) -> Query:
        """Return the query that an object of a RECALL describes.

        Its keys, all of them optional: ``id``, ``merge_key``, ``tags``, ``text``, ``match`` (``"all"`` or
        ``"any"``), ``vector`` and ``limit`` (10 by default). An empty one fits every entry.

        Raises:
            EngramError: ``ENGRAM_INVALID``: it is no such object.
        """
        if not isinstance(query, Mapping):
            raise invalid(f"a query is an object such as {{'text': 'bus'}}, not {type(query).__name__}")
        if not _KEYS.issuperset(query):
            unknown = min(query.keys() - _KEYS)
            raise invalid(f"a query has no {unknown!r}; it may have {', '.join(sorted(_KEYS))}")
        match, limit = query.get("match", "all"), query.get("limit", DEFAULT_LIMIT)
        if match not in {"all", "any"}:
            raise invalid('match is "all" or "any"')
        if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= MAX_LIMIT:
            raise invalid(f"limit is a number from 1 to {MAX_LIMIT}")
        return cls(
            id=_optional(query, "id", checked_name),
            merge_key=_optional(query, "merge_key", checked_name),
            tags=checked_tags(query.get("tags")),
            words=_words(query.get("text")),
            match=match,
            vector=checked_vector("vector", query.get("vector")),
            limit=limit,
        )


_KEYS: Final = frozenset({"id", "merge_key", "tags", "text", "match", "vector", "limit"})


def _optional(query: Mapping[str, Any], key: str, check: Any) -> str | None:
    value = query.get(key)
    return None if value is None else str(check(key, value))


def _words(text: object) -> tuple[str, ...] | None:
    if text is None:
        return None
    if not isinstance(text, str):
        raise invalid(f"text is a string, not {type(text).__name__}")
    # In the order of the text, each once.
    return tuple(dict.fromkeys(words_in(text)))
