"""The writes that a store remembers: to know one that comes again, and to undo it."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from cosmo_core.contracts.engram import ImprintReceipt

if TYPE_CHECKING:
    from cosmo_core.contracts.engram import Write
    from cosmo_engram_sqlite.session import SqliteSession


def latest(connection: sqlite3.Connection) -> int:
    """Return the number of the latest write. The numbers have no gaps: none but the oldest are forgotten."""
    (seq,) = connection.execute("SELECT max(seq) FROM writes").fetchone()
    return seq or 0


def known(session: SqliteSession, imprint_id: str) -> ImprintReceipt | None:
    """Return the receipt of a write that was done before."""
    row = session.connection.execute(
        "SELECT op, entry, version FROM writes WHERE imprint_id = ?", (imprint_id,)
    ).fetchone()
    return None if row is None else ImprintReceipt(session.engram_id, *row)


def record(
    session: SqliteSession, write: Write, entry: str | None, version: int | None, before: bytes | None
) -> ImprintReceipt:
    """Remember a write as the latest, and return its receipt.

    Args:
        session: The session.
        write: What was written.
        entry: The id of the entry; None if there was none to delete.
        version: Its version; None if it is deleted.
        before: What it was before, if the write has a trace to be undone with.
    """
    session.seq += 1
    session.connection.execute(
        "INSERT INTO writes (seq, imprint_id, op, entry, version, trace_id, before)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (session.seq, write.imprint_id, write.op, entry, version, write.trace_id, before),
    )
    return ImprintReceipt(session.engram_id, write.op, entry, version)


def prune(connection: sqlite3.Connection, seq: int, keeps: int) -> None:
    """Forget the oldest writes, when there are an eighth more than there have to be.

    Args:
        connection: The connection.
        seq: The number of the latest write.
        keeps: How many to keep.
    """
    (oldest,) = connection.execute("SELECT min(seq) FROM writes").fetchone()
    if oldest is not None and seq - oldest >= keeps + keeps // 8:
        connection.execute("DELETE FROM writes WHERE seq <= ?", (seq - keeps,))
