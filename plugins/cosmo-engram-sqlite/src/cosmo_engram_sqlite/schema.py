"""The tables of a store, and whose it is."""

from __future__ import annotations

import sqlite3
from typing import Final

from cosmo_core.errors import EngramError

VERSION: Final = 1
"""Of the tables; a file says its own in ``user_version``."""

APPLICATION: Final = 0x436F456E
"""Says in a file's ``application_id`` that it is a store of this plugin."""

# `number` is what never changes about an entry: the index of words, and its embedding, are kept under it.
# `written` is the number of the write that stored it: the higher, the newer, and no two have the same.
# The index of words is in parts, each of which a query looks into; it is merged sooner than by default, which
# halves their number, and costs no more in all.
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


def is_made(connection: sqlite3.Connection, store: str) -> bool:
    """Tell whether the tables are there; they are not in a new file.

    Raises:
        EngramError: ``ENGRAM_CONFLICT``: the file is something else's. ``ENGRAM_UNSUPPORTED``: it is from a
            newer version of this plugin.
        sqlite3.Error: The file cannot be read.
    """
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application == version == tables == 0:
        return False
    if application != APPLICATION:
        raise EngramError(
            f"{store} is the database of another program: give the path of a store, or a new one",
            code="ENGRAM_CONFLICT",
        )
    if version > VERSION:
        raise EngramError(
            f"{store} has tables of version {version}, and this plugin knows {VERSION}: "
            "install a newer cosmo-engram-sqlite",
            code="ENGRAM_UNSUPPORTED",
        )
    return True


def make(connection: sqlite3.Connection, engram_id: str, store: str) -> None:
    """Make the tables, unless another program was faster.

    Raises:
        EngramError: As `is_made`, or there is no FTS5 in this SQLite.
        sqlite3.Error: They could not be made; nothing was.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        if not is_made(connection, store):
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
                f"{store} needs FTS5, which SQLite {sqlite3.sqlite_version} here lacks: "
                "use a Python whose SQLite has it",
                code="ENGRAM_UNSUPPORTED",
            ) from None
        raise


def check_owner(connection: sqlite3.Connection, engram_id: str, store: str) -> None:
    """Refuse the store of another Engram.

    Raises:
        EngramError: ``ENGRAM_CONFLICT``: it is one.
        sqlite3.Error: The file cannot be read.
    """
    row = connection.execute("SELECT engram_id FROM store").fetchone()
    owner = None if row is None else row[0]
    if owner != engram_id:
        raise EngramError(
            f"{store} belongs to the Engram {owner!r}: give that engram_id, or another path",
            code="ENGRAM_CONFLICT",
        )
