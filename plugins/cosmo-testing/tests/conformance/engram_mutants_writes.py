"""Engrams that write something else than they are told, or more than once."""

from __future__ import annotations

import asyncio
import json
import uuid

import attrs
import msgspec
from tests.conformance.engram_double import Double, Entry, Row, breaks

from cosmo_core import EngramError
from cosmo_core.contracts.engram import Findings, Found, ImprintReceipt, Query, Write, merged


@breaks("engram:receipts", "the receipt is")
class CountsNothing(Double):
    def written(self, write: Write) -> ImprintReceipt:
        return attrs.evolve(super().written(write), version=1)


@breaks("engram:receipts", "the receipt of 'memory' names")
class SignsForAnother(Double):
    def written(self, write: Write) -> ImprintReceipt:
        return attrs.evolve(super().written(write), engram_id="other")


@breaks("engram:add", "has the key 'k', which has []")
class AddsWithoutTheKey(Double):
    def put(
        self, write: Write, id: str, key: str | None, version: int, embedding: tuple[float, ...] | None
    ) -> str:
        return super().put(write, id, None if write.op == "add" else key, version, embedding)


@breaks("engram:add-exists", "under 'k' ended in None")
class AddsToAKey(Double):
    def stored(self, write: Write) -> str:
        if write.op == "add" and write.id not in self.data.entries:
            write = attrs.evolve(write, op="append")
        return super().stored(write)


@breaks("engram:fresh-id", "a new id is eng_ and a ULID")
class HasOtherIds(Double):
    def fresh_id(self) -> str:
        return str(uuid.uuid4())


@breaks("engram:fresh-id", "two entries have one id")
class GivesOneIdTwice(Double):
    def fresh_id(self) -> str:
        return "eng_" + 26 * "0"


@breaks("engram:append", "the id existed, and the receipt is")
class AppendsOverWhatIsThere(Double):
    def stored(self, write: Write) -> str:
        if write.op == "append" and write.id is not None:
            self.data.entries.pop(write.id, None)
        return super().stored(write)


@breaks("engram:upsert", "the receipt is")
class UpsertsUnderANewId(Double):
    def replace(self, write: Write, old: Entry) -> str:
        del self.data.entries[old.id]
        return self.put(write, self.fresh_id(), old.key, old.version + 1, write.embedding)


@breaks("engram:upsert", "the tags are those of the replaced entry")
class KeepsTheTags(Double):
    def replace(self, write: Write, old: Entry) -> str:
        return super().replace(attrs.evolve(write, tags=old.tags + write.tags), old)


@breaks("engram:upsert", "and is missing")
class UpsertsByMerging(Double):
    def replace(self, write: Write, old: Entry) -> str:
        return super().merge(write, old)


@breaks("engram:merge", "and the merge is")
class DropsItemsOfLists(Double):
    def merge(self, write: Write, old: Entry) -> str:
        whole = {**msgspec.json.decode(old.document), **write.entry}
        return self.put(write.with_entry(whole), old.id, old.key, old.version + 1, old.embedding)


@breaks("engram:merge-not-found", "ended in None")
class MergesWithNothing(Double):
    def stored(self, write: Write) -> str:
        if write.op == "merge" and self.newest(write.merge_key) is None:
            write = attrs.evolve(write, op="append")
        return super().stored(write)


@breaks("engram:merge-too-large", "ended in None")
class MergesToAnySize(Double):
    def merge(self, write: Write, old: Entry) -> str:
        whole = merged(msgspec.json.decode(old.document), write.entry)
        huge = attrs.evolve(
            write, entry=whole, document=msgspec.json.encode(whole), tags=whole.get("tags", ())
        )
        return self.put(huge, old.id, old.key, old.version + 1, old.embedding)


@breaks("engram:delete", "are left")
class DeletesAllOfAKey(Double):
    def deleted(self, write: Write) -> str | None:
        id = super().deleted(write)
        while write.id is None and (entry := self.newest(write.merge_key)) is not None:
            del self.data.entries[entry.id]
        return id


@breaks("engram:delete-nothing", "has nothing to delete")
class InsistsOnDeleting(Double):
    def deleted(self, write: Write) -> str | None:
        id = super().deleted(write)
        if id is None:
            raise self.error("NOT_FOUND", "has nothing to delete")
        return id


@breaks("engram:newest", "the receipt is")
class MeansTheOldest(Double):
    def newest(self, key: str | None) -> Entry | None:
        of_key = [entry for entry in self.data.entries.values() if key is not None and entry.key == key]
        return min(of_key, key=lambda entry: entry.written, default=None)


@breaks("engram:conflict", "upsert of {'id': 'f', 'n': 1} under 'k' ended in None")
class DoesNotLookAtTheId(Double):
    def stored(self, write: Write) -> str:
        old = self.newest(write.merge_key)
        if write.op in {"upsert", "merge"} and old is not None:
            write = attrs.evolve(write, id=None)
        return super().stored(write)


@breaks("engram:conflict", "delete of {'id': 'f', 'n': 1} under 'k' ended in None")
class DoesNotLookAtTheKey(Double):
    def deleted(self, write: Write) -> str | None:
        return super().deleted(write if write.id is None else attrs.evolve(write, merge_key=None))


@breaks("engram:again-after-delete", "the receipt is")
class RemembersVersions(Double):
    def put(
        self, write: Write, id: str, key: str | None, version: int, embedding: tuple[float, ...] | None
    ) -> str:
        before = [row.receipt.version or 0 for row in self.data.rows.values() if row.receipt.id == id]
        return super().put(write, id, key, max([version, *(each + 1 for each in before)]), embedding)


# --- once -------------------------------------------------------------------------------------------


@breaks("engram:once", "had the receipt")
class WritesWhatComesAgain(Double):
    def once(self, write: Write) -> ImprintReceipt:
        known = self.data.rows.get(write.imprint_id)
        if known is not None and write.op == "add":
            return known.receipt
        return self.written(write)


@breaks("engram:once", "repeated as")
class ForgetsWhatWasDeleted(Double):
    def deleted(self, write: Write) -> str | None:
        id = super().deleted(write)
        for imprint_id, row in list(self.data.rows.items()):
            if row.receipt.id == id is not None:
                del self.data.rows[imprint_id]
        return id


@breaks("engram:once-failed", "EngramError")
class RemembersWhatFailed(Double):
    def once(self, write: Write) -> ImprintReceipt:
        self.failed: dict[str, EngramError] = getattr(self, "failed", {})
        if write.imprint_id in self.failed:
            raise self.failed[write.imprint_id]
        try:
            return super().once(write)
        except EngramError as error:
            self.failed[write.imprint_id] = error
            raise


@breaks("engram:once-concurrent", "times, and has")
class LooksThenWrites(Double):
    async def imprint(self, write: Write) -> ImprintReceipt:
        with self.call():
            known = self.data.rows.get(write.imprint_id)
            await asyncio.sleep(0)
            return self.written(write) if known is None else known.receipt


@breaks("engram:once-window", "writes the latest 16 must be remembered")
class ForgetsEarly(Double):
    def remember(self, write: Write, row: Row) -> None:
        super().remember(write, row)
        for old in list(self.data.rows)[: 1 - self.guarantees.keeps_writes]:
            del self.data.rows[old]


# --- entries ----------------------------------------------------------------------------------------


@breaks("engram:document", "came back as")
class WritesItsOwnJson(Double):
    def found(self, query: Query) -> Findings:
        findings = super().found(query)
        again = [attrs.evolve(each, document=_again(each)) for each in findings.found]
        return attrs.evolve(findings, found=again)


def _again(found: Found) -> bytes:
    return json.dumps(json.loads(found.document), separators=(",", ":")).encode()


@breaks("engram:document-largest", "is too large")
class RefusesWhatIsLarge(Double):
    def once(self, write: Write) -> ImprintReceipt:
        if len(write.document) > 950_000:
            raise self.error("FULL", "says that this is too large")
        return super().once(write)


@breaks("engram:document-own", "changed the store")
class SharesItsEntries(Double):
    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self.live: dict[str, Write] = {}

    def put(
        self, write: Write, id: str, key: str | None, version: int, embedding: tuple[float, ...] | None
    ) -> str:
        self.live[id] = write
        return super().put(write, id, key, version, embedding)

    def found(self, query: Query) -> Findings:
        found = [
            attrs.evolve(each, document=msgspec.json.encode(self.live[each.id].entry))
            for each in super().found(query).found
        ]
        return Findings(found)


@breaks("engram:names-longest", "and must find")
class CutsNames(Double):
    def fits(self, entry: Entry, query: Query) -> bool:
        if query.merge_key is not None:
            query = attrs.evolve(query, merge_key=query.merge_key[:500])
            entry = attrs.evolve(entry, key=(entry.key or "")[:500])
        return super().fits(entry, query)


@breaks("engram:names-exact", "and must find")
class FoldsTags(Double):
    def fits(self, entry: Entry, query: Query) -> bool:
        folded = {tag.strip().casefold() for tag in entry.tags}
        wanted = {tag.strip().casefold() for tag in query.tags}
        return wanted <= folded and super().fits(entry, attrs.evolve(query, tags=()))
