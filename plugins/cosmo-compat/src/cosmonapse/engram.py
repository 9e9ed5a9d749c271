"""The Engrams of the SQLite plugin, in a module of their own so that it is imported only on use."""

from __future__ import annotations

from cosmo_engram_sqlite import SqliteEngram

__all__ = ["InMemoryEngram", "SqliteEngram"]


class InMemoryEngram(SqliteEngram):
    """A `SqliteEngram` in memory, whose entries are lost when its Dendrite stops.

    Args:
        engram_id: The address on the bus.
        engram_kind: What the Engram stores, a token.

    Raises:
        MalformedSignalError: The id or the kind is not a valid token.
    """

    def __init__(self, engram_id: str, engram_kind: str = "keyvalue") -> None:
        super().__init__(engram_id=engram_id, engram_kind=engram_kind)
