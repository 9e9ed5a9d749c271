"""The baselines of the Engram figures run the same statements as the Engrams."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest

from cosmo_core.contracts.engram import text_of
from cosmo_engram_postgres.testing import NEEDED, PostgresServer, find_postgres
from tests.bench.note_stores import NOTES, OPERATIONS, STORE_SIZE, Operation, on_bus
from tests.bench.notes import NOTES_PER_TOPIC, note, scatter, topic_of
from tests.bench.postgres_stores import PostgresStores
from tests.bench.sqlite_stores import SqliteStores
from tests.bench.stores import FilledStores

Statements = list[tuple[Any, ...]]

STORE = "notes"


@pytest.fixture
def sqlite_statements(monkeypatch: pytest.MonkeyPatch) -> Statements:
    """Record the statements sent to SQLite, with the number of parameters."""
    recorded_statements: Statements = []

    class Recording(sqlite3.Connection):
        def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
            recorded_statements.append((sql, len(parameters)))
            return super().execute(sql, parameters)

        def executemany(self, sql: str, parameters: Any, /) -> sqlite3.Cursor:
            recorded_statements.append((sql, "many"))
            return super().executemany(sql, parameters)

    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Recording))
    return recorded_statements


@pytest.fixture
def postgres_statements(monkeypatch: pytest.MonkeyPatch) -> Statements:
    """Record the statements sent to PostgreSQL, with the types of the arguments."""
    recorded_statements: Statements = []

    def recording(method: Callable[..., Any]) -> Callable[..., Any]:
        async def recorded(connection: Any, sql: str, *arguments: Any, **options: Any) -> Any:
            recorded_statements.append((sql, *map(type, arguments)))
            return await method(connection, sql, *arguments, **options)

        return recorded

    for name in ("execute", "fetch", "fetchrow", "fetchval"):
        monkeypatch.setattr(asyncpg.Connection, name, recording(getattr(asyncpg.Connection, name)))
    return recorded_statements


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    if find_postgres() is None and not os.environ.get("CI"):
        pytest.skip(NEEDED)
    with PostgresServer.start() as server:
        yield server


async def record_statements(
    filled: FilledStores, act: Operation, recorded_statements: Statements
) -> tuple[Statements, Statements]:
    await filled.fill(STORE, STORE_SIZE)
    async with on_bus(filled.stores.engram(STORE)) as ours:
        recorded_statements.clear()
        await act(ours)(1)
        by_engram = list(recorded_statements)
    async with filled.stores.bare(STORE) as bare:
        recorded_statements.clear()
        await act(bare)(2)
        return by_engram, list(recorded_statements)


async def test_bare_sqlite_runs_same_statements_as_engram(
    tmp_path: Path, sqlite_statements: Statements
) -> None:
    filled = FilledStores(SqliteStores(tmp_path))
    for act in OPERATIONS.values():
        by_engram, bare = await record_statements(filled, act, sqlite_statements)
        assert by_engram == bare != []


async def test_bare_postgres_runs_same_statements_as_engram(
    server: PostgresServer, postgres_statements: Statements
) -> None:
    filled = FilledStores(PostgresStores(server.dsn))
    for act in OPERATIONS.values():
        by_engram, bare = await record_statements(filled, act, postgres_statements)
        assert by_engram == bare != []


def test_note_has_about_300_bytes() -> None:
    sizes = [len(msgspec.json.encode(each)) for each in NOTES]
    assert min(sizes) >= 270
    assert max(sizes) <= 320


@pytest.mark.parametrize("count", [STORE_SIZE, 5 * STORE_SIZE])
def test_topic_has_same_number_of_notes_in_every_store_size(count: int) -> None:
    on_topic = [n for n in range(count) if topic_of(7, of=count) in text_of(note(n, of=count)).split()]
    assert len(on_topic) == NOTES_PER_TOPIC


@pytest.mark.parametrize("count", [STORE_SIZE, 2 * STORE_SIZE, 50 * STORE_SIZE])
def test_scatter_visits_every_note(count: int) -> None:
    assert {scatter(turn, count) for turn in range(count)} == set(range(count))
