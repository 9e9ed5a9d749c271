"""Translation of SQLite's errors into `EngramError`s that say what to do."""

from __future__ import annotations

import sqlite3
from typing import Final

from cosmo_core.errors import EngramError

_LOCKED: Final = (
    "is locked: another program has been writing to it for too long; try again, and find out which program "
    "keeps a transaction open"
)
_FULL: Final = "has no space left: free some space on its disk, and try again; nothing was written"
_CORRUPT: Final = (
    "is damaged: restore it from a backup, or move it away to start with an empty one; "
    "the file was not changed"
)
_NOT_OPENED: Final = (
    "cannot be opened: check that its folder exists, that the path is not a folder, that this program may "
    "read and write both, and that it may open more files (ulimit -n)"
)
_READ_ONLY: Final = "cannot be written: give this program write access to the file and to its folder"
_IO_ERROR: Final = (
    "cannot be read or written: check for a failing disk, a quota, or a limit on the size of files"
)
_CHANGED: Final = (
    "does not have the expected tables: restore it from a backup, or move it away to start with an empty one"
)

# By SQLite's primary result code.
_MEANINGS: Final[dict[int, tuple[str, str]]] = {
    sqlite3.SQLITE_BUSY: ("ENGRAM_UNAVAILABLE", _LOCKED),
    sqlite3.SQLITE_LOCKED: ("ENGRAM_UNAVAILABLE", _LOCKED),
    sqlite3.SQLITE_FULL: ("ENGRAM_FULL", _FULL),
    sqlite3.SQLITE_CORRUPT: ("ENGRAM_CORRUPT", _CORRUPT),
    sqlite3.SQLITE_NOTADB: ("ENGRAM_CORRUPT", _CORRUPT),
    sqlite3.SQLITE_CANTOPEN: ("ENGRAM_UNAVAILABLE", _NOT_OPENED),
    sqlite3.SQLITE_PERM: ("ENGRAM_UNAVAILABLE", _NOT_OPENED),
    sqlite3.SQLITE_READONLY: ("ENGRAM_UNAVAILABLE", _READ_ONLY),
    sqlite3.SQLITE_IOERR: ("ENGRAM_UNAVAILABLE", _IO_ERROR),
    sqlite3.SQLITE_NOMEM: ("ENGRAM_UNAVAILABLE", "cannot be used: there is no memory left"),
    sqlite3.SQLITE_INTERRUPT: ("ENGRAM_UNAVAILABLE", "was interrupted: the caller was cancelled"),
}


def failure(store: str, error: sqlite3.Error) -> EngramError:
    """Return the `EngramError` for an error of SQLite or of Python's ``sqlite3`` module.

    Args:
        store: The name of the store in the message.
        error: The error.
    """
    code, meaning = _MEANINGS.get(_primary_code(error), ("ENGRAM_CORRUPT", _CHANGED))
    # SQLite's messages name tables and columns, never a value, so they are safe to pass on.
    return EngramError(f"{store} {meaning} ({error})", code=code, recoverable=code != "ENGRAM_CORRUPT")


def is_busy(error: sqlite3.Error) -> bool:
    """Tell whether the error means that another program kept the database locked."""
    return _primary_code(error) in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def _primary_code(error: sqlite3.Error) -> int:
    # Errors that Python's module raises by itself have no code.
    extended: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return extended & 0xFF
