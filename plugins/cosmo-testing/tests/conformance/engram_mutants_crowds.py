"""Engrams that work for one caller, and fail where there are several."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import attrs
from tests.conformance.engram_double import MUTANTS, Double, Entry, breaks

from cosmo_core.contracts.engram import Findings, ImprintReceipt, Query, Write
from cosmo_testing.engrams.checks import concurrency


class LooksFirst(Double):
    """One that looks at what is there, waits, and then writes as if nothing else had."""

    ops = frozenset[str]()

    async def imprint(self, write: Write) -> ImprintReceipt:
        if write.op not in self.ops:
            return await super().imprint(write)
        with self.call():
            old = self.newest(write.merge_key)
            await asyncio.sleep(0)
            return self.after(write, old)

    def after(self, write: Write, old: Entry | None) -> ImprintReceipt:
        now, self.newest = self.newest, lambda key: old  # type: ignore[method-assign]
        try:
            return self.once(write)
        finally:
            self.newest = now  # type: ignore[method-assign]


@breaks("engram:concurrent-upsert", "upserts of one key made several entries")
class UpsertsWhatItSaw(LooksFirst):
    ops = frozenset({"upsert"})


@breaks("engram:concurrent-add", "equal adds succeeded")
class AddsWhatItSaw(LooksFirst):
    ops = frozenset({"add"})


@breaks("engram:concurrent-merge", "writes of one entry made the versions")
class MergesWhatItSaw(LooksFirst):
    ops = frozenset({"merge"})


@breaks("engram:concurrent-own", "and must find")
class WritesLater(Double):
    def put(
        self, write: Write, id: str, key: str | None, version: int, embedding: tuple[float, ...] | None
    ) -> str:
        put = super().put(write, id, key, version, embedding)
        entry, tags = self.data.entries[id], write.tags
        self.data.entries[id] = attrs.evolve(entry, tags=())
        asyncio.get_running_loop().call_later(1, self.tag, id, tags)
        return put

    def tag(self, id: str, tags: tuple[str, ...]) -> None:
        if id in self.data.entries:
            self.data.entries[id] = attrs.evolve(self.data.entries[id], tags=tags)


@breaks("engram:concurrent-readers", "which was written at that time")
class IndexesFirst(Double):
    async def imprint(self, write: Write) -> ImprintReceipt:
        with self.call():
            old = self.newest(write.merge_key)
            if old is not None:
                self.data.entries[old.id] = attrs.evolve(old, tags=write.tags)
                await asyncio.sleep(0)
            return self.once(write)


@breaks("engram:concurrent-readers", "found nothing while the entry was written")
class DeletesFirst(Double):
    async def imprint(self, write: Write) -> ImprintReceipt:
        with self.call():
            old = self.newest(write.merge_key)
            if old is not None:
                del self.data.entries[old.id]
                await asyncio.sleep(0)
                self.data.entries[old.id] = old
            return self.once(write)


@breaks("engram:concurrent-readers", "after")
class ReadsFromReplica(Double):
    """One that reads from a copy of the store, which every fourth write brings up to date."""

    copy: dict[str, Entry] | None = None

    def found(self, query: Query) -> Findings:
        newest = self.data.entries
        if self.copy is None or self.data.written % 4 == 0:
            self.copy = dict(newest)
        self.data.entries = self.copy
        try:
            return super().found(query)
        finally:
            self.data.entries = newest


# --- cancellation -----------------------------------------------------------------------------------


@breaks("engram:cancel-imprint", "CancelledError was swallowed")
class SwallowsCancellation(Double):
    async def imprint(self, write: Write) -> ImprintReceipt:
        try:
            return await super().imprint(write)
        except asyncio.CancelledError:
            return self.once(write)


@breaks("engram:cancel-imprint", "still runs")
class GoesOnWhenCancelled(Double):
    async def imprint(self, write: Write) -> ImprintReceipt:
        try:
            return await super().imprint(write)
        except asyncio.CancelledError:
            await asyncio.sleep(2 * concurrency.STUCK_S)
            raise


@breaks("engram:cancel-imprint", "and must find")
class IsHalfDoneWhenCancelled(Double):
    async def imprint(self, write: Write) -> ImprintReceipt:
        with self.call():
            if write.imprint_id not in self.data.rows:
                self.once(write)
                entry = self.data.entries[write.id or ""]
                self.data.entries[entry.id] = attrs.evolve(entry, vocabulary=frozenset())
                await asyncio.sleep(0)
                self.data.entries[entry.id] = entry
            return self.once(write)


@breaks("engram:cancel-close", "tasks still run")
class ClosesOnceAtMost(Double):
    async def connect(self) -> None:
        await super().connect()
        self.keeper = asyncio.ensure_future(asyncio.Event().wait())
        MUTANTS.cleanups.append(self.keeper.cancel)

    async def close(self) -> None:
        if self.connected:
            await super().close()
            await asyncio.sleep(0)
            self.keeper.cancel()


@breaks("engram:cancel-others", "ended as cancelled without a cancellation")
class CancelsTheWholeBatch(Double):
    batch: asyncio.Task[None] | None = None

    async def imprint(self, write: Write) -> ImprintReceipt:
        if self.batch is None or self.batch.done():
            self.batch = asyncio.ensure_future(asyncio.sleep(1))
        await self.batch  # not shielded
        return await super().imprint(write)


# --- several on one store ---------------------------------------------------------------------------


@breaks("engram:shared-see", "through the other")
class ReadsACopy(Double):
    copy: dict[str, Entry] | None = None

    async def imprint(self, write: Write) -> ImprintReceipt:
        receipt = await super().imprint(write)
        self.copy = dict(self.data.entries)
        return receipt

    def found(self, query: Query) -> Findings:
        copy = self.data.entries if self.copy is None else self.copy
        now, self.data.entries = self.data.entries, copy
        try:
            return super().found(query)
        finally:
            self.data.entries = now


@breaks("engram:shared-once", "through both have")
class RemembersAlone(Double):
    def once(self, write: Write) -> ImprintReceipt:
        self.mine: dict[str, ImprintReceipt] = getattr(self, "mine", {})
        if write.imprint_id not in self.mine:
            self.mine[write.imprint_id] = self.written(write)
        return self.mine[write.imprint_id]


@breaks("engram:shared-concurrent", "2 writes of one entry made the versions [1, 1]")
class LocksItselfAlone(Double):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.lock = asyncio.Lock()

    async def imprint(self, write: Write) -> ImprintReceipt:
        async with self.lock:
            before = dict(self.data.entries)
            await asyncio.sleep(0)
            now, self.data.entries = self.data.entries, before
            receipt = self.once(write)
            self.data.entries = {**now, **before}
            return receipt


@breaks("engram:shared-rollback", "undid 0 writes, not 1")
class UndoesItsOwnAlone(Double):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.mine: set[str] = set()

    def written(self, write: Write) -> ImprintReceipt:
        self.mine.add(write.imprint_id)
        return super().written(write)

    def undo_all(self, trace_id: str) -> int:
        rows = [row for id, row in self.data.rows.items() if id in self.mine and row.trace == trace_id]
        return sum([self.undo(row) for row in reversed(rows)])


@breaks("engram:shared-close", "while another one closed, writes ended in")
class ClosesTheStore(Double):
    closers: list[Callable[[], None]]

    async def connect(self) -> None:
        await super().connect()
        self.closers = vars(self.data).setdefault("closers", [])
        self.closers.append(lambda: setattr(self, "connected", False))

    async def imprint(self, write: Write) -> ImprintReceipt:
        receipt = await super().imprint(write)
        self.check()
        return receipt

    async def close(self) -> None:
        for close in self.closers:
            close()
        await super().close()
