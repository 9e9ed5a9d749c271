"""The SQLite Engram: shared memory in a file, or in the memory of one process."""

from cosmo_engram_sqlite.engram import SqliteEngram, from_url

COSMO_API = 1

__all__ = ["COSMO_API", "SqliteEngram", "from_url"]
