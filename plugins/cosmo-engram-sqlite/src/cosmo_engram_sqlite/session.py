"""A connection at work: batches of calls become transactions."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Final

from cosmo_core.errors import EngramError
from cosmo_engram_sqlite import ledger
from cosmo_engram_sqlite.failures import failure, is_busy
from cosmo_engram_sqlite.finding import find

if TYPE_CHECKING:
    from cosmo_engram_sqlite.batching import Call

Work = Callable[["SqliteSession", object], object]

_STEPS: Final = 100_000
"""After how many of SQLite's steps it is asked whether somebody still waits: some milliseconds."""


class SqliteSession:
    """Runs calls in the thread that made it.

    The writes of a batch are one transaction, and so wait for the disk once. Should SQLite fail, each is done
    again in a transaction of its own, so that only those fail that have to. What a write refuses by itself
    it refuses before it has changed anything, and costs the others nothing.

    Attributes:
        connection: The connection.
        engram_id: Whose store it is.
        keeps_writes: How many of the latest writes are known.
        seq: The number of the latest write. Only in a transaction.

    Args:
        connection: The connection, without a transaction.
        engram_id: Whose store it is.
        store: What to call the store in errors.
        is_file: Whether a transaction ends with the disk.
        keeps_writes: How many of the latest writes to know.
    """

    def __init__(
        self, connection: sqlite3.Connection, *, engram_id: str, store: str, is_file: bool, keeps_writes: int
    ) -> None:
        self.connection = connection
        self.engram_id = engram_id
        self.keeps_writes = keeps_writes
        self.seq = 0
        self._store = store
        self._is_file = is_file
        self._reading: Call | None = None
        self._let_go: Callable[[], None]
        connection.set_progress_handler(self._is_abandoned, _STEPS)

    def run(self, calls: Sequence[Call], let_go: Callable[[], None]) -> list[object]:
        """Do these calls; return what comes of each: its result, or the error to raise at its caller.

        Args:
            calls: The calls.
            let_go: Called before it waits for the disk.
        """
        self._let_go = let_go
        outcomes: list[object] = []
        for reads, group in groupby(calls, key=_reads):
            alike = list(group)
            outcomes += self._read(alike) if reads else self._write(alike)
        return outcomes

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()

    # --- reading ------------------------------------------------------------------------------------

    def _read(self, calls: list[Call]) -> list[object]:
        if len(calls) == 1:
            return self._one_by_one(calls, self._find)
        # Together they look at one state of the store, and ask for it once.
        self.connection.execute("BEGIN")
        try:
            return self._one_by_one(calls, self._find)
        finally:
            # A failing disk, for one, has ended it already.
            if self.connection.in_transaction:
                self.connection.execute("COMMIT")

    def _find(self, call: Call) -> object:
        self._reading = call
        try:
            return find(self.connection, call.argument)
        finally:
            self._reading = None

    def _is_abandoned(self) -> bool:
        # Called by SQLite in the middle of a statement: it is a long one.
        self._let_go()
        return self._reading is not None and self._reading.future.cancelled()

    # --- writing ------------------------------------------------------------------------------------

    def _write(self, calls: list[Call]) -> list[object]:
        try:
            return self._write_together(calls)
        except sqlite3.Error as error:
            if len(calls) == 1 or is_busy(error):
                return [failure(self._store, error) for _ in calls]
        return self._one_by_one(calls, lambda call: self._write_together([call])[0])

    def _write_together(self, calls: Iterable[Call]) -> list[object]:
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            self.seq = ledger.latest(self.connection)
            outcomes = [_attempt(call.work, self, call.argument) for call in calls]
            ledger.prune(self.connection, self.seq, self.keeps_writes)
            if self._is_file:
                self._let_go()
            self.connection.execute("COMMIT")
        except BaseException:
            # A full disk, for one, has ended it already.
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            raise
        return outcomes

    # --- both ---------------------------------------------------------------------------------------

    def _one_by_one(self, calls: list[Call], work: Callable[[Call], object]) -> list[object]:
        outcomes: list[object] = []
        for at, call in enumerate(calls):
            try:
                outcomes.append(work(call))
            except sqlite3.Error as error:
                if is_busy(error):
                    # Waiting for another program once is enough for all of them.
                    return [*outcomes, *(failure(self._store, error) for _ in calls[at:])]
                outcomes.append(failure(self._store, error))
        return outcomes


def _reads(call: Call) -> bool:
    return call.work is find


def _attempt(work: Work, session: SqliteSession, argument: object) -> object:
    try:
        return work(session, argument)
    except EngramError as refused:
        return refused
