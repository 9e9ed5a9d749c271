"""Queries and writes: the checked form of what RECALL and IMPRINT carry to an Engram."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, Literal, cast

import attrs
import msgspec

from cosmo_core.contracts.engram.entries import words_in
from cosmo_core.errors import EngramError

MAX_LIMIT: Final = 1_000
"""Highest ``limit`` of a query: the most entries that one RECALL returns."""

DEFAULT_LIMIT: Final = 10
"""``limit`` of a query that does not set it."""

MAX_NAME: Final = 512
"""Longest id, merge key or tag, in characters."""

MAX_TAGS: Final = 64
"""Most tags of an entry or of a query."""

MAX_QUERY_TEXT: Final = 524_288
"""Longest ``text`` of a query, in characters."""

MAX_QUERY_WORDS: Final = 50_000
"""Most different words in the ``text`` of a query."""

MAX_DIMENSIONS: Final = 16_000
"""Most numbers in an embedding."""

MAX_ENTRY: Final = 960 * 1024
"""Largest entry, in bytes of JSON. With its Signal around it, it fits into one frame of every Synapse."""

Op = Literal["add", "append", "merge", "upsert", "delete"]

OPS: Final = ("add", "append", "merge", "upsert", "delete")
"""The operations of a write; see `Engram.imprint`."""

_QUERY_KEYS: Final = frozenset({"id", "merge_key", "tags", "text", "match", "vector", "limit"})
_OPS_WITH_KEY: Final = frozenset({"merge", "upsert"})
_encode: Final = msgspec.json.Encoder().encode


@attrs.frozen(kw_only=True)
class Query:
    """A checked query. An entry is found if it meets every condition. `parse` makes one.

    Attributes:
        id: The entry has this id.
        merge_key: The entry has this merge key.
        tags: The entry has all of these tags.
        words: The text of the entry has these words, as `words_in` returns them; None for no condition. An
            empty tuple matches no entry.
        match: Whether the text needs ``all`` of the words, or ``any`` of them.
        vector: The entry has an embedding with as many dimensions; results are ordered by similarity to it.
        limit: The most entries to return.
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
        """Check the ``query`` object of a RECALL and return it as a `Query`.

        All keys are optional: ``id``, ``merge_key``, ``tags``, ``text``, ``match`` (``"all"`` or ``"any"``),
        ``vector`` and ``limit`` (10 by default). An empty object matches every entry.

        Raises:
            EngramError: ``ENGRAM_INVALID``: the object has an unknown key or a value that is not allowed.
        """
        if not isinstance(query, Mapping):
            raise invalid(f"a query is an object such as {{'text': 'bus'}}, not {type(query).__name__}")
        if not _QUERY_KEYS.issuperset(query):
            unknown = min(query.keys() - _QUERY_KEYS)
            raise invalid(f"unknown query key {unknown!r}; allowed keys: {', '.join(sorted(_QUERY_KEYS))}")
        match, limit = query.get("match", "all"), query.get("limit", DEFAULT_LIMIT)
        if match not in {"all", "any"}:
            raise invalid('match must be "all" or "any"')
        if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= MAX_LIMIT:
            raise invalid(f"limit must be a whole number from 1 to {MAX_LIMIT}")
        return cls(
            id=_optional_name("id", query.get("id")),
            merge_key=_optional_name("merge_key", query.get("merge_key")),
            tags=_checked_tags(query.get("tags")),
            words=_checked_words(query.get("text")),
            match=match,
            vector=_checked_vector("vector", query.get("vector")),
            limit=limit,
        )


@attrs.frozen(kw_only=True)
class Write:
    """A checked write. `parse` makes one.

    Attributes:
        op: The operation; see `Engram.imprint`.
        entry: The entry without its embedding.
        document: The same entry as JSON: the bytes to store.
        imprint_id: The id of this write. A write with an id that the Engram knows is not done again.
        trace_id: The trace that can undo this write; None if it cannot be undone.
        merge_key: The key of the entry.
        id: The id that the entry asks for.
        tags: The tags of the entry, without duplicates.
        embedding: The embedding of the entry.
    """

    op: Op
    entry: dict[str, Any] = attrs.field(repr=False)
    document: bytes = attrs.field(repr=False, eq=False)
    imprint_id: str
    trace_id: str | None = None
    merge_key: str | None = None
    id: str | None = None
    tags: tuple[str, ...] = ()
    embedding: tuple[float, ...] | None = attrs.field(default=None, repr=False)

    @classmethod
    def parse(
        cls,
        op: str,
        entry: object,
        *,
        imprint_id: str,
        merge_key: object = None,
        trace_id: str | None = None,
    ) -> Write:
        """Check the fields of an IMPRINT and return them as a `Write`.

        In ``entry``, the keys ``id``, ``tags`` and ``embedding`` have a meaning; all other keys are free.

        Raises:
            EngramError: ``ENGRAM_INVALID``: a field is missing, or has a value that is not allowed.
        """
        if op not in OPS:
            raise invalid(f"op must be one of {', '.join(OPS)}, not {op!r}")
        if not isinstance(entry, Mapping) or not all(isinstance(key, str) for key in entry):
            raise invalid(f"an entry must be an object, not {type(entry).__name__}")
        if merge_key is None and op in _OPS_WITH_KEY:
            raise invalid(f"{op} needs a merge_key that names the entry")
        if merge_key is None and entry.get("id") is None and op == "delete":
            raise invalid("delete needs a merge_key, or an entry with an id, that names the entry")
        plain = {key: value for key, value in entry.items() if key != "embedding"}
        return cls(
            op=cast("Op", op),
            entry=plain,
            document=_encoded(plain),
            imprint_id=_checked_name("imprint_id", imprint_id),
            trace_id=trace_id,
            merge_key=_optional_name("merge_key", merge_key),
            id=_optional_name("id", plain.get("id")),
            tags=_checked_tags(plain.get("tags")),
            embedding=_checked_vector("embedding", entry.get("embedding")),
        )

    def with_entry(self, entry: Mapping[str, Any]) -> Write:
        """Return this write with another entry, such as a `merged` one; the embedding stays.

        Raises:
            EngramError: ``ENGRAM_INVALID``: the entry cannot be stored, for example because it is too large.
        """
        plain = dict(entry)
        return attrs.evolve(
            self, entry=plain, document=_encoded(plain), tags=_checked_tags(plain.get("tags"))
        )


def invalid(reason: str) -> EngramError:
    """Return the `EngramError` with the code ``ENGRAM_INVALID`` for a query or a write."""
    return EngramError(reason, code="ENGRAM_INVALID")


def _encoded(entry: dict[str, Any]) -> bytes:
    try:
        document = _encode(entry)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise invalid(f"the entry cannot be encoded as JSON: {error}") from None
    if len(document) > MAX_ENTRY:
        raise invalid(f"the entry has {len(document)} bytes of JSON; the limit is {MAX_ENTRY}")
    return document


def _optional_name(field: str, value: object) -> str | None:
    return None if value is None else _checked_name(field, value)


def _checked_name(field: str, value: object) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_NAME or not _is_printable(value):
        raise invalid(f"{field} must be a string of 1 to {MAX_NAME} characters without control characters")
    return value


def _is_printable(value: str) -> bool:
    # `isprintable` rejects some spaces, which are allowed. Surrogates cannot be stored as UTF-8.
    return value.isprintable() or not any(
        ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 or 0xD800 <= ord(char) < 0xE000 for char in value
    )


def _checked_tags(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list | tuple) or len(value) > MAX_TAGS:
        raise invalid(f"tags must be a list of at most {MAX_TAGS} strings")
    return tuple(dict.fromkeys(_checked_name("a tag", tag) for tag in value))


def _checked_vector(field: str, value: object) -> tuple[float, ...] | None:
    if value is None:
        return None
    if (
        not isinstance(value, list | tuple)
        or not 1 <= len(value) <= MAX_DIMENSIONS
        or not all(isinstance(number, int | float) and not isinstance(number, bool) for number in value)
    ):
        raise invalid(f"{field} must be a list of 1 to {MAX_DIMENSIONS} numbers")
    try:
        length = math.hypot(*value)
    except OverflowError:
        length = math.inf
    # Engrams store single precision, which cannot hold longer or shorter vectors.
    if not 1e-18 < length < 1e18:
        raise invalid(f"{field} must have a length between 1e-18 and 1e18, so that it has a direction")
    return tuple(map(float, value))


def _checked_words(text: object) -> tuple[str, ...] | None:
    if text is None:
        return None
    if not isinstance(text, str):
        raise invalid(f"text must be a string, not {type(text).__name__}")
    if len(text) > MAX_QUERY_TEXT:
        raise invalid(f"text has {len(text)} characters; the limit of a query is {MAX_QUERY_TEXT}")
    words = tuple(dict.fromkeys(words_in(text)))
    if len(words) > MAX_QUERY_WORDS:
        raise invalid(f"text has {len(words)} words; the limit of a query is {MAX_QUERY_WORDS}: use fewer")
    return words
