"""What an Engram does, in as plain words as there are: dicts and lists, from the law."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import attrs
import msgspec

from cosmo_core.contracts.engram import Query, Write, merged, text_of

if TYPE_CHECKING:
    from collections.abc import Sequence

FRESH: Final = "a fresh id"
"""Stands for the id of an entry that asks for none, until the Engram has said which one it gave."""

_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode


class RefusedError(Exception):
    """Raised by the model: the Engram must refuse that with this code."""


@attrs.frozen
class Entry:
    """An entry, and when it was written: the higher, the later."""

    id: str
    key: str | None
    document: bytes
    tags: tuple[str, ...]
    embedding: tuple[float, ...] | None
    version: int
    written: int

    @property
    def words(self) -> set[str]:
        """The words by which it is found."""
        return {*text_of(_decode(self.document)).split(" ")}


@attrs.define(eq=False)
class Row:
    """A write that is remembered, with what its entry was before; None if it was not there.

    Attributes:
        trace: What it is undone with; None once it cannot be undone any more.
    """

    op: str
    id: str | None
    version: int | None
    trace: str | None
    before: Entry | None
    undone: bool = False


class Model:
    """A store: its entries by id, and every write that was ever done."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.rows: dict[str, Row] = {}
        self._written = 0

    # --- writing ------------------------------------------------------------------------------------

    def imprint(self, write: Write, fresh: str | None) -> Row:
        """Write, and return the row that says what was done.

        Args:
            write: What to write.
            fresh: The id that the Engram gave, for where the law has it choose one.

        Raises:
            RefusedError: With the code.
        """
        if write.imprint_id in self.rows:
            return self.rows[write.imprint_id]
        newest = self.newest(write.merge_key)
        if write.op == "delete":
            target = self._deleted(write, newest)
            after = None
        else:
            after = self._after(write, newest, fresh or FRESH)
            target = after.id
        before = self.entries.get(target) if target is not None else None
        self._put(target, after)
        version = after.version if after is not None else None
        row = self.rows[write.imprint_id] = Row(write.op, target, version, write.trace_id, before)
        return row

    def newest(self, key: str | None) -> Entry | None:
        """Return the entry of a key that was written last."""
        of_key = [entry for entry in self.entries.values() if key is not None and entry.key == key]
        return max(of_key, key=lambda entry: entry.written, default=None)

    def _put(self, id: str | None, entry: Entry | None) -> None:
        if id is None:
            return
        if entry is None:
            self.entries.pop(id, None)
        else:
            self.entries[id] = entry

    def _deleted(self, write: Write, newest: Entry | None) -> str | None:
        if write.id is None:
            return newest.id if newest is not None else None
        entry = self.entries.get(write.id)
        if entry is not None and write.merge_key is not None and entry.key != write.merge_key:
            raise RefusedError("ENGRAM_CONFLICT")
        return entry.id if entry is not None else None

    def _after(self, write: Write, newest: Entry | None, fresh: str) -> Entry:
        if write.op in {"upsert", "merge"} and newest is not None:
            if write.id not in {None, newest.id}:
                raise RefusedError("ENGRAM_CONFLICT")
            return self._rewritten(write, newest)
        if write.op == "merge":
            raise RefusedError("ENGRAM_NOT_FOUND")
        taken = write.id in self.entries
        if write.op != "append" and (taken or newest is not None):
            raise RefusedError("ENGRAM_EXISTS")
        id = fresh if taken or write.id is None else write.id
        return self._entry(write, id, write.merge_key, write.embedding, 1)

    def _rewritten(self, write: Write, old: Entry) -> Entry:
        embedding = write.embedding
        if write.op == "merge":
            write = write.with_entry(merged(_decode(old.document), write.entry))
            embedding = write.embedding or old.embedding
        return self._entry(write, old.id, old.key, embedding, old.version + 1)

    def _entry(
        self, write: Write, id: str, key: str | None, embedding: tuple[float, ...] | None, version: int
    ) -> Entry:
        self._written += 1
        return Entry(id, key, write.document, write.tags, embedding, version, self._written)

    # --- undoing ------------------------------------------------------------------------------------

    def roll_back(self, trace: str) -> int:
        """Undo what a trace wrote; return how many writes that was."""
        mine = [row for row in self.rows.values() if row.trace == trace]
        return sum(self._undo(row) for row in reversed(mine))

    @property
    def open_traces(self) -> set[str]:
        """The traces that have something to undo."""
        return {row.trace for row in self.rows.values() if row.trace is not None}

    def _undo(self, row: Row) -> bool:
        undone = False
        if row.id is not None:
            later = self._next(row)
            if later is None:
                self._put(row.id, row.before)
                undone = True
            elif later.trace is not None:
                later.before = row.before
        row.undone, row.trace, row.before = True, None, None
        return undone

    def _next(self, row: Row) -> Row | None:
        """Return the next write to the same entry that still counts."""
        rows = list(self.rows.values())
        later = rows[rows.index(row) + 1 :]
        return next((each for each in later if each.id == row.id and not each.undone), None)

    def commit(self, trace: str) -> None:
        """Keep what a trace wrote."""
        for row in self.rows.values():
            if row.trace == trace:
                row.trace, row.before = None, None

    # --- finding ------------------------------------------------------------------------------------

    def fitting(self, query: Query) -> list[Entry]:
        """Return every entry that fits all conditions, newest first."""
        newest_first = sorted(self.entries.values(), key=lambda entry: -entry.written)
        return [entry for entry in newest_first if _fits(entry, query)]


def _fits(entry: Entry, query: Query) -> bool:
    return (
        query.id in {None, entry.id}
        and query.merge_key in {None, entry.key}
        and {*query.tags} <= {*entry.tags}
        and (query.words is None or _has_words(entry, query.words, query.match))
        and (query.vector is None or len(entry.embedding or ()) == len(query.vector))
    )


def _has_words(entry: Entry, words: Sequence[str], match: str) -> bool:
    found = [word in entry.words for word in words]
    return bool(found) and (all(found) if match == "all" else any(found))


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """Return how similar two vectors are: 1 where they point the same way, -1 where they are opposite."""
    product = math.fsum(a * b for a, b in zip(one, other, strict=True))
    return product / (math.hypot(*one) * math.hypot(*other))
