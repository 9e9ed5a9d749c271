"""Undoing what a trace wrote, or keeping it for good."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from cosmo_engram_sqlite import images

if TYPE_CHECKING:
    from cosmo_engram_sqlite.session import SqliteSession


def roll_back(session: SqliteSession, trace_id: str) -> int:
    """Undo the writes of a trace, the last one first; return how many of them nothing has overwritten."""
    # The numbers only: what the entries were before may be large.
    seqs = session.connection.execute(
        "SELECT seq FROM writes WHERE trace_id = ? ORDER BY seq DESC", (trace_id,)
    ).fetchall()
    return sum(_undo(session.connection, seq) for (seq,) in seqs)


def commit(session: SqliteSession, trace_id: str) -> None:
    """Forget what the entries were before the writes of a trace: they cannot be undone any more."""
    session.connection.execute(
        "UPDATE writes SET trace_id = NULL, before = NULL WHERE trace_id = ?", (trace_id,)
    )


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
        images.restore(connection, entry, before)
        return True
    following, trace_id = later
    if trace_id is not None:
        # Should that be undone as well, the entry becomes what it was before both.
        connection.execute("UPDATE writes SET before = ? WHERE seq = ?", (before, following))
    return False
