"""Writes: the operations of an IMPRINT, the log that knows repeated writes, and undoing a trace."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Final

import msgspec

from cosmo_core.contracts.engram import ImprintReceipt, Write, merged, text_of
from cosmo_core.errors import EngramError
from cosmo_core.protocol.ids import new_ulid
from cosmo_engram_sqlite import entries
from cosmo_engram_sqlite.entries import Content, Stored
from cosmo_engram_sqlite.vectors import packed

_ABSENT: Final = b""
# The image of an entry: merge key, document, embedding, version and `written`. The rest follows from these.
_pack: Final = msgspec.msgpack.Encoder().encode
_unpack: Final = msgspec.msgpack.Decoder(tuple[str | None, bytes, bytes | None, int, int]).decode


class WriteLog:
    """The table of the latest writes, used within one transaction at a time.

    Attributes:
        connection: The connection.
        engram_id: The Engram that the database belongs to.
        seq: The number of the latest write. Valid from `begin` to the end of the transaction.

    Args:
        connection: The connection.
        engram_id: The Engram that the database belongs to.
        keeps_writes: How many of the latest writes to keep.
    """

    def __init__(self, connection: sqlite3.Connection, *, engram_id: str, keeps_writes: int) -> None:
        self.connection = connection
        self.engram_id = engram_id
        self.seq = 0
        self._keeps_writes = keeps_writes

    def begin(self) -> None:
        """Begin a transaction, and read the number of the latest write.

        The numbers have no gaps, since only the oldest writes are deleted.
        """
        self.connection.execute("BEGIN IMMEDIATE")
        (seq,) = self.connection.execute("SELECT max(seq) FROM writes").fetchone()
        self.seq = seq or 0

    def receipt_of(self, imprint_id: str) -> ImprintReceipt | None:
        """Return the receipt of an earlier write with this id."""
        row = self.connection.execute(
            "SELECT op, entry, version FROM writes WHERE imprint_id = ?", (imprint_id,)
        ).fetchone()
        return None if row is None else ImprintReceipt(self.engram_id, *row)

    def record(
        self, write: Write, entry: str | None, version: int | None, before: bytes | None
    ) -> ImprintReceipt:
        """Record a write as the latest, and return its receipt.

        Args:
            write: The write.
            entry: The id of the entry; None if ``delete`` found none.
            version: The version of the entry; None if it is deleted.
            before: The image of the entry before the write; None if the write has no trace to undo it.
        """
        self.seq += 1
        self.connection.execute(
            "INSERT INTO writes (seq, imprint_id, op, entry, version, trace_id, before)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (self.seq, write.imprint_id, write.op, entry, version, write.trace_id, before),
        )
        return ImprintReceipt(self.engram_id, write.op, entry, version)

    def delete_oldest(self) -> None:
        """Delete the oldest writes once there are an eighth more than must be kept."""
        (oldest,) = self.connection.execute("SELECT min(seq) FROM writes").fetchone()
        if oldest is not None and self.seq - oldest >= self._keeps_writes + self._keeps_writes // 8:
            self.connection.execute("DELETE FROM writes WHERE seq <= ?", (self.seq - self._keeps_writes,))


def imprint(log: WriteLog, write: Write) -> ImprintReceipt:
    """Do a write, unless it was done before; return its receipt.

    Raises:
        EngramError: The write is refused; nothing was changed.
        sqlite3.Error: SQLite failed; the transaction must be rolled back.
    """
    receipt = log.receipt_of(write.imprint_id)
    if receipt is not None:
        return receipt
    try:
        return _OPS[write.op](log, write)
    except RecursionError:
        # All code that recurses into an entry runs before the first change.
        raise EngramError("the entry is nested too deeply", code="ENGRAM_INVALID") from None


def _add(log: WriteLog, write: Write) -> ImprintReceipt:
    if write.merge_key is not None and entries.newest(log.connection, write.merge_key) is not None:
        raise _exists(log, "merge_key", write.merge_key, "use upsert or merge to change it")
    return _add_with_new_key(log, write)


def _add_with_new_key(log: WriteLog, write: Write) -> ImprintReceipt:
    if write.id is not None and entries.by_id(log.connection, write.id) is not None:
        raise _exists(log, "id", write.id, "use append to add another entry")
    return _create(log, write, write.id)


def _append(log: WriteLog, write: Write) -> ImprintReceipt:
    is_taken = write.id is not None and entries.by_id(log.connection, write.id) is not None
    return _create(log, write, None if is_taken else write.id)


def _upsert(log: WriteLog, write: Write) -> ImprintReceipt:
    old = _entry_with_key(log, write)
    if old is None:
        return _add_with_new_key(log, write)
    return _replace(log, write, old, packed(write.embedding) if write.embedding else None)


def _merge(log: WriteLog, write: Write) -> ImprintReceipt:
    old = _entry_with_key(log, write)
    if old is None:
        raise EngramError(
            f"Engram {log.engram_id!r} has no entry with merge_key {write.merge_key!r} to merge with: "
            "use upsert to add it",
            code="ENGRAM_NOT_FOUND",
        )
    whole = write.with_entry(merged(entries.decoded(old.document), write.entry))
    if write.embedding:
        return _replace(log, whole, old, packed(write.embedding))
    return _replace(log, whole, old, entries.embedding_of(log.connection, old))


def _delete(log: WriteLog, write: Write) -> ImprintReceipt:
    if write.id is not None:
        old = entries.by_id(log.connection, write.id)
        if old is not None and write.merge_key is not None and old.merge_key != write.merge_key:
            raise _conflict(log, write)
    else:
        old = _entry_with_key(log, write)
    if old is None:
        return log.record(write, None, None, None)
    before = _image_before(log, write, old)
    entries.delete(log.connection, old)
    return log.record(write, old.id, None, before)


_OPS: Final[dict[str, Callable[[WriteLog, Write], ImprintReceipt]]] = {
    "add": _add,
    "append": _append,
    "upsert": _upsert,
    "merge": _merge,
    "delete": _delete,
}


def _entry_with_key(log: WriteLog, write: Write) -> Stored | None:
    """Return the newest entry with the key of the write; raise if the write gives another id."""
    old = None if write.merge_key is None else entries.newest(log.connection, write.merge_key)
    if old is not None and write.id is not None and old.id != write.id:
        raise _conflict(log, write)
    return old


def _create(log: WriteLog, write: Write, id: str | None) -> ImprintReceipt:
    id = id or f"eng_{new_ulid()}"
    embedding = packed(write.embedding) if write.embedding else None
    content = Content(1, log.seq + 1, write.tags, embedding, write.document, text_of(write.entry))
    entries.insert(log.connection, id, write.merge_key, content)
    return log.record(write, id, 1, _image_before(log, write, None))


def _replace(log: WriteLog, write: Write, old: Stored, embedding: bytes | None) -> ImprintReceipt:
    version = old.version + 1
    content = Content(version, log.seq + 1, write.tags, embedding, write.document, text_of(write.entry))
    before = _image_before(log, write, old)
    entries.replace(log.connection, old, content)
    return log.record(write, old.id, version, before)


def _exists(log: WriteLog, field: str, value: str, advice: str) -> EngramError:
    return EngramError(
        f"Engram {log.engram_id!r} already has an entry with {field} {value!r}: {advice}",
        code="ENGRAM_EXISTS",
    )


def _conflict(log: WriteLog, write: Write) -> EngramError:
    return EngramError(
        f"Engram {log.engram_id!r}: the entry with id {write.id!r} does not have merge_key "
        f"{write.merge_key!r}: leave one of them out",
        code="ENGRAM_CONFLICT",
    )


# --- traces -----------------------------------------------------------------------------------------


def roll_back(log: WriteLog, trace_id: str) -> int:
    """Undo the writes of a trace, the latest first; return how many of them were not overwritten since."""
    # Only the numbers are fetched at once, since the images may be large.
    seqs = log.connection.execute(
        "SELECT seq FROM writes WHERE trace_id = ? ORDER BY seq DESC", (trace_id,)
    ).fetchall()
    return sum(_undo(log.connection, seq) for (seq,) in seqs)


def commit(log: WriteLog, trace_id: str) -> None:
    """Delete the images of a trace, so that its writes can no longer be undone."""
    log.connection.execute("UPDATE writes SET trace_id = NULL, before = NULL WHERE trace_id = ?", (trace_id,))


def _undo(connection: sqlite3.Connection, seq: int) -> bool:
    entry, before = connection.execute("SELECT entry, before FROM writes WHERE seq = ?", (seq,)).fetchone()
    connection.execute("UPDATE writes SET undone = 1, trace_id = NULL, before = NULL WHERE seq = ?", (seq,))
    if entry is None:
        return False
    later = connection.execute(
        "SELECT seq, trace_id FROM writes WHERE entry = ? AND seq > ? AND NOT undone ORDER BY seq LIMIT 1",
        (entry, seq),
    ).fetchone()
    if later is None:
        _restore(connection, entry, before)
        return True
    later_seq, trace_id = later
    if trace_id is not None:
        # If the later write is undone as well, the entry gets back its state before both.
        connection.execute("UPDATE writes SET before = ? WHERE seq = ?", (before, later_seq))
    return False


def _image_before(log: WriteLog, write: Write, old: Stored | None) -> bytes | None:
    """Return the image of an entry as it is now, or None if the write has no trace to undo it."""
    if write.trace_id is None:
        return None
    if old is None:
        return _ABSENT
    embedding = entries.embedding_of(log.connection, old)
    return _pack((old.merge_key, old.document, embedding, old.version, old.written))


def _restore(connection: sqlite3.Connection, id: str, image: bytes) -> None:
    """Give an entry the state of its image."""
    current = entries.by_id(connection, id)
    if current is not None:
        entries.delete(connection, current)
    if image == _ABSENT:
        return
    merge_key, document, embedding, version, written = _unpack(image)
    entry = entries.decoded(document)
    tags = list(dict.fromkeys(entry.get("tags") or ()))
    content = Content(version, written, tags, embedding, document, text_of(entry))
    entries.insert(connection, id, merge_key, content)
