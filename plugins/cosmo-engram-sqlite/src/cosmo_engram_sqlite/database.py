"""The database of an Engram: its tables, and connections to it."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Final

from cosmo_core.errors import EngramError
from cosmo_engram_sqlite.failures import failure, is_busy
from cosmo_engram_sqlite.vectors import add_vector_functions

VERSION: Final = 1
"""Version of the tables, stored as ``user_version``."""

APPLICATION: Final = 0x436F456E
"""The ``application_id`` that marks a file as a database of this plugin."""

BUSY_S: Final = 5.0
"""Seconds to wait while another program writes."""

_RETRY_S: Final = 0.01
_CACHE_KIB: Final = 64 * 1024
_LOG_BYTES: Final = 64 * 1024 * 1024

# `number` identifies an entry for its whole life: the word index and the embedding refer to it.
# `written` is the number of the write that stored the entry: higher is newer, and no two are equal.
# The word index has several segments, and a query reads each of them. Merging them earlier than by default
# halves their number and costs nothing in total.
_TABLES: Final = """
CREATE TABLE store (engram_id TEXT NOT NULL);

CREATE TABLE entries (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    merge_key TEXT,
    version INTEGER NOT NULL,
    written INTEGER NOT NULL UNIQUE,
    tags TEXT,
    embedded INTEGER NOT NULL,
    document BLOB NOT NULL,
    text TEXT NOT NULL
);
CREATE INDEX entries_by_key ON entries (merge_key, written) WHERE merge_key IS NOT NULL;

CREATE TABLE tags (
    tag TEXT NOT NULL,
    written INTEGER NOT NULL,
    PRIMARY KEY (tag, written)
) WITHOUT ROWID;

CREATE TABLE embeddings (number INTEGER PRIMARY KEY, embedding BLOB NOT NULL);

CREATE VIRTUAL TABLE words USING fts5 (
    text, content = 'entries', content_rowid = 'number', tokenize = 'ascii'
);

INSERT INTO words (words, rank) VALUES ('automerge', 2);
INSERT INTO words (words, rank) VALUES ('crisismerge', 4);

CREATE TABLE writes (
    seq INTEGER PRIMARY KEY,
    imprint_id TEXT NOT NULL UNIQUE,
    op TEXT NOT NULL,
    entry TEXT,
    version INTEGER,
    trace_id TEXT,
    before BLOB,
    undone INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX writes_by_trace ON writes (trace_id, seq) WHERE trace_id IS NOT NULL;
CREATE INDEX writes_by_entry ON writes (entry, seq) WHERE entry IS NOT NULL;
"""


class OpenFiles:
    """The files of an open store, to notice that one was moved or deleted.

    SQLite does not notice, and goes on writing to files that have no name any more.

    Args:
        path: The database. A connection to it must be open.
        store: The name of the store in error messages.
    """

    def __init__(self, path: str | Path, *, store: str) -> None:
        self._store = store
        # The other files are beside the database itself, also if the path is a link to it.
        real = Path(path).resolve()
        files = (Path(path).absolute(), Path(f"{real}-wal"), Path(f"{real}-shm"))
        self._identities = {file: _identity(file) for file in files}

    def check(self) -> None:
        """Check that each file is the one that was opened.

        Raises:
            EngramError: ``ENGRAM_UNAVAILABLE``: a file was moved, deleted or replaced.
        """
        for file, identity in self._identities.items():
            if _identity(file) != identity:
                raise EngramError(
                    f"{self._store}: {file} was moved, deleted or replaced while it was open: put it back, "
                    "or close the Engram and connect it again",
                    code="ENGRAM_UNAVAILABLE",
                    recoverable=True,
                )


def _identity(file: Path) -> tuple[int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def open_connection(
    path: str | Path, *, engram_id: str, store: str, writes: bool = True
) -> sqlite3.Connection:
    """Open a connection to the database, and create the database if it does not exist.

    The connection belongs to the calling thread.

    Args:
        path: The file, or ``:memory:``.
        engram_id: The Engram that the database must belong to.
        store: The name of the store in error messages.
        writes: Whether the connection may create the database and write to it.

    Raises:
        EngramError: The database cannot be used. An existing file was not changed.
    """
    connection: sqlite3.Connection | None = None
    try:
        connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, cached_statements=256)
        # Checked before anything else, so that the file of another program is not changed.
        exists = _has_tables(connection, store)
        _set_pragmas(connection, store)
        if writes and not exists:
            _create_tables(connection, engram_id, store)
        _check_owner(connection, engram_id, store)
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


def _has_tables(connection: sqlite3.Connection, store: str) -> bool:
    """Tell whether the tables exist. A new file has none.

    Raises:
        EngramError: ``ENGRAM_CONFLICT``: the file belongs to another program. ``ENGRAM_UNSUPPORTED``: its
            tables have another version.
        sqlite3.Error: The file cannot be read.
    """
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application == version == tables == 0:
        return False
    if application != APPLICATION:
        raise EngramError(
            f"{store} is the database of another program: use another path",
            code="ENGRAM_CONFLICT",
        )
    if version != VERSION:
        newer = version > VERSION
        raise EngramError(
            f"{store} has tables of version {version}; this plugin supports version {VERSION}: "
            f"{'install a newer cosmo-engram-sqlite' if newer else 'use another path'}",
            code="ENGRAM_UNSUPPORTED",
        )
    return True


def _set_pragmas(connection: sqlite3.Connection, store: str) -> None:
    mode = _enable_log(connection)
    if mode not in {"wal", "memory"}:
        raise EngramError(
            f"{store} cannot have a write-ahead log (its journal mode is {mode!r}): "
            "use a local disk, not a network drive",
            code="ENGRAM_UNSUPPORTED",
        )
    # With these two, acknowledged writes survive a power cut; macOS needs the second one.
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA fullfsync = ON")
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    connection.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")


def _enable_log(connection: sqlite3.Connection) -> str:
    """Switch to a write-ahead log; return the journal mode that the database has afterwards."""
    deadline = time.monotonic() + BUSY_S
    while True:
        try:
            mode: str = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        except sqlite3.OperationalError as error:
            # SQLite's own busy time-out does not apply here when several programs open a new file at once.
            if not is_busy(error) or time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_S)
        else:
            return mode


def _create_tables(connection: sqlite3.Connection, engram_id: str, store: str) -> None:
    """Create the tables, unless another program has created them in the meantime.

    Raises:
        EngramError: As `_has_tables`, or this SQLite has no FTS5.
        sqlite3.Error: The tables could not be created; the file was not changed.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        if not _has_tables(connection, store):
            for statement in _TABLES.split(";\n"):
                connection.execute(statement)
            connection.execute("INSERT INTO store (engram_id) VALUES (?)", (engram_id,))
            connection.execute(f"PRAGMA application_id = {APPLICATION}")
            connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException as error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        if isinstance(error, sqlite3.OperationalError) and "fts5" in str(error):
            raise EngramError(
                f"{store} needs FTS5, which SQLite {sqlite3.sqlite_version} of this Python lacks: "
                "use a Python whose SQLite has FTS5",
                code="ENGRAM_UNSUPPORTED",
            ) from None
        raise


def _check_owner(connection: sqlite3.Connection, engram_id: str, store: str) -> None:
    """Check that the database belongs to this Engram.

    Raises:
        EngramError: ``ENGRAM_CONFLICT``: it belongs to another Engram.
        sqlite3.Error: The file cannot be read.
    """
    row = connection.execute("SELECT engram_id FROM store").fetchone()
    owner = None if row is None else row[0]
    if owner != engram_id:
        raise EngramError(
            f"{store} belongs to the Engram {owner!r}: use that engram_id, or another path",
            code="ENGRAM_CONFLICT",
        )
