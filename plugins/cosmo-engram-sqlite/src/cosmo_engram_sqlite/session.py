"""A database session: it runs batches of calls as transactions, in the thread that made it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from threading import Lock
from typing import Final

from cosmo_core.errors import EngramError
from cosmo_engram_sqlite.batching import Call
from cosmo_engram_sqlite.database import OpenFiles
from cosmo_engram_sqlite.failures import failure, is_busy
from cosmo_engram_sqlite.finding import find
from cosmo_engram_sqlite.writes import WriteLog

_STEPS: Final = 100_000
"""SQLite steps between two checks for a cancelled caller: some milliseconds."""


class SqliteSession:
    """Runs batches of calls on one connection.

    The writes of a batch share a transaction, so they wait for the disk once. If SQLite fails, each write is
    repeated in a transaction of its own, so that only the failing ones fail. A write that is refused is
    refused before it changes anything, and does not affect the others.

    Args:
        log: The log of writes on the connection, outside of a transaction.
        store: The name of the store in error messages.
        files: The files of the store; None for a store in memory.
    """

    def __init__(self, log: WriteLog, *, store: str, files: OpenFiles | None) -> None:
        self._connection = log.connection
        self._log = log
        self._store = store
        self._files = files
        self._reading: Call | None = None
        # Held while `_reading` changes, so that no call but the one meant is interrupted.
        self._lock = Lock()
        self._release_loop: Callable[[], None]
        self._connection.set_progress_handler(self._is_cancelled, _STEPS)

    def run(self, calls: Sequence[Call], release_loop: Callable[[], None]) -> list[object]:
        """Do a batch of calls; return for each its result, or the error to raise at its caller.

        Args:
            calls: The calls.
            release_loop: Ends the wait of the event loop; called before waiting for the disk.
        """
        self._release_loop = release_loop
        try:
            self._check_files()
        except EngramError as error:
            return [error] * len(calls)
        outcomes: list[object] = []
        for reads, group in groupby(calls, key=_is_read):
            same_kind = list(group)
            outcomes += self._read(same_kind) if reads else self._write(same_kind)
        return outcomes

    def interrupt(self, call: Call) -> None:
        """End the search of a cancelled caller, if it is running. Any thread may call this."""
        with self._lock:
            if self._reading is call:
                self._connection.interrupt()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _check_files(self) -> None:
        if self._files is not None:
            self._files.check()

    # --- reading ------------------------------------------------------------------------------------

    def _read(self, calls: list[Call]) -> list[object]:
        if len(calls) == 1:
            return self._one_by_one(calls, self._find)
        # One transaction: all of them read the same state, and lock the file once.
        self._connection.execute("BEGIN")
        try:
            return self._one_by_one(calls, self._find)
        finally:
            # An error, such as that of a failing disk, may have ended the transaction.
            if self._connection.in_transaction:
                self._connection.execute("COMMIT")

    def _find(self, call: Call) -> object:
        self._set_reading(call)
        try:
            # The caller may have been cancelled since the batch was made.
            return None if call.future.cancelled() else find(self._connection, call.argument)
        finally:
            self._set_reading(None)

    def _set_reading(self, call: Call | None) -> None:
        with self._lock:
            self._reading = call

    def _is_cancelled(self) -> bool:
        # SQLite calls this during a long statement, so the loop should not wait for it.
        self._release_loop()
        return self._reading is not None and self._reading.future.cancelled()

    # --- writing ------------------------------------------------------------------------------------

    def _write(self, calls: list[Call]) -> list[object]:
        try:
            return self._write_together(calls)
        except EngramError as error:
            return [error for _ in calls]
        except sqlite3.Error as error:
            if len(calls) == 1 or is_busy(error):
                return [failure(self._store, error) for _ in calls]
        return self._one_by_one(calls, lambda call: self._write_together([call])[0])

    def _write_together(self, calls: Iterable[Call]) -> list[object]:
        try:
            self._log.begin()
            outcomes = [self._attempt(call) for call in calls]
            self._log.delete_oldest()
            if self._files is not None:
                self._release_loop()
            self._connection.execute("COMMIT")
            # Nothing is acknowledged that went to a file without a name.
            self._check_files()
        except BaseException:
            # An error, such as that of a full disk, may have ended the transaction.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        return outcomes

    def _attempt(self, call: Call) -> object:
        try:
            return call.work(self._log, call.argument)
        except EngramError as error:
            return error

    # --- both ---------------------------------------------------------------------------------------

    def _one_by_one(self, calls: list[Call], work: Callable[[Call], object]) -> list[object]:
        outcomes: list[object] = []
        for index, call in enumerate(calls):
            try:
                outcomes.append(work(call))
            except sqlite3.Error as error:
                if is_busy(error):
                    # The other calls would only wait for the same lock.
                    return [*outcomes, *(failure(self._store, error) for _ in calls[index:])]
                outcomes.append(failure(self._store, error))
        return outcomes


def _is_read(call: Call) -> bool:
    return call.work is find
