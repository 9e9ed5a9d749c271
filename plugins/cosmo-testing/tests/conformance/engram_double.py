"""A correct Engram made of dicts, and its claims."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, ClassVar

import attrs
import msgspec

from cosmo_core import EngramError
from cosmo_core.contracts.engram import (
    EngramGuarantees,
    Findings,
    Found,
    ImprintReceipt,
    Query,
    Write,
    merged,
    text_of,
)
from cosmo_core.protocol.ids import new_ulid
from cosmo_testing import EngramUnderTest
from cosmo_testing.conformance.mutants import Mutants
from cosmo_testing.engrams.checks import KIT

PASSWORD = "hunter2-hunter2"


@attrs.frozen
class Entry:
    id: str
    key: str | None
    document: bytes
    tags: tuple[str, ...]
    embedding: tuple[float, ...] | None
    words: tuple[str, ...]
    version: int
    written: int
    vocabulary: frozenset[str] = attrs.field(repr=False)


@attrs.define(eq=False)
class Row:
    """A remembered write, and its entry before the write."""

    receipt: ImprintReceipt
    trace: str | None
    before: Entry | None
    undone: bool = False


class StoreData:
    """The store that Engrams share."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.rows: dict[str, Row] = {}
        self.written = 0
        self.damaged = False


class Double:
    """One Engram on a store."""

    engram_id = "memory"
    engram_kind = "context"
    guarantees = EngramGuarantees(durable=True)

    def __init__(self, data: StoreData, password: str = "", keeps_writes: int | None = None) -> None:
        self.data = data
        self.password = password
        if keeps_writes is not None:
            self.guarantees = attrs.evolve(self.guarantees, keeps_writes=keeps_writes)
        self.connected = False
        self.cut_off = 0  # how many calls it takes to connect again
        self.calls = 0
        self.idle = asyncio.Event()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.engram_id!r}>"

    async def connect(self) -> None:
        self.connected = True

    async def close(self) -> None:
        self.connected = False
        while self.calls:
            self.idle.clear()
            await self.idle.wait()

    @contextmanager
    def call(self) -> Iterator[None]:
        """Count a call, so that close() can wait for it."""
        self.check()
        self.calls += 1
        try:
            yield
        finally:
            self.calls -= 1
            self.idle.set()

    def check(self) -> None:
        if not self.connected:
            raise self.error("UNAVAILABLE", "is closed: connect it first", recoverable=True)
        if self.cut_off:
            self.cut_off -= 1
            raise self.error("UNAVAILABLE", "has lost its connection: try again", recoverable=True)
        if self.data.damaged:
            raise self.error("CORRUPT", "cannot read its store")

    def error(self, code: str, what: str, *, recoverable: bool = False) -> EngramError:
        return EngramError(
            f"Engram {self.engram_id!r} {what}", code=f"ENGRAM_{code}", recoverable=recoverable
        )

    # --- writing ------------------------------------------------------------------------------------

    async def imprint(self, write: Write) -> ImprintReceipt:
        with self.call():
            await asyncio.sleep(0)
            receipt = self.once(write)
            await asyncio.sleep(0)
            return receipt

    def once(self, write: Write) -> ImprintReceipt:
        known = self.data.rows.get(write.imprint_id)
        return self.written(write) if known is None else known.receipt

    def written(self, write: Write) -> ImprintReceipt:
        before = dict(self.data.entries)
        id = self.deleted(write) if write.op == "delete" else self.stored(write)
        version = self.data.entries[id].version if id in self.data.entries else None
        receipt = ImprintReceipt(self.engram_id, write.op, id, version)
        self.remember(write, Row(receipt, write.trace_id, before.get(id) if id else None))
        return receipt

    def remember(self, write: Write, row: Row) -> None:
        self.data.rows[write.imprint_id] = row
        most = self.guarantees.keeps_writes
        if len(self.data.rows) > most + most // 4:
            for old in list(self.data.rows)[:-most]:
                del self.data.rows[old]

    def newest(self, key: str | None) -> Entry | None:
        of_key = [entry for entry in self.data.entries.values() if key is not None and entry.key == key]
        return max(of_key, key=lambda entry: entry.written, default=None)

    def deleted(self, write: Write) -> str | None:
        by_id = write.id is not None
        entry = self.data.entries.get(write.id) if write.id is not None else self.newest(write.merge_key)
        if entry is None:
            return None
        if by_id and write.merge_key not in {None, entry.key}:
            raise self.error("CONFLICT", f"has {entry.id!r} under another key than {write.merge_key!r}")
        del self.data.entries[entry.id]
        return entry.id

    def stored(self, write: Write) -> str:
        old = self.newest(write.merge_key)
        if write.op in {"upsert", "merge"} and old is not None:
            if write.id not in {None, old.id}:
                raise self.error("CONFLICT", f"has {old.id!r} under this key, and not {write.id!r}")
            return self.replace(write, old) if write.op == "upsert" else self.merge(write, old)
        if write.op == "merge":
            raise self.error("NOT_FOUND", f"has nothing to merge with under {write.merge_key!r}")
        taken = write.id in self.data.entries
        if write.op != "append" and (taken or old is not None):
            raise self.error("EXISTS", f"has {write.id!r} or {write.merge_key!r} already")
        id = write.id if write.id is not None and not taken else self.fresh_id()
        return self.put(write, id, write.merge_key, 1, write.embedding)

    def fresh_id(self) -> str:
        return "eng_" + new_ulid()

    def replace(self, write: Write, old: Entry) -> str:
        return self.put(write, old.id, old.key, old.version + 1, write.embedding)

    def merge(self, write: Write, old: Entry) -> str:
        whole = write.with_entry(merged(msgspec.json.decode(old.document), write.entry))
        return self.put(whole, old.id, old.key, old.version + 1, write.embedding or old.embedding)

    def put(
        self, write: Write, id: str, key: str | None, version: int, embedding: tuple[float, ...] | None
    ) -> str:
        self.data.written += 1
        words = self.index(write)
        kept = (write.document, write.tags, embedding, words)
        self.data.entries[id] = Entry(id, key, *kept, version, self.data.written, frozenset(words))
        return id

    def index(self, write: Write) -> tuple[str, ...]:
        return tuple(text_of(msgspec.json.decode(write.document)).split(" "))

    # --- undoing ------------------------------------------------------------------------------------

    async def roll_back(self, trace_id: str) -> int:
        with self.call():
            await asyncio.sleep(0)
            undone = self.undo_all(trace_id)
            await asyncio.sleep(0)
            return undone

    def undo_all(self, trace_id: str) -> int:
        mine = [row for row in self.data.rows.values() if row.trace == trace_id]
        return sum([self.undo(row) for row in reversed(mine)])

    def undo(self, row: Row) -> bool:
        later = self.later(row)
        if later is None and row.receipt.id is not None:
            self.restore(row.receipt.id, row.before)
        elif later is not None and later.trace is not None:
            later.before = row.before
        row.undone, row.trace, row.before = True, None, None
        return later is None and row.receipt.id is not None

    def later(self, row: Row) -> Row | None:
        rows = list(self.data.rows.values())
        since = rows[rows.index(row) + 1 :]
        return next((each for each in since if each.receipt.id == row.receipt.id and not each.undone), None)

    def restore(self, id: str, before: Entry | None) -> None:
        self.data.entries.pop(id, None)
        if before is not None:
            self.data.entries[id] = before

    async def commit(self, trace_id: str) -> None:
        with self.call():
            await asyncio.sleep(0)
            for row in self.data.rows.values():
                if row.trace == trace_id:
                    row.trace, row.before = None, None

    # --- finding ------------------------------------------------------------------------------------

    async def recall(self, query: Query) -> Findings:
        with self.call():
            await asyncio.sleep(0)
            return self.found(query)

    def found(self, query: Query) -> Findings:
        fitting = [entry for entry in self.newest_first() if self.fits(entry, query)]
        scored = [(self.score(entry, query), entry) for entry in fitting]
        scored.sort(key=lambda each: -each[0])
        best = [Found(entry.id, entry.document, score) for score, entry in scored[: query.limit]]
        return Findings(best, truncated=len(scored) > query.limit)

    def newest_first(self) -> list[Entry]:
        return sorted(self.data.entries.values(), key=lambda entry: -entry.written)

    def fits(self, entry: Entry, query: Query) -> bool:
        return (
            query.id in {None, entry.id}
            and query.merge_key in {None, entry.key}
            and {*query.tags} <= {*entry.tags}
            and (query.words is None or self.has_words(entry, query.words, query.match))
            and (query.vector is None or len(query.vector) == len(entry.embedding or ()))
        )

    def has_words(self, entry: Entry, words: tuple[str, ...], match: str) -> bool:
        there = entry.vocabulary.intersection(words)
        return bool(there) and (match == "any" or len(there) == len(words))

    def score(self, entry: Entry, query: Query) -> float:
        if query.vector is not None and entry.embedding is not None:
            product = sum(a * b for a, b in zip(query.vector, entry.embedding, strict=True))
            return product / (math.hypot(*query.vector) * math.hypot(*entry.embedding))
        if query.words is not None:
            return sum(entry.words.count(word) for word in query.words) / len(entry.words)
        return 1.0


class DoubleUnderTest(EngramUnderTest):
    """A subject with every optional method."""

    double: type[Double] = Double
    recovery_s = 2.0
    secrets: ClassVar[tuple[str, ...]] = (PASSWORD,)

    @asynccontextmanager
    async def store(self) -> AsyncIterator[None]:
        self._data = StoreData()
        yield

    async def open(self, *, keeps_writes: int | None = None) -> Double:
        engram = self.double(self._data, PASSWORD, keeps_writes)
        await engram.connect()
        return engram

    async def break_connection(self, engram: Any) -> None:
        engram.cut_off = 3

    async def damage(self) -> None:
        self._data.damaged = True


def under_test(double: type[Double]) -> DoubleUnderTest:
    """Make the subject of a double."""
    kind = type(f"{double.__name__}UnderTest", (DoubleUnderTest,), {"double": double})
    made = kind()
    assert isinstance(made, DoubleUnderTest)
    return made


MUTANTS = Mutants(KIT)
breaks = MUTANTS.breaks
