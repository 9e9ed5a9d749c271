"""The rows of an entry: its main row, its words, its tags and its embedding."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec

_COLUMNS: Final = "number, id, merge_key, version, written, tags, embedded, document, text"
_BY_ID: Final = f"SELECT {_COLUMNS} FROM entries WHERE id = ?"  # noqa: S608 - no value is in it
_NEWEST: Final = f"SELECT {_COLUMNS} FROM entries WHERE merge_key = ? ORDER BY written DESC LIMIT 1"  # noqa: S608
_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode
_encode_tags: Final = msgspec.json.Encoder().encode
_decode_tags: Final = msgspec.json.Decoder(list[str]).decode


class Stored(NamedTuple):
    """The main row of an entry."""

    number: int
    id: str
    merge_key: str | None
    version: int
    written: int
    tags: str | None
    embedded: int
    document: bytes
    text: str


class Content(NamedTuple):
    """What a write can change of an entry: everything except its id and its key."""

    version: int
    written: int
    tags: Sequence[str]
    embedding: bytes | None
    document: bytes
    text: str


def by_id(connection: sqlite3.Connection, id: str) -> Stored | None:
    """Return the entry with an id."""
    row = connection.execute(_BY_ID, (id,)).fetchone()
    return None if row is None else Stored._make(row)


def newest(connection: sqlite3.Connection, merge_key: str) -> Stored | None:
    """Return the entry with a key; of several, the one that was written last."""
    row = connection.execute(_NEWEST, (merge_key,)).fetchone()
    return None if row is None else Stored._make(row)


def embedding_of(connection: sqlite3.Connection, stored: Stored) -> bytes | None:
    """Return the packed embedding of an entry."""
    if not stored.embedded:
        return None
    row = connection.execute("SELECT embedding FROM embeddings WHERE number = ?", (stored.number,)).fetchone()
    embedding: bytes = row[0]
    return embedding


def decoded(document: bytes) -> dict[str, Any]:
    """Decode the stored JSON of an entry.

    Raises:
        sqlite3.DatabaseError: It is not valid JSON.
    """
    try:
        return _decode(document)
    except msgspec.DecodeError as error:
        raise sqlite3.DatabaseError(f"an entry is not JSON: {error}") from None


def insert(connection: sqlite3.Connection, id: str, merge_key: str | None, content: Content) -> None:
    """Add an entry."""
    tags = _encode_tags(content.tags).decode() if content.tags else None
    embedded = content.embedding is not None
    number = connection.execute(
        "INSERT INTO entries (id, merge_key, version, written, tags, embedded, document, text)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (id, merge_key, content.version, content.written, tags, embedded, content.document, content.text),
    ).lastrowid
    if content.text:
        connection.execute("INSERT INTO words (rowid, text) VALUES (?, ?)", (number, content.text))
    _insert_tags(connection, content)
    if embedded:
        _put_embedding(connection, number, content)


def replace(connection: sqlite3.Connection, old: Stored, content: Content) -> None:
    """Replace the content of an entry."""
    if old.text != content.text:
        # Before the row changes: FTS5 must be given the same text to remove that was added.
        _delete_words(connection, old)
        if content.text:
            connection.execute("INSERT INTO words (rowid, text) VALUES (?, ?)", (old.number, content.text))
    tags = _encode_tags(content.tags).decode() if content.tags else None
    embedded = content.embedding is not None
    connection.execute(
        "UPDATE entries SET version = ?, written = ?, tags = ?, embedded = ?, document = ?, text = ?"
        " WHERE number = ?",
        (content.version, content.written, tags, embedded, content.document, content.text, old.number),
    )
    _delete_tags(connection, old)
    _insert_tags(connection, content)
    if embedded:
        _put_embedding(connection, old.number, content)
    elif old.embedded:
        connection.execute("DELETE FROM embeddings WHERE number = ?", (old.number,))


def delete(connection: sqlite3.Connection, old: Stored) -> None:
    """Delete an entry."""
    _delete_words(connection, old)
    _delete_tags(connection, old)
    if old.embedded:
        connection.execute("DELETE FROM embeddings WHERE number = ?", (old.number,))
    connection.execute("DELETE FROM entries WHERE number = ?", (old.number,))


def _delete_words(connection: sqlite3.Connection, old: Stored) -> None:
    if old.text:
        connection.execute(
            "INSERT INTO words (words, rowid, text) VALUES ('delete', ?, ?)", (old.number, old.text)
        )


def _insert_tags(connection: sqlite3.Connection, content: Content) -> None:
    if content.tags:
        connection.executemany(
            "INSERT INTO tags (tag, written) VALUES (?, ?)", [(tag, content.written) for tag in content.tags]
        )


def _delete_tags(connection: sqlite3.Connection, old: Stored) -> None:
    if old.tags is not None:
        connection.executemany(
            "DELETE FROM tags WHERE tag = ? AND written = ?",
            [(tag, old.written) for tag in _decode_tags(old.tags)],
        )


def _put_embedding(connection: sqlite3.Connection, number: int | None, content: Content) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO embeddings (number, embedding) VALUES (?, ?)", (number, content.embedding)
    )
