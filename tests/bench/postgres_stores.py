"""Stores of notes in PostgreSQL: with the Engram, and with `asyncpg` alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import asyncpg
import attrs
import msgspec

from cosmo_core.contracts.engram import Query, Write, text_of
from cosmo_core.protocol.ids import new_ulid
from cosmo_engram_postgres import PostgresEngram
from cosmo_engram_postgres.finding import statement
from cosmo_engram_postgres.lexemes import as_tsvector
from cosmo_engram_postgres.schema import Database, Schema
from tests.bench.note_stores import NOTES, STORE_SIZE, NoteStore
from tests.bench.notes import id_of, key_of, scatter
from tests.bench.stores import ReportProgress, connected, writes

if TYPE_CHECKING:
    from cosmo_engram_postgres.connections import Connection

CONNECTIONS: Final = 10
"""The number of connections of the Engram and of the pool of the baseline."""

_WRITERS: Final = 4
_AT_ONCE: Final = 500
_LIMIT: Final = 11

# The statement of the Engram is private, so it is copied; a test compares them.
_IMPRINT: Final = (
    "SELECT outcome, done_op, done_id, done_version"
    " FROM @schema@.imprint($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"
)
_FILL: Final = """
    SELECT count(*)
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])
        AS note (imprint_id, id, merge_key, document, words)
    CROSS JOIN LATERAL @schema@.imprint(
        imprint_id, NULL, 'add', id, NULL, merge_key, document, '{}', words, NULL, NULL, $6
    ) AS imprinted
    WHERE outcome = 'done'
"""

Reset = Callable[[Any], Awaitable[None]]

_STORED: Final = [(msgspec.json.encode(each).decode(), as_tsvector(text_of(each))) for each in NOTES]


@attrs.frozen
class BarePostgres:
    """A pool that runs the same statements as the Engram, one per operation."""

    pool: asyncpg.Pool[asyncpg.Record]
    imprints: str
    by_key: str
    by_id: str
    keeps: int

    async def imprint(self, turn: int) -> None:
        """Replace the note of a key, with a record for rollback."""
        document, words = _STORED[turn % len(_STORED)]
        row = await self.pool.fetchrow(
            self.imprints,
            f"evt_{new_ulid()}",
            f"trc_{new_ulid()}",
            "upsert",
            None,
            f"eng_{new_ulid()}",
            key_of(scatter(turn, STORE_SIZE)),
            document,
            (),
            words,
            None,
            None,
            self.keeps,
        )
        assert row is not None
        assert row["done_version"] > 1

    async def recall_by_key(self, turn: int) -> None:
        """Find the note of a key."""
        assert len(await self.pool.fetch(self.by_key, key_of(scatter(turn, STORE_SIZE)), _LIMIT)) == 1

    async def recall_by_id(self, turn: int) -> None:
        """Find the note of an id."""
        assert len(await self.pool.fetch(self.by_id, id_of(scatter(turn, STORE_SIZE)), _LIMIT)) == 1


class PostgresStores:
    """Stores in schemas of a database."""

    kind = "postgres"

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    def engram(self, store: str) -> PostgresEngram:
        """Return the Engram of a store, not connected."""
        return PostgresEngram(engram_id=store, dsn=self._dsn, min_size=CONNECTIONS, max_size=CONNECTIONS)

    @asynccontextmanager
    async def bare(self, store: str) -> AsyncIterator[NoteStore]:
        """Open a store with a pool that, like the Engram's, does not reset connections."""
        async with self._pool(reset=_nothing) as pool:
            yield self._bare(store, pool)

    @asynccontextmanager
    async def plain(self, store: str) -> AsyncIterator[NoteStore]:
        """Open a store with a pool that resets each connection after use, as pools do by default."""
        async with self._pool() as pool:
            yield self._bare(store, pool)

    async def fill(self, store: str, count: int, report_progress: ReportProgress) -> None:
        """Make a store of ``count`` notes with the Engram's own function, many at once."""
        async with connected(self.engram(store)) as engram:
            keeps = engram.guarantees.keeps_writes
        schema = Schema.for_engram(store)
        async with self._pool() as pool:
            firsts = iter(range(0, count, _AT_ONCE))

            async def add_some() -> None:
                for first in firsts:
                    report_progress(first)
                    await _add(pool, schema, range(first, min(first + _AT_ONCE, count)), count, keeps)

            await asyncio.gather(*(add_some() for _ in range(_WRITERS)))
            # The server would do it by itself a minute later.
            await pool.execute(schema.fill("VACUUM ANALYZE @schema@.entries, @schema@.writes"))

    def _pool(self, reset: Reset | None = None) -> asyncpg.Pool[asyncpg.Record]:
        return asyncpg.create_pool(
            self._dsn, min_size=CONNECTIONS, max_size=CONNECTIONS, connect=_connect, reset=reset
        )

    def _bare(self, store: str, pool: asyncpg.Pool[asyncpg.Record]) -> BarePostgres:
        schema = Schema.for_engram(store)
        return BarePostgres(
            pool=pool,
            imprints=schema.fill(_IMPRINT),
            by_key=_sql(Query(merge_key="any"), schema),
            by_id=_sql(Query(id="any"), schema),
            keeps=self.engram(store).guarantees.keeps_writes,
        )


async def _connect(dsn: str | None = None, **_: Any) -> Connection:
    # As the Engram connects: its statements name the schema, and are cached for ever.
    settings = {"search_path": "pg_catalog"}
    connection: Connection = await asyncpg.connect(
        dsn, server_settings=settings, max_cached_statement_lifetime=0
    )
    return connection


async def _nothing(_: object) -> None:
    """Leave a connection as it is."""


def _sql(query: Query, schema: Schema) -> str:
    found = statement(query, schema, Database(vector=None))
    assert found is not None
    return found.sql


async def _add(
    pool: asyncpg.Pool[asyncpg.Record], schema: Schema, numbers: range, count: int, keeps: int
) -> None:
    columns = zip(*map(_row, writes(numbers, of=count)), strict=True)
    assert await pool.fetchval(schema.fill(_FILL), *map(list, columns), keeps) == len(numbers)


def _row(write: Write) -> tuple[object, ...]:
    words = as_tsvector(text_of(write.entry))
    return write.imprint_id, write.id, write.merge_key, write.document.decode(), words
