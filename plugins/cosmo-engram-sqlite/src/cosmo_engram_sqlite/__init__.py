"""The SQLite Engram: shared memory in a file that several programs may share, or in this process alone."""

from cosmo_engram_sqlite.engram import SqliteEngram
from cosmo_engram_sqlite.url import from_url

COSMO_API = 1

__all__ = ["COSMO_API", "SqliteEngram", "from_url"]
