"""The Engrams of the SQLite plugin, apart so that only programs with shared memory load it."""

from __future__ import annotations

from cosmo_engram_sqlite import SqliteEngram

__all__ = ["InMemoryEngram", "SqliteEngram"]


class InMemoryEngram(SqliteEngram):
    """A `SqliteEngram` in memory: what it keeps lives as long as its Dendrite runs.

    Args:
        engram_id: Its address on the bus.
        engram_kind: What it keeps.

    Raises:
        MalformedSignalError: An id or a kind is no token.
    """

    def __init__(self, engram_id: str, engram_kind: str = "keyvalue") -> None:
        super().__init__(engram_id=engram_id, engram_kind=engram_kind)
