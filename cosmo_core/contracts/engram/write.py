"""What an Engram is to write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, cast

import attrs
import msgspec

from cosmo_core.contracts.engram.checks import checked_name, checked_tags, checked_vector, invalid

Op = Literal["add", "append", "merge", "upsert", "delete"]

MAX_ENTRY: Final = 960 * 1024
"""Bytes in the largest entry, as JSON: with its Signal around it, it fits into the smallest largest frame."""

OPS: Final = ("add", "append", "merge", "upsert", "delete")
"""What can be done with an entry."""

_KEYED: Final = frozenset({"merge", "upsert"})
_encode: Final = msgspec.json.Encoder().encode


@attrs.frozen(kw_only=True)
class Write:
    """One write, made with `parse`, which checks it.

    Attributes:
        op: What to do; see `Engram.imprint`.
        entry: The entry, but for its embedding.
        document: The same as JSON: what to keep.
        imprint_id: The id of this write.
        trace_id: The trace that it is undone with; None if it never is.
        merge_key: The key of the entry.
        id: The id that the entry asks for.
        tags: Its tags, each once.
        embedding: Its embedding.
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
        """Return the write that an IMPRINT describes.

        Of the keys of ``entry``, ``id``, ``tags`` and ``embedding`` have a meaning; all others are free.

        Raises:
            EngramError: ``ENGRAM_INVALID``: nobody could write that.
        """
        if op not in OPS:
            raise invalid(f"op is one of {', '.join(OPS)}, not {op!r}")
        if not isinstance(entry, Mapping) or not all(isinstance(key, str) for key in entry):
            raise invalid(f"an entry is an object, not {type(entry).__name__}")
        if merge_key is None and op in _KEYED:
            raise invalid(f"{op} needs a merge_key, to say which entry is meant")
        if merge_key is None and entry.get("id") is None and op == "delete":
            raise invalid("delete needs a merge_key, or an entry with an id, to say which entry is meant")
        plain = {key: value for key, value in entry.items() if key != "embedding"}
        id = plain.get("id")
        return cls(
            op=cast("Op", op),
            entry=plain,
            document=_document(plain),
            imprint_id=checked_name("imprint_id", imprint_id),
            trace_id=trace_id,
            merge_key=None if merge_key is None else checked_name("merge_key", merge_key),
            id=None if id is None else checked_name("id", id),
            tags=checked_tags(plain.get("tags")),
            embedding=checked_vector("embedding", entry.get("embedding")),
        )

    def with_entry(self, entry: Mapping[str, Any]) -> Write:
        """Return this write with another entry, such as one that is `merged`; its embedding stays.

        Raises:
            EngramError: ``ENGRAM_INVALID``: the entry cannot be written.
        """
        plain = dict(entry)
        return attrs.evolve(
            self, entry=plain, document=_document(plain), tags=checked_tags(plain.get("tags"))
        )


def _document(entry: dict[str, Any]) -> bytes:
    try:
        document = _encode(entry)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise invalid(f"the entry is not JSON: {error}") from None
    if len(document) > MAX_ENTRY:
        raise invalid(f"the entry has {len(document)} bytes of JSON; {MAX_ENTRY} is the most")
    return document
