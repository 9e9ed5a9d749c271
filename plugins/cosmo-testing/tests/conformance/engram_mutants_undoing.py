"""Engrams that undo too much, too little, or something else."""

from __future__ import annotations

import asyncio

import attrs
from tests.conformance.engram_double import Double, Entry, Row, breaks

from cosmo_core.contracts.engram import ImprintReceipt, Write


@breaks("engram:rollback-restores", "the receipt is")
class LosesVersions(Double):
    def restore(self, id: str, before: Entry | None) -> None:
        super().restore(id, before and attrs.evolve(before, version=1))


@breaks("engram:rollback-restores", "was undone, and the query {'text': 'old'} finds")
class KeepsTheIndexOfWhatIsUndone(Double):
    def restore(self, id: str, before: Entry | None) -> None:
        now = self.data.entries.get(id)
        if before is not None and now is not None:
            before = attrs.evolve(before, words=now.words, vocabulary=now.vocabulary)
        super().restore(id, before)


@breaks("engram:rollback-restores", "roll_back('trace') undid 0 writes")
class UndoesNothing(Double):
    def undo_all(self, trace_id: str) -> int:
        return 0


@breaks("engram:rollback-order", "and must find")
class PutsWhatComesBackFirst(Double):
    def restore(self, id: str, before: Entry | None) -> None:
        self.data.written += 1
        super().restore(id, before and attrs.evolve(before, written=self.data.written))


@breaks("engram:rollback-order", "and must find")
class CountsFromWhatIsThere(Double):
    def put(
        self, write: Write, id: str, key: str | None, version: int, embedding: tuple[float, ...] | None
    ) -> str:
        self.data.written = max((entry.written for entry in self.data.entries.values()), default=0)
        return super().put(write, id, key, version, embedding)


@breaks("engram:rollback-many", "undid 1 writes, not 27")
class UndoesTheLastWrite(Double):
    def undo_all(self, trace_id: str) -> int:
        mine = [row for row in self.data.rows.values() if row.trace == trace_id]
        return sum(self.undo(row) for row in mine[-1:])


@breaks("engram:rollback-many", "writes, not 27")
class UndoesTheFirstWriteFirst(Double):
    def undo_all(self, trace_id: str) -> int:
        mine = [row for row in self.data.rows.values() if row.trace == trace_id]
        return sum([self.undo(row) for row in mine])


@breaks("engram:rollback-others", "undid 2 writes, not 1")
class UndoesTracesThatBeginAlike(Double):
    def undo_all(self, trace_id: str) -> int:
        traces = {row.trace for row in self.data.rows.values() if (row.trace or "").startswith(trace_id)}
        return sum(super(UndoesTracesThatBeginAlike, self).undo_all(each) for each in traces if each)


@breaks("engram:rollback-again", "undid 1 writes, not 0")
class UndoesTwice(Double):
    def undo(self, row: Row) -> bool:
        trace, before = row.trace, row.before
        undone = super().undo(row)
        row.trace, row.before = trace, before
        return undone


@breaks("engram:rollback-nothing", "undid 2 writes, not 0")
class CountsWhatChangedNothing(Double):
    def undo(self, row: Row) -> bool:
        return super().undo(row) or row.receipt.id is None


@breaks("engram:rollback-once", "a repeated write that was undone is written")
class ForgetsWhatIsUndone(Double):
    def undo_all(self, trace_id: str) -> int:
        undone = super().undo_all(trace_id)
        for imprint_id, row in list(self.data.rows.items()):
            if row.undone:
                del self.data.rows[imprint_id]
        return undone


@breaks("engram:rollback-once", "with another trace")
class JoinsTheTraceThatComesAgain(Double):
    def once(self, write: Write) -> ImprintReceipt:
        known = self.data.rows.get(write.imprint_id)
        if known is not None:
            known.trace, known.undone = write.trace_id, False
        return super().once(write)


@breaks("engram:rollback-overtaken", "undid 1 writes, not 0")
class DoesNotLookAtWhatCameLater(Double):
    def later(self, row: Row) -> Row | None:
        return None


@breaks("engram:rollback-chain", "the entry must be that of None")
class DoesNotPassOnWhatWasBefore(Double):
    def undo(self, row: Row) -> bool:
        later = self.later(row)
        before = None if later is None else later.before
        undone = super().undo(row)
        if later is not None:
            later.before = before
        return undone


@breaks("engram:rollback-between", "and must find")
class OverlooksDeletions(Double):
    def later(self, row: Row) -> Row | None:
        rows = list(self.data.rows.values())
        since = [each for each in rows[rows.index(row) + 1 :] if each.receipt.op != "delete"]
        return next((each for each in since if each.receipt.id == row.receipt.id and not each.undone), None)


@breaks("engram:rollback-shared-key", "and must find")
class AllowsOneEntryForAKey(Double):
    def restore(self, id: str, before: Entry | None) -> None:
        if before is None or self.newest(before.key) is None:
            super().restore(id, before)


@breaks("engram:commit-keeps", "undid 2 writes, not 0")
class CommitsNothing(Double):
    async def commit(self, trace_id: str) -> None:
        pass


@breaks("engram:commit-keeps", "undid 0 writes, not 1")
class CommitsEverything(Double):
    async def commit(self, trace_id: str) -> None:
        for row in self.data.rows.values():
            row.trace = None


@breaks("engram:commit-below", "undid 1 writes, not 0")
class ForgetsWhatIsCommitted(Double):
    async def commit(self, trace_id: str) -> None:
        for imprint_id, row in list(self.data.rows.items()):
            if row.trace == trace_id:
                del self.data.rows[imprint_id]


@breaks("engram:rollback-whole", "and readers saw")
class UndoesStepByStep(Double):
    async def roll_back(self, trace_id: str) -> int:
        undone = 0
        for row in reversed(list(self.data.rows.values())):
            if row.trace == trace_id:
                undone += self.undo(row)
                await asyncio.sleep(0)
        return undone


@breaks("engram:rollback-concurrent", "")
class LooksThenUndoes(Double):
    async def roll_back(self, trace_id: str) -> int:
        mine = [(row, self.later(row)) for row in self.data.rows.values() if row.trace == trace_id]
        await asyncio.sleep(0)
        for row, later in reversed(mine):
            if later is None and row.receipt.id is not None:
                self.restore(row.receipt.id, row.before)
            row.undone, row.trace = True, None
        return len(mine)


@breaks("engram:rollback-cancelled", "of 5 entries")
class StopsUndoingWhenCancelled(Double):
    async def roll_back(self, trace_id: str) -> int:
        undone = 0
        for row in reversed(list(self.data.rows.values())):
            if row.trace == trace_id:
                await asyncio.sleep(0)
                undone += self.undo(row)
        return undone


@breaks("engram:rollback-cancelled", "a commit was cancelled, and kept")
class StopsCommittingWhenCancelled(Double):
    async def commit(self, trace_id: str) -> None:
        for row in self.data.rows.values():
            if row.trace == trace_id:
                row.trace = None
                await asyncio.sleep(0)


@breaks("engram:model", "another order than newest first")
class SwapsNeighboursWhenUndoing(Double):
    def restore(self, id: str, before: Entry | None) -> None:
        super().restore(id, before)
        if len(self.data.entries) > 1:
            one, other = list(self.data.entries.values())[:2]
            self.data.entries[one.id] = attrs.evolve(one, written=other.written)
            self.data.entries[other.id] = attrs.evolve(other, written=one.written)
