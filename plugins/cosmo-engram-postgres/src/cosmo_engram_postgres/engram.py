"""The PostgreSQL Engram."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs

from cosmo_core.contracts.engram import EngramGuarantees, Findings
from cosmo_core.protocol.ids import check_token
from cosmo_engram_postgres.calls import Calls
from cosmo_engram_postgres.connections import Connections
from cosmo_engram_postgres.driver import open_connection, place
from cosmo_engram_postgres.failures import closed
from cosmo_engram_postgres.finding import findings, statement
from cosmo_engram_postgres.schema import Database, Schema, prepared
from cosmo_engram_postgres.writing import Writer

if TYPE_CHECKING:
    from cosmo_core.contracts.engram import ImprintReceipt, Query, Write


@attrs.frozen
class _Session:
    """What there is between ``connect`` and ``close``."""

    calls: Calls
    database: Database
    writer: Writer


class PostgresEngram:
    """Shared memory in a schema of a PostgreSQL database. Any number of hosts can serve it at once.

    Args:
        engram_id: Its id, a token.
        engram_kind: What it keeps, a token.
        dsn: ``postgresql://user:password@host:port/database``; what it does not say, or all of it, is in the
            ``PG*`` environment variables.
        schema: The schema; ``engram_`` and the id by default. It is made if it is not there.
        min_size: How many connections it keeps open when they are idle.
        max_size: How many it has at most.
        keeps_writes: How many of the latest writes it knows by their ids.

    Raises:
        MalformedSignalError: The id or the kind is no token.
        ValueError: A number is out of its range, or the schema's name is too long.
    """

    def __init__(
        self,
        *,
        engram_id: str,
        engram_kind: str = "context",
        dsn: str | None = None,
        schema: str | None = None,
        min_size: int = 1,
        max_size: int = 10,
        keeps_writes: int = 100_000,
    ) -> None:
        check_token("engram_id", engram_id)
        check_token("engram_kind", engram_kind)
        if not 0 <= min_size <= max_size or max_size < 1:
            raise ValueError("min_size is 0 to max_size, and max_size at least 1")
        if keeps_writes < 1:
            raise ValueError("keeps_writes starts at 1")
        self._engram_id = engram_id
        self._engram_kind = engram_kind
        self._dsn = dsn
        self._where = place(dsn)
        self._schema = Schema.of(engram_id) if schema is None else Schema(schema)
        self._sizes = min_size, max_size
        self._guarantees = EngramGuarantees(durable=True, keeps_writes=keeps_writes)
        self._switching = asyncio.Lock()
        self._session: _Session | None = None

    @property
    def engram_id(self) -> str:
        """Its id."""
        return self._engram_id

    @property
    def engram_kind(self) -> str:
        """What it keeps."""
        return self._engram_kind

    @property
    def guarantees(self) -> EngramGuarantees:
        """What it promises."""
        return self._guarantees

    async def connect(self) -> None:
        """Connect to the database, and make the schema if it is not there. Doing it twice is not an error.

        Raises:
            EngramError: The database cannot be reached, does not let this program in, or is not usable.
        """
        async with self._switching:
            if self._session is None:
                self._session = await self._connected()

    async def close(self) -> None:
        """Close all connections, after the calls that run: they have 10 s. Doing it twice is not an error."""
        async with self._switching:
            session, self._session = self._session, None
            if session is not None:
                await session.calls.close()

    async def recall(self, query: Query) -> Findings:
        """Return what fits; see `Engram.recall`.

        Raises:
            EngramError: It is closed, or the database failed.
        """
        session = self._opened()
        asked = statement(query, self._schema, session.database)
        if asked is None:
            return Findings(())
        rows = await session.calls.run(lambda connection: connection.fetch(asked.sql, *asked.arguments))
        return findings(rows, query.limit)

    async def imprint(self, write: Write) -> ImprintReceipt:
        """Write, in one transaction that is committed when this returns; see `Engram.imprint`.

        Raises:
            EngramError: It was not written; or, with ``ENGRAM_UNAVAILABLE``, it is not known whether it was:
                trying again with the same ``imprint_id`` is safe.
        """
        return await self._opened().writer.imprint(write)

    async def roll_back(self, trace_id: str) -> int:
        """Undo what a trace wrote, in one transaction; see `Engram.roll_back`.

        Raises:
            EngramError: Nothing was undone.
        """
        return int(await self._call("roll_back", trace_id))

    async def commit(self, trace_id: str) -> None:
        """Keep what a trace wrote.

        Raises:
            EngramError: It is closed, or the database failed.
        """
        await self._call("commit_trace", trace_id)

    def __repr__(self) -> str:
        return f"<PostgresEngram {self._engram_id!r} {self._engram_kind} at {self._where}>"

    @property
    def _name(self) -> str:
        return f"Engram {self._engram_id!r}"

    def _opened(self) -> _Session:
        if self._session is None:
            raise closed(self._name)
        return self._session

    async def _call(self, function: str, trace_id: str) -> Any:
        sql = f"SELECT {self._schema.quoted}.{function}($1)"
        return await self._opened().calls.run(lambda connection: connection.fetchval(sql, trace_id))

    async def _connected(self) -> _Session:
        least, most = self._sizes
        connect = partial(open_connection, engram_id=self._engram_id)
        connections = Connections(self._dsn, connect, least=least, most=most)
        calls = Calls(connections, name=self._name, where=self._where)
        try:
            database = await calls.run(lambda connection: prepared(connection, self._schema, self._engram_id))
        except BaseException:
            await calls.close()
            raise
        writer = Writer(
            calls, self._schema, engram_id=self._engram_id, keeps_writes=self._guarantees.keeps_writes
        )
        return _Session(calls, database, writer)
