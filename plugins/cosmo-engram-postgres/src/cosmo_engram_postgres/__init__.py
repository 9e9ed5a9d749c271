"""The PostgreSQL Engram: shared memory for many hosts."""

from cosmo_engram_postgres.engram import PostgresEngram
from cosmo_engram_postgres.url import from_url

COSMO_API = 1

__all__ = ["COSMO_API", "PostgresEngram", "from_url"]
