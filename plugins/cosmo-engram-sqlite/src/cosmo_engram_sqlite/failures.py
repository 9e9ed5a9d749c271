"""What SQLite's errors mean to whoever uses the Engram, in words that say what to do."""

from __future__ import annotations

import sqlite3
from typing import Final

from cosmo_core.errors import EngramError

_LOCKED: Final = (
    "is locked: another program has been writing to it for too long; try again, and find out which program "
    "keeps a transaction open"
)
_FULL: Final = "has no room left: free some on its disk, and try again; nothing was written"
_CORRUPT: Final = "is damaged: restore it from a backup, or move it away to start anew; it was left as it is"
_CLOSED_OFF: Final = (
    "cannot be opened: check that its folder exists, that the path is no folder, and that this program "
    "has the rights to both"
)
_READ_ONLY: Final = "cannot be written: give this program the right to write to the file and to its folder"
_BROKEN_OFF: Final = (
    "cannot be read or written: look for a failing disk, a quota, or a limit to the size of files"
)
_CHANGED: Final = "is not as this Engram made it: restore it from a backup, or move it away to start anew"

# By SQLite's primary result code.
_MEANINGS: Final[dict[int, tuple[str, str]]] = {
    sqlite3.SQLITE_BUSY: ("ENGRAM_UNAVAILABLE", _LOCKED),
    sqlite3.SQLITE_LOCKED: ("ENGRAM_UNAVAILABLE", _LOCKED),
    sqlite3.SQLITE_FULL: ("ENGRAM_FULL", _FULL),
    sqlite3.SQLITE_CORRUPT: ("ENGRAM_CORRUPT", _CORRUPT),
    sqlite3.SQLITE_NOTADB: ("ENGRAM_CORRUPT", _CORRUPT),
    sqlite3.SQLITE_CANTOPEN: ("ENGRAM_UNAVAILABLE", _CLOSED_OFF),
    sqlite3.SQLITE_PERM: ("ENGRAM_UNAVAILABLE", _CLOSED_OFF),
    sqlite3.SQLITE_READONLY: ("ENGRAM_UNAVAILABLE", _READ_ONLY),
    sqlite3.SQLITE_IOERR: ("ENGRAM_UNAVAILABLE", _BROKEN_OFF),
    sqlite3.SQLITE_NOMEM: ("ENGRAM_UNAVAILABLE", "cannot be used: there is no memory left"),
    sqlite3.SQLITE_INTERRUPT: ("ENGRAM_UNAVAILABLE", "was interrupted: nobody waited for the answer"),
}


def failure(store: str, error: sqlite3.Error) -> EngramError:
    """Return what to tell the caller.

    Args:
        store: Which store it is.
        error: What SQLite, or Python's module for it, raised.
    """
    code, meaning = _MEANINGS.get(_primary(error), ("ENGRAM_CORRUPT", _CHANGED))
    # SQLite's own words name what is wrong, never a value.
    return EngramError(f"{store} {meaning} ({error})", code=code, recoverable=code != "ENGRAM_CORRUPT")


def is_busy(error: sqlite3.Error) -> bool:
    """Tell whether another program holds the store, after waiting for it."""
    return _primary(error) in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def _primary(error: sqlite3.Error) -> int:
    # What Python's module raises by itself has no code.
    extended: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return extended & 0xFF
