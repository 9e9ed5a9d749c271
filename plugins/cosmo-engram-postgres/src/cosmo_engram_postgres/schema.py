"""The database schema of an Engram: its name, how it is created, and how it is checked."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import Final

import attrs

from cosmo_core.errors import EngramError
from cosmo_engram_postgres.connections import PooledConnection

VERSION: Final = 1
"""Version of the tables and functions. A change of any of them needs a higher version."""

OLDEST_SERVER: Final = 13
"""The oldest supported version of PostgreSQL."""

MAX_INDEXED_DIMENSIONS: Final = 2_000
"""Most dimensions of an embedding that pgvector can index."""

_MAX_NAME: Final = 63
_FILES: Final = ("tables.sql", "imprint.sql", "undo.sql", "find.sql")


# The expression and the condition are those of a query by a vector.
_VECTOR_INDEX: Final = """
CREATE INDEX IF NOT EXISTS entries_by_vector_{dimensions} ON @schema@.entries
USING hnsw ((embedding::{vector}.vector({dimensions})) {vector}.vector_cosine_ops)
WHERE cardinality(embedding) = {dimensions}
"""


@attrs.frozen
class Schema:
    """A schema, with the SQL and the lock numbers that depend on its name.

    Attributes:
        name: Its name.
    """

    name: str

    @classmethod
    def for_engram(cls, engram_id: str) -> Schema:
        """Return the default schema of an Engram."""
        name = f"engram_{engram_id}"
        if len(name) > _MAX_NAME:
            name = f"{name[:46]}_{hashlib.sha256(engram_id.encode()).hexdigest()[:16]}"
        return cls(name)

    def __attrs_post_init__(self) -> None:
        if not 1 <= len(self.name.encode()) <= _MAX_NAME or "\0" in self.name:
            raise ValueError(f"the name of a schema must have 1 to {_MAX_NAME} bytes")

    @property
    def quoted(self) -> str:
        """The name as a quoted SQL identifier."""
        return '"' + self.name.replace('"', '""') + '"'

    def fill(self, sql: str) -> str:
        """Return SQL with its ``@…@`` marks replaced for this schema."""
        sequence = f"{self.quoted}.written".replace("'", "''")
        for mark, value in {
            "@schema@": self.quoted,
            "@written@": f"'{sequence}'::regclass",
            "@store_lock@": str(self.lock_number("store")),
            "@id_seed@": str(self.lock_number("id")),
            "@key_seed@": str(self.lock_number("key")),
        }.items():
            sql = sql.replace(mark, value)
        return sql

    def lock_number(self, purpose: str) -> int:
        """Return the number of an advisory lock, or the seed of several. Schemas have different numbers."""
        digest = hashlib.sha256(f"cosmo-engram {purpose} {self.name}".encode()).digest()
        return int.from_bytes(digest[:8], "big", signed=True)


@attrs.frozen
class Database:
    """The features of the database.

    Attributes:
        vector: The schema of the pgvector extension as a quoted SQL identifier; None without the extension.
    """

    vector: str | None


async def prepare(
    connection: PooledConnection, schema: Schema, engram_id: str, *, vector_index: int | None = None
) -> Database:
    """Create the schema if it does not exist, and check it; return the features of the database.

    The connection must be in a transaction.

    Raises:
        EngramError: The database or the schema cannot be used.
    """
    version = connection.get_server_version()
    if version.major < OLDEST_SERVER:
        reason = f"its server is PostgreSQL {version.major}; it needs {OLDEST_SERVER} or newer"
        raise _unsupported(engram_id, reason)
    if connection.get_settings().server_encoding != "UTF8":
        raise _unsupported(engram_id, "its database cannot store all text: create it with ENCODING 'UTF8'")
    # Several hosts may connect at once.
    await connection.execute("SELECT pg_advisory_xact_lock($1)", schema.lock_number("schema"))
    if not await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", f"{schema.quoted}.meta"):
        await _create(connection, schema, engram_id)
    await _check(connection, schema, engram_id)
    vector = await connection.fetchval(
        "SELECT quote_ident(nspname) FROM pg_extension"
        " JOIN pg_namespace ON pg_namespace.oid = extnamespace WHERE extname = 'vector'"
    )
    if vector is not None and vector_index is not None:
        await connection.execute(schema.fill(_VECTOR_INDEX.format(vector=vector, dimensions=vector_index)))
    return Database(vector)


async def _create(connection: PooledConnection, schema: Schema, engram_id: str) -> None:
    # CREATE SCHEMA IF NOT EXISTS needs the CREATE privilege even if the schema exists.
    if not await connection.fetchval("SELECT to_regnamespace($1) IS NOT NULL", schema.quoted):
        await connection.execute(schema.fill("CREATE SCHEMA @schema@"))
    for name in _FILES:
        sql = (files("cosmo_engram_postgres") / "sql" / name).read_text()
        await connection.execute(schema.fill(sql))
    await connection.execute(
        schema.fill("INSERT INTO @schema@.meta (version, engram_id) VALUES ($1, $2)"), VERSION, engram_id
    )


async def _check(connection: PooledConnection, schema: Schema, engram_id: str) -> None:
    meta = await connection.fetchrow(schema.fill("SELECT version, engram_id FROM @schema@.meta"))
    if meta is None:
        reason = f"the schema {schema.name!r} does not name its Engram: restore it from a backup"
        raise EngramError(f"Engram {engram_id!r}: {reason}", code="ENGRAM_CORRUPT")
    if meta["engram_id"] != engram_id:
        reason = f"the schema {schema.name!r} belongs to Engram {meta['engram_id']!r}: use another schema"
        raise EngramError(f"Engram {engram_id!r}: {reason}", code="ENGRAM_CONFLICT")
    if meta["version"] != VERSION:
        newer = meta["version"] > VERSION
        raise _unsupported(
            engram_id,
            f"the schema {schema.name!r} has version {meta['version']}; this plugin supports {VERSION}: "
            f"{'install a newer cosmo-engram-postgres' if newer else 'use another schema'}",
        )


def _unsupported(engram_id: str, reason: str) -> EngramError:
    return EngramError(f"Engram {engram_id!r}: {reason}", code="ENGRAM_UNSUPPORTED")
