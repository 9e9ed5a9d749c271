"""`PostgresEngram`, and `from_url`, which makes one from a ``postgresql://`` URL."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

import attrs

from cosmo_core.arguments import check_count, check_options, parse_option
from cosmo_core.contracts.engram import EngramGuarantees, Findings, ImprintReceipt, Query, Write
from cosmo_core.errors import EngramError
from cosmo_core.protocol.ids import check_token
from cosmo_engram_postgres.calls import Calls
from cosmo_engram_postgres.connections import Connections
from cosmo_engram_postgres.dsn import OUR_OPTIONS, Dsn, describe
from cosmo_engram_postgres.failures import closed
from cosmo_engram_postgres.finding import findings, statement
from cosmo_engram_postgres.lookups import Lookups
from cosmo_engram_postgres.schema import MAX_INDEXED_DIMENSIONS, Database, Schema, prepare
from cosmo_engram_postgres.writing import Writer

_NUMBERS: Final = frozenset(OUR_OPTIONS) - {"schema"}


@attrs.frozen
class _Session:
    """The parts of an Engram that exist between ``connect`` and ``close``."""

    calls: Calls
    database: Database
    writer: Writer
    by_id: Lookups
    by_key: Lookups


class PostgresEngram:
    """An Engram that stores its entries in a schema of a PostgreSQL database. Several hosts can share it.

    Args:
        engram_id: The address on the bus, a token. A schema belongs to one id.
        engram_kind: What the Engram stores, a token.
        dsn: ``postgresql://user:password@host:port/database``. Missing parts, or the whole DSN, come from the
            ``PG*`` environment variables.
        schema: The schema, which is created if it does not exist; ``engram_`` and the id by default.
        min_size: How many connections stay open when they are idle.
        max_size: The most connections.
        keeps_writes: How many of the latest writes are known by their ids and can be undone.
        vector_index: The number of dimensions of the embeddings for which there is to be an index, where
            pgvector is installed. With it, a query by a vector may miss some of the nearest entries.

    Raises:
        MalformedSignalError: The id or the kind is not a valid token.
        TypeError: A number is not an integer.
        ValueError: A number is out of range, or the name of the schema is too long.
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
        vector_index: int | None = None,
    ) -> None:
        check_token("engram_id", engram_id)
        check_token("engram_kind", engram_kind)
        check_count("max_size", max_size)
        check_count("min_size", min_size, 0, max_size)
        check_count("keeps_writes", keeps_writes)
        if vector_index is not None:
            check_count("vector_index", vector_index, most=MAX_INDEXED_DIMENSIONS)
        self._engram_id = engram_id
        self._engram_kind = engram_kind
        self._dsn = dsn
        self._place = describe(dsn)
        self._schema = Schema.for_engram(engram_id) if schema is None else Schema(schema)
        self._vector_index = vector_index
        self._sizes = min_size, max_size
        self._guarantees = EngramGuarantees(durable=True, keeps_writes=keeps_writes)
        # Held while the Engram connects or closes.
        self._lock = asyncio.Lock()
        self._session: _Session | None = None

    @property
    def engram_id(self) -> str:
        """The address on the bus, a token."""
        return self._engram_id

    @property
    def engram_kind(self) -> str:
        """What the Engram stores, a token."""
        return self._engram_kind

    @property
    def guarantees(self) -> EngramGuarantees:
        """The properties that the Engram promises."""
        return self._guarantees

    async def connect(self) -> None:
        """Connect to the database, and create the schema if it does not exist. A second call has no effect.

        Raises:
            EngramError: The DSN is not valid, or the database cannot be reached, refuses the login, or cannot
                be used.
        """
        async with self._lock:
            if self._session is None:
                self._session = await self._open_session()

    async def close(self) -> None:
        """Wait up to 10 s for running calls, and close all connections. A second call has no effect."""
        async with self._lock:
            session, self._session = self._session, None
            if session is not None:
                await session.calls.close()

    async def recall(self, query: Query) -> Findings:
        """Return the entries that match a query; see `Engram.recall`.

        Raises:
            EngramError: The Engram is closed, or the database failed.
        """
        session = self._current_session()
        found = statement(query, self._schema, session.database)
        if found is None:
            return Findings(())
        if not query.tags and query.words is None and query.vector is None:
            if query.id is not None and query.merge_key is None:
                return await session.by_id.find(query.id, query.limit, found)
            if query.merge_key is not None and query.id is None:
                return await session.by_key.find(query.merge_key, query.limit, found)
        return findings(await session.calls.run(found.fetch), query.limit)

    async def imprint(self, write: Write) -> ImprintReceipt:
        """Do a write in one transaction, which is committed when this returns; see `Engram.imprint`.

        Raises:
            EngramError: The write was not done. With ``ENGRAM_UNAVAILABLE``, it may have been done: repeating
                it with the same ``imprint_id`` is safe.
        """
        return await self._current_session().writer.imprint(write)

    async def roll_back(self, trace_id: str) -> int:
        """Undo the writes of a trace in one transaction; see `Engram.roll_back`.

        Raises:
            EngramError: Nothing was undone.
        """
        return int(await self._call("roll_back", trace_id))

    async def commit(self, trace_id: str) -> None:
        """Make the writes of a trace permanent; see `Engram.commit`.

        Raises:
            EngramError: The Engram is closed, or the database failed.
        """
        await self._call("commit_trace", trace_id)

    def __repr__(self) -> str:
        return f"<PostgresEngram {self._engram_id!r} {self._engram_kind} at {self._place}>"

    @property
    def _name(self) -> str:
        return f"Engram {self._engram_id!r}"

    def _current_session(self) -> _Session:
        if self._session is None:
            raise closed(self._name)
        return self._session

    async def _call(self, function: str, trace_id: str) -> Any:
        sql = f"SELECT {self._schema.quoted}.{function}($1)"
        return await self._current_session().calls.run(lambda connection: connection.fetchval(sql, trace_id))

    async def _open_session(self) -> _Session:
        least, most = self._sizes
        application = f"cosmo-engram {self._engram_id}"[:63]
        dsn = Dsn.parse(self._dsn, name=self._name)
        connections = Connections(dsn, application=application, least=least, most=most)
        calls = Calls(connections, name=self._name, place=self._place)
        try:
            database = await calls.run(
                lambda connection: prepare(
                    connection, self._schema, self._engram_id, vector_index=self._vector_index
                ),
                in_transaction=True,
            )
        except BaseException:
            await calls.close()
            raise
        writer = Writer(
            calls, self._schema, engram_id=self._engram_id, keeps_writes=self._guarantees.keeps_writes
        )
        by_id, by_key = Lookups(calls, self._schema, "id"), Lookups(calls, self._schema, "merge_key")
        return _Session(calls, database, writer, by_id, by_key)


def from_url(url: str, *, engram_id: str, engram_kind: str = "context", **options: Any) -> PostgresEngram:
    """Return the Engram for ``postgresql://user:password@host:port/database``, or ``postgres://``.

    Args:
        url: A DSN as PostgreSQL's own programs take it. Its query may also contain ``schema``, ``min_size``,
            ``max_size``, ``keeps_writes`` and ``vector_index``, such as ``?schema=memory&max_size=20``.
        engram_id: The address on the bus.
        engram_kind: What the Engram stores, a token.
        **options: Further arguments of `PostgresEngram`, except ``dsn``.

    Raises:
        EngramError: The URL is not valid, or a number in it is not. The message contains no secret.
        TypeError: An option does not exist; the message suggests a similar one.
        ValueError: An option is out of range.
    """
    check_options("a PostgreSQL Engram", options, inspect.signature(PostgresEngram).parameters)
    try:
        parts = urlsplit(url)
    except ValueError:
        # The message of this error is not passed on, since it quotes the URL.
        raise EngramError(
            "not a valid database URL: write postgresql://user:password@host:port/database, with special "
            "characters of user and password percent-encoded",
            code="ENGRAM_INVALID",
        ) from None
    ours: dict[str, Any] = {}
    theirs = []
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name in ours:
            raise _invalid_option(name, "it is given twice; give it once")
        if name == "schema":
            ours[name] = value
        elif name in _NUMBERS:
            ours[name] = _number(name, value)
        else:
            theirs.append((name, value))
    dsn = parts._replace(query=urlencode(theirs)).geturl()
    return PostgresEngram(engram_id=engram_id, engram_kind=engram_kind, dsn=dsn, **{**ours, **options})


def _number(name: str, text: str) -> int:
    try:
        return parse_option(text, int)
    except ValueError as error:
        raise _invalid_option(name, error) from None


def _invalid_option(name: str, reason: object) -> EngramError:
    return EngramError(f"{name} in the URL of an Engram: {reason}", code="ENGRAM_INVALID")
