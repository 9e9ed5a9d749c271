"""The PostgreSQL Engram: shared memory that several hosts can serve."""

from cosmo_engram_postgres.engram import PostgresEngram, from_url

COSMO_API = 1

__all__ = ["COSMO_API", "PostgresEngram", "from_url"]
