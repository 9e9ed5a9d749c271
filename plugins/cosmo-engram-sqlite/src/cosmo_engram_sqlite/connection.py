"""Opening a store: one connection, as the Engram needs it."""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING, Final

from cosmo_core.errors import EngramError
from cosmo_engram_sqlite import schema
from cosmo_engram_sqlite.failures import failure, is_busy
from cosmo_engram_sqlite.vectors import add_vector_functions

if TYPE_CHECKING:
    from pathlib import Path

BUSY_S: Final = 5.0
"""For how many seconds to wait while another program writes."""

_AGAIN_S: Final = 0.01
_CACHE_KIB: Final = 64 * 1024
_LOG_BYTES: Final = 64 * 1024 * 1024


def open_connection(
    path: str | Path, *, engram_id: str, store: str, writes: bool = True
) -> sqlite3.Connection:
    """Return a connection to the store, which is made if it is not there. It belongs to this thread.

    Args:
        path: The file, or ``:memory:``.
        engram_id: Whose store it must be.
        store: What to call it in errors.
        writes: Whether it is to make the store, and to write to it.

    Raises:
        EngramError: It cannot be used. What is there was left as it is.
    """
    connection: sqlite3.Connection | None = None
    try:
        connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, cached_statements=256)
        # Asked first: the file of another program is left as it is.
        is_made = schema.is_made(connection, store)
        _set_up(connection, store)
        if writes and not is_made:
            schema.make(connection, engram_id, store)
        schema.check_owner(connection, engram_id, store)
        if not writes:
            connection.execute("PRAGMA query_only = ON")
        add_vector_functions(connection)
    except BaseException as error:
        if connection is not None:
            connection.close()
        if isinstance(error, sqlite3.Error):
            raise failure(store, error) from error
        raise
    return connection


def _set_up(connection: sqlite3.Connection, store: str) -> None:
    mode = _with_log(connection)
    if mode not in {"wal", "memory"}:
        raise EngramError(
            f"{store} cannot have a write-ahead log (its journal is {mode!r}): "
            "put it on a disk of this machine, not on a network drive",
            code="ENGRAM_UNSUPPORTED",
        )
    # What was acknowledged survives a power cut, too: on macOS that takes the second one.
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA fullfsync = ON")
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    connection.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")


def _with_log(connection: sqlite3.Connection) -> str:
    """Give the store a write-ahead log; return the kind of journal it has then."""
    give_up = time.monotonic() + BUSY_S
    while True:
        try:
            mode: str = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        except sqlite3.OperationalError as error:
            # SQLite does not wait here, when several programs open a new file at once.
            if not is_busy(error) or time.monotonic() > give_up:
                raise
            time.sleep(_AGAIN_S)
        else:
            return mode
