"""What an entry was before a write, so that the write can be undone."""

from __future__ import annotations

import sqlite3
from typing import Final

import msgspec

from cosmo_core.contracts.engram import text_of
from cosmo_engram_sqlite import entries
from cosmo_engram_sqlite.entries import Content, Stored

ABSENT: Final = b""
"""Stands for an entry that was not there."""

_pack: Final = msgspec.msgpack.Encoder().encode
# Its key, document, embedding and version, and when it was written: all else follows from the document.
_unpack: Final = msgspec.msgpack.Decoder(tuple[str | None, bytes, bytes | None, int, int]).decode


def image(connection: sqlite3.Connection, old: Stored | None) -> bytes:
    """Return what it takes to bring an entry back as it is now."""
    if old is None:
        return ABSENT
    embedding = entries.embedding_of(connection, old)
    return _pack((old.merge_key, old.document, embedding, old.version, old.written))


def restore(connection: sqlite3.Connection, id: str, before: bytes) -> None:
    """Make an entry what it was when its `image` was taken."""
    now = entries.by_id(connection, id)
    if now is not None:
        entries.remove(connection, now)
    if before == ABSENT:
        return
    merge_key, document, embedding, version, written = _unpack(before)
    entry = entries.decoded(document)
    tags = list(dict.fromkeys(entry.get("tags") or ()))
    old = Content(version, written, tags, embedding, document, text_of(entry))
    entries.insert(connection, id, merge_key, old)
