"""The schema that an Engram keeps its entries in: it is made once, and looked at by each who connects."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import TYPE_CHECKING, Final

import attrs

from cosmo_core.errors import EngramError

if TYPE_CHECKING:
    from cosmo_engram_postgres.driver import PooledConnection

VERSION: Final = 1
"""Of the tables and functions. Whatever changes in one of them needs a higher one."""

OLDEST_SERVER: Final = 13
"""The oldest PostgreSQL that has all that is needed."""

_MAX_NAME: Final = 63
_FILES: Final = ("tables.sql", "imprint.sql", "undo.sql", "find.sql")


@attrs.frozen
class Schema:
    """The name of a schema, and what hangs on it.

    Attributes:
        name: The name.
    """

    name: str

    @classmethod
    def of(cls, engram_id: str) -> Schema:
        """Return the schema of the Engram of this id."""
        name = f"engram_{engram_id}"
        if len(name) > _MAX_NAME:
            name = f"{name[:46]}_{hashlib.sha256(engram_id.encode()).hexdigest()[:16]}"
        return cls(name)

    def __attrs_post_init__(self) -> None:
        if not 1 <= len(self.name.encode()) <= _MAX_NAME or "\0" in self.name:
            raise ValueError(f"the name of a schema has 1 to {_MAX_NAME} bytes")

    @property
    def quoted(self) -> str:
        """The name as SQL writes it."""
        return '"' + self.name.replace('"', '""') + '"'

    def filled(self, sql: str) -> str:
        """Return SQL that is meant for this schema."""
        sequence = f"{self.quoted}.written".replace("'", "''")
        for mark, value in {
            "@schema@": self.quoted,
            "@written@": f"'{sequence}'::regclass",
            "@store_lock@": str(self.number("store")),
            "@id_seed@": str(self.number("id")),
            "@key_seed@": str(self.number("key")),
        }.items():
            sql = sql.replace(mark, value)
        return sql

    def number(self, purpose: str) -> int:
        """Return the number of a lock, or the seed of several; those of another schema are others."""
        digest = hashlib.sha256(f"cosmo-engram {purpose} {self.name}".encode()).digest()
        return int.from_bytes(digest[:8], "big", signed=True)


@attrs.frozen
class Database:
    """What there is in the database.

    Attributes:
        vector: The schema of the pgvector extension, as SQL writes it; None without the extension.
    """

    vector: str | None


async def prepared(connection: PooledConnection, schema: Schema, engram_id: str) -> Database:
    """Make the schema if it is not there; return what the database has.

    Raises:
        EngramError: The database, or what is in the schema, is not usable.
    """
    version = connection.get_server_version()
    if version.major < OLDEST_SERVER:
        told = f"its server is PostgreSQL {version.major}: it needs {OLDEST_SERVER} or newer"
        raise _unusable(engram_id, told)
    if connection.get_settings().server_encoding != "UTF8":
        raise _unusable(engram_id, "its database cannot keep all text: create it with ENCODING 'UTF8'")
    async with connection.transaction():
        # Several hosts may come at once.
        await connection.execute("SELECT pg_advisory_xact_lock($1)", schema.number("schema"))
        if not await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", f"{schema.quoted}.meta"):
            await _make(connection, schema, engram_id)
        await _check(connection, schema, engram_id)
        vector = await connection.fetchval(
            "SELECT quote_ident(nspname) FROM pg_extension"
            " JOIN pg_namespace ON pg_namespace.oid = extnamespace WHERE extname = 'vector'"
        )
    return Database(vector)


async def _make(connection: PooledConnection, schema: Schema, engram_id: str) -> None:
    # CREATE ... IF NOT EXISTS needs the right to create even where there is nothing to be done.
    if not await connection.fetchval("SELECT to_regnamespace($1) IS NOT NULL", schema.quoted):
        await connection.execute(schema.filled("CREATE SCHEMA @schema@"))
    for name in _FILES:
        sql = (files("cosmo_engram_postgres") / "sql" / name).read_text()
        await connection.execute(schema.filled(sql))
    await connection.execute(
        schema.filled("INSERT INTO @schema@.meta (version, engram_id) VALUES ($1, $2)"), VERSION, engram_id
    )


async def _check(connection: PooledConnection, schema: Schema, engram_id: str) -> None:
    meta = await connection.fetchrow(schema.filled("SELECT version, engram_id FROM @schema@.meta"))
    if meta is None:
        told = f"the schema {schema.name!r} does not say whose it is: restore it from a backup"
        raise EngramError(f"Engram {engram_id!r}: {told}", code="ENGRAM_CORRUPT")
    if meta["engram_id"] != engram_id:
        told = f"the schema {schema.name!r} belongs to Engram {meta['engram_id']!r}: give this one another"
        raise EngramError(f"Engram {engram_id!r}: {told}", code="ENGRAM_CONFLICT")
    if meta["version"] > VERSION:
        raise _unusable(
            engram_id,
            f"the schema {schema.name!r} has version {meta['version']}, and this program knows {VERSION}: "
            "install a newer cosmo-engram-postgres",
        )


def _unusable(engram_id: str, why: str) -> EngramError:
    return EngramError(f"Engram {engram_id!r}: {why}", code="ENGRAM_UNSUPPORTED")
