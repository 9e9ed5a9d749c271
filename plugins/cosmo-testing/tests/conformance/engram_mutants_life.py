"""Engrams that connect, close, or fail badly, or tell too much."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

import attrs
from tests.conformance.engram_double import MUTANTS, Double, Row, breaks

from cosmo_core import EngramError
from cosmo_core.contracts.engram import Findings, ImprintReceipt, Query, Write


@breaks("engram:shape", "engram_id is 'no token!'")
class HasNoToken(Double):
    engram_id = "no token!"


@breaks("engram:shape", "keeps_writes is 0")
class PromisesNothing(Double):
    guarantees = attrs.evolve(Double.guarantees, keeps_writes=0)


@breaks("engram:connect-twice", "and the store has")
class StartsAnewOnConnect(Double):
    async def connect(self) -> None:
        if self.connected:
            self.data.entries.clear()
        await super().connect()


@breaks("engram:close-twice", "RuntimeError: closed already")
class ClosesOnce(Double):
    closed = False

    async def close(self) -> None:
        if self.closed:
            raise RuntimeError("closed already")
        self.closed = True
        await super().close()


@breaks("engram:use-closed", "recall on a closed Engram ended in None")
class AnswersWhenClosed(Double):
    def check(self) -> None:
        pass


@breaks("engram:use-closed", "not in an EngramError with the code ENGRAM_UNAVAILABLE")
class HasNoCodeWhenClosed(Double):
    def check(self) -> None:
        if not self.connected:
            raise EngramError(f"{self.engram_id} is closed")


@breaks("engram:connect-again", "is closed")
class ConnectsOnlyOnce(Double):
    ever = False

    async def connect(self) -> None:
        self.connected = not self.ever
        self.ever = True


class Slow(Double):
    """One whose calls take the longer, the more there are."""

    async def imprint(self, write: Write) -> ImprintReceipt:
        with self.call():
            for _ in range(self.calls):
                await asyncio.sleep(0)
            return self.late(write)

    def late(self, write: Write) -> ImprintReceipt:
        return self.once(write)


@breaks("engram:close-finishes", "and are missing")
class LosesWhatItAcknowledged(Slow):
    def late(self, write: Write) -> ImprintReceipt:
        if not self.connected:
            return ImprintReceipt(self.engram_id, write.op, write.id, 1)
        return super().late(write)


@breaks("engram:close-finishes", "were refused during close(), and were written")
class WritesWhatItRefused(Slow):
    def late(self, write: Write) -> ImprintReceipt:
        receipt = super().late(write)
        self.check()
        return receipt


@breaks("engram:close-finishes", "ended as cancelled without a cancellation")
class CancelsWhatIsBeingWritten(Slow):
    def late(self, write: Write) -> ImprintReceipt:
        if not self.connected:
            raise asyncio.CancelledError
        return super().late(write)


@breaks("engram:close-finishes", "calls still run")
class ForgetsWhoWaits(Slow):
    async def close(self) -> None:
        self.connected = False

    async def imprint(self, write: Write) -> ImprintReceipt:
        receipt = await super().imprint(write)
        if not self.connected:
            await asyncio.Event().wait()
        return receipt


@breaks("engram:close-leaves-nothing", "tasks still run")
class LeavesATask(Double):
    async def connect(self) -> None:
        await super().connect()
        MUTANTS.cleanups.append(asyncio.ensure_future(asyncio.Event().wait()).cancel)


@breaks("engram:close-leaves-nothing", "these are left")
class LeavesASocket(Double):
    async def connect(self) -> None:
        await super().connect()
        for end in socket.socketpair():
            MUTANTS.cleanups.append(end.close)


@breaks("engram:close-leaves-nothing", "these are left")
class LeavesAThread(Double):
    async def connect(self) -> None:
        await super().connect()
        ended = threading.Event()
        threading.Thread(target=ended.wait, daemon=True).start()
        MUTANTS.cleanups.append(ended.set)


@breaks("engram:errors", "is not an EngramError")
class RaisesWhatItLikes(Double):
    def error(self, code: str, what: str, *, recoverable: bool = False) -> Any:
        return LookupError(f"{self.engram_id} {what}")


@breaks("engram:errors", "is not named in")
class DoesNotSayWho(Double):
    def error(self, code: str, what: str, *, recoverable: bool = False) -> EngramError:
        return EngramError(what, code=f"ENGRAM_{code}")


@breaks("engram:errors", "an error contains the content of an entry")
class TellsOfEntries(Double):
    def stored(self, write: Write) -> str:
        try:
            return super().stored(write)
        except EngramError as error:
            raise EngramError(f"{error}: {write.entry}", code=error.code) from None


@breaks("engram:secrets", "secrets[0]")
class ShowsItsPassword(Double):
    def __repr__(self) -> str:
        return f"<Engram at db://me:{self.password}@host>"


@breaks("engram:secrets", "secrets[0]")
class TellsItsPassword(Double):
    def error(self, code: str, what: str, *, recoverable: bool = False) -> EngramError:
        return super().error(code, f"at db://me:{self.password}@host {what}", recoverable=recoverable)


# --- being cut off, and worse -----------------------------------------------------------------------


@breaks("engram:break-recovers", "did not end within")
class NeverRecovers(Double):
    def check(self) -> None:
        if self.cut_off:
            self.data.damaged = True
        if self.data.damaged:
            raise self.error("UNAVAILABLE", "has lost its connection", recoverable=True)
        super().check()


@breaks("engram:break-recovers", "not in a recoverable EngramError")
class GivesUpForGood(Double):
    def error(self, code: str, what: str, *, recoverable: bool = False) -> EngramError:
        return super().error(code, what)


@breaks("engram:break-once", "repeated as")
class ForgetsWhatWasUnderWay(Slow):
    def late(self, write: Write) -> ImprintReceipt:
        receipt = super().late(write)
        if self.cut_off:
            del self.data.rows[write.imprint_id]
        return receipt


@breaks("engram:break-once", "were written, and there are")
class WritesAgainAfterwards(Slow):
    def late(self, write: Write) -> ImprintReceipt:
        receipt = super().late(write)
        if self.cut_off:
            self.put(write, self.fresh_id(), write.merge_key, 1, None)
        return receipt


@breaks("engram:damage-said", "imprint on an unusable store ended in OSError")
class RaisesWhatTheDiskRaised(Double):
    def check(self) -> None:
        if self.data.damaged:
            raise OSError("cannot read block 7")
        super().check()


@breaks("engram:damage-said", "recall on an unusable store ended in None")
class FindsNothingInARuin(Double):
    async def recall(self, query: Query) -> Findings:
        return Findings([]) if self.data.damaged else await super().recall(query)


# --- opening again ----------------------------------------------------------------------------------


@breaks("engram:reopen-entries", "after reopening 1 times")
class ForgetsTheOrder(Double):
    async def connect(self) -> None:
        await super().connect()
        for number, entry in enumerate(self.data.entries.values()):
            self.data.entries[entry.id] = attrs.evolve(entry, written=number)


@breaks("engram:reopen-entries", "the query {'merge_key': 'k'} finds")
class KeepsNoKeys(Double):
    async def connect(self) -> None:
        await super().connect()
        for entry in list(self.data.entries.values()):
            self.data.entries[entry.id] = attrs.evolve(entry, key=None)


class Reopened(Double):
    """One that changes what it remembers when it is opened."""

    async def connect(self) -> None:
        await super().connect()
        for imprint_id, row in list(self.data.rows.items()):
            self.remembered(imprint_id, row)

    def remembered(self, imprint_id: str, row: Row) -> None:
        raise NotImplementedError


@breaks("engram:reopen-once", "already")
class ForgetsItsWrites(Reopened):
    def remembered(self, imprint_id: str, row: Row) -> None:
        del self.data.rows[imprint_id]


@breaks("engram:reopen-rollback", "roll_back('open') undid 0 writes")
class LosesItsJournal(Reopened):
    def remembered(self, imprint_id: str, row: Row) -> None:
        row.trace = None
