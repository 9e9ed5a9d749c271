"""A reference model of an Engram, and the comparison of query results with it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Final

import attrs
import msgspec

from cosmo_core.contracts.engram import Findings, Found, Query, Write, merged, text_of
from cosmo_testing.conformance.steps import UnmetError

FRESH: Final = "a fresh id"
"""Placeholder for the id of an entry without one, until the receipt has the id."""

_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode


class RefusedError(Exception):
    """Raised by the model: the Engram must refuse the write, with this code."""


@attrs.frozen
class Entry:
    """An entry. ``written`` is its place in the order of writes."""

    id: str
    key: str | None
    document: bytes
    tags: tuple[str, ...]
    embedding: tuple[float, ...] | None
    version: int
    written: int

    @property
    def words(self) -> set[str]:
        """The words of the texts of the entry."""
        return {*text_of(_decode(self.document)).split(" ")}


@attrs.define(eq=False)
class Row:
    """A remembered write.

    Attributes:
        trace: The trace that can undo it; None if it cannot be undone.
        before: The entry before the write; None if there was none.
    """

    op: str
    id: str | None
    version: int | None
    trace: str | None
    before: Entry | None
    undone: bool = False


class Model:
    """A store: its entries by id, and all of its writes."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.rows: dict[str, Row] = {}
        self._written = 0

    # --- writing ------------------------------------------------------------------------------------

    def imprint(self, write: Write, fresh: str | None) -> Row:
        """Write; return the row of the write.

        Args:
            write: What to write.
            fresh: The id that the Engram chose, if it has to choose one.

        Raises:
            RefusedError: The Engram must refuse the write.
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
        """Undo the writes of a trace; return their number."""
        mine = [row for row in self.rows.values() if row.trace == trace]
        return sum(self._undo(row) for row in reversed(mine))

    @property
    def open_traces(self) -> set[str]:
        """The traces with writes that can be undone."""
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
        """Return the next write to the same entry that is not undone."""
        rows = list(self.rows.values())
        later = rows[rows.index(row) + 1 :]
        return next((each for each in later if each.id == row.id and not each.undone), None)

    def commit(self, trace: str) -> None:
        """Commit the writes of a trace."""
        for row in self.rows.values():
            if row.trace == trace:
                row.trace, row.before = None, None

    # --- finding ------------------------------------------------------------------------------------

    def fitting(self, query: Query) -> list[Entry]:
        """Return the entries that match a query, newest first."""
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
    """Return the cosine of two vectors, from -1 to 1."""
    product = math.fsum(a * b for a, b in zip(one, other, strict=True))
    return product / (math.hypot(*one) * math.hypot(*other))


EXACT: Final = 1e-5
"""The largest error of a cosine: embeddings are stored in single precision."""


def need_findings(findings: Findings, query: Query, model: Model) -> None:
    """Check the hits of a query, and their order.

    Raises:
        UnmetError: They are wrong.
    """
    fitting = model.fitting(query)
    for complaint in _complaints(findings, query, fitting):
        expected = [entry.id for entry in fitting]
        raise UnmetError(f"{query} {complaint}; what fits is {expected}, newest first; found is {findings}")


def _complaints(findings: Findings, query: Query, fitting: list[Entry]) -> Iterator[str]:
    by_id = {entry.id: entry for entry in fitting}
    found, ids = findings.found, [each.id for each in findings.found]
    if len({*ids}) < len(ids):
        yield "found an entry twice"
    if not {*ids} <= by_id.keys():
        yield "found what does not fit"
    if len(ids) != min(query.limit, len(fitting)):
        yield f"found {len(ids)} of {len(fitting)}"
    if findings.truncated != (len(fitting) > query.limit):
        yield f"found {len(ids)} of {len(fitting)} with truncated={findings.truncated}"
    for each in found:
        if each.document != by_id[each.id].document:
            yield f"found the document of {each.id!r}, which is {by_id[each.id].document!r}, as another"
    if query.vector is not None:
        yield from _about_vectors(found, query.vector, by_id)
    elif query.words is not None:
        yield from _about_words(found, by_id)
    elif ids != [*by_id][: query.limit]:
        yield "found another order than newest first"
    elif any(each.score != 1 for each in found):
        yield "scored where nothing ranks"


def _about_words(found: Sequence[Found], by_id: dict[str, Entry]) -> Iterator[str]:
    if not all(0 <= each.score <= 1 for each in found):
        yield "found words with a score that is not between 0 and 1"
    for one, later in pairwise(found):
        if one.score == later.score and by_id[one.id].written < by_id[later.id].written:
            yield f"found {one.id!r} before {later.id!r}, which is as good and newer"


def _about_vectors(found: Sequence[Found], vector: Sequence[float], by_id: dict[str, Entry]) -> Iterator[str]:
    similar = {id: cosine(vector, entry.embedding or ()) for id, entry in by_id.items()}
    for each in found:
        if abs(each.score - similar[each.id]) > EXACT:
            yield f"found {each.id!r} with the score {each.score}; the cosine is {similar[each.id]}"
    for one, later in pairwise(by_id[each.id] for each in found):
        if one.embedding == later.embedding and one.written < later.written:
            yield f"found {one.id!r} before {later.id!r}, which is as good and newer"
    least = min((similar[each.id] for each in found), default=1.0)
    left_out = similar.keys() - {each.id for each in found}
    if any(similar[id] > least + EXACT for id in left_out):
        yield "left out what is more similar"
