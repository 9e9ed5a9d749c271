"""The entries of a store: what they are made of, and what it takes to find them again."""

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
    """An entry that is there."""

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
    """What there is to keep of an entry, but for its id and its key."""

    version: int
    written: int
    tags: Sequence[str]
    embedding: bytes | None
    document: bytes
    text: str


def by_id(connection: sqlite3.Connection, id: str) -> Stored | None:
    """Return the entry of an id."""
    row = connection.execute(_BY_ID, (id,)).fetchone()
    return None if row is None else Stored._make(row)


def newest(connection: sqlite3.Connection, merge_key: str) -> Stored | None:
    """Return the entry of a key that was written last."""
    row = connection.execute(_NEWEST, (merge_key,)).fetchone()
    return None if row is None else Stored._make(row)


def embedding_of(connection: sqlite3.Connection, old: Stored) -> bytes | None:
    """Return the embedding of an entry, as it is kept."""
    if not old.embedded:
        return None
    row = connection.execute("SELECT embedding FROM embeddings WHERE number = ?", (old.number,)).fetchone()
    embedding: bytes = row[0]
    return embedding


def decoded(document: bytes) -> dict[str, Any]:
    """Return an entry that was kept as JSON.

    Raises:
        sqlite3.DatabaseError: It is none any more.
    """
    try:
        return _decode(document)
    except msgspec.DecodeError as error:
        raise sqlite3.DatabaseError(f"an entry is not JSON: {error}") from None


def insert(connection: sqlite3.Connection, id: str, merge_key: str | None, new: Content) -> None:
    """Store an entry that is not there."""
    tags = _encode_tags(new.tags).decode() if new.tags else None
    embedded = new.embedding is not None
    number = connection.execute(
        "INSERT INTO entries (id, merge_key, version, written, tags, embedded, document, text)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (id, merge_key, new.version, new.written, tags, embedded, new.document, new.text),
    ).lastrowid
    if new.text:
        connection.execute("INSERT INTO words (rowid, text) VALUES (?, ?)", (number, new.text))
    _tag(connection, new)
    if embedded:
        _embed(connection, number, new)


def replace(connection: sqlite3.Connection, old: Stored, new: Content) -> None:
    """Store something else as an entry that is there."""
    if old.text != new.text:
        # First: what is taken out of the index must still be what was put in.
        _forget_words(connection, old)
        if new.text:
            connection.execute("INSERT INTO words (rowid, text) VALUES (?, ?)", (old.number, new.text))
    tags = _encode_tags(new.tags).decode() if new.tags else None
    connection.execute(
        "UPDATE entries SET version = ?, written = ?, tags = ?, embedded = ?, document = ?, text = ?"
        " WHERE number = ?",
        (new.version, new.written, tags, new.embedding is not None, new.document, new.text, old.number),
    )
    _untag(connection, old)
    _tag(connection, new)
    if new.embedding is not None:
        _embed(connection, old.number, new)
    elif old.embedded:
        connection.execute("DELETE FROM embeddings WHERE number = ?", (old.number,))


def remove(connection: sqlite3.Connection, old: Stored) -> None:
    """Let an entry go."""
    _forget_words(connection, old)
    _untag(connection, old)
    if old.embedded:
        connection.execute("DELETE FROM embeddings WHERE number = ?", (old.number,))
    connection.execute("DELETE FROM entries WHERE number = ?", (old.number,))


def _forget_words(connection: sqlite3.Connection, old: Stored) -> None:
    if old.text:
        connection.execute(
            "INSERT INTO words (words, rowid, text) VALUES ('delete', ?, ?)", (old.number, old.text)
        )


def _tag(connection: sqlite3.Connection, new: Content) -> None:
    if new.tags:
        connection.executemany(
            "INSERT INTO tags (tag, written) VALUES (?, ?)", [(tag, new.written) for tag in new.tags]
        )


def _untag(connection: sqlite3.Connection, old: Stored) -> None:
    if old.tags is not None:
        connection.executemany(
            "DELETE FROM tags WHERE tag = ? AND written = ?",
            [(tag, old.written) for tag in _decode_tags(old.tags)],
        )


def _embed(connection: sqlite3.Connection, number: int | None, new: Content) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO embeddings (number, embedding) VALUES (?, ?)", (number, new.embedding)
    )
