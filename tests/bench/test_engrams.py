"""What the Engrams are compared with does what they do, and finds what they find."""

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
from tests.bench.keeping import ACTS, KEPT, NOTES, Act, on_bus
from tests.bench.notes import ON_A_TOPIC, note, scattered, topic_of
from tests.bench.postgres_stores import PostgresStores
from tests.bench.sqlite_stores import SqliteStores
from tests.bench.stores import Filled

Told = list[tuple[Any, ...]]

STORE = "notes"


@pytest.fixture
def sqlite_told(monkeypatch: pytest.MonkeyPatch) -> Told:
    """Return what SQLite is told from now on, without the values."""
    told: Told = []

    class Recording(sqlite3.Connection):
        def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
            told.append((sql, len(parameters)))
            return super().execute(sql, parameters)

        def executemany(self, sql: str, parameters: Any, /) -> sqlite3.Cursor:
            told.append((sql, "many"))
            return super().executemany(sql, parameters)

    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Recording))
    return told


@pytest.fixture
def postgres_told(monkeypatch: pytest.MonkeyPatch) -> Told:
    """Return what PostgreSQL is told from now on, with the types of the values."""
    told: Told = []

    def recording(method: Callable[..., Any]) -> Callable[..., Any]:
        async def recorded(connection: Any, sql: str, *arguments: Any, **options: Any) -> Any:
            told.append((sql, *map(type, arguments)))
            return await method(connection, sql, *arguments, **options)

        return recorded

    for name in ("execute", "fetch", "fetchrow", "fetchval"):
        monkeypatch.setattr(asyncpg.Connection, name, recording(getattr(asyncpg.Connection, name)))
    return told


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    if find_postgres() is None and not os.environ.get("CI"):
        pytest.skip(NEEDED)
    with PostgresServer.start() as server:
        yield server


async def statements(filled: Filled, act: Act, told: Told) -> tuple[Told, Told]:
    await filled.fill(STORE, KEPT)
    async with on_bus(filled.stores.engram(STORE)) as ours:
        told.clear()
        await act(ours)(1)
        by_engram = list(told)
    async with filled.stores.bare(STORE) as bare:
        told.clear()
        await act(bare)(2)
        return by_engram, list(told)


async def test_bare_sqlite_is_told_just_what_the_engram_tells_it(tmp_path: Path, sqlite_told: Told) -> None:
    filled = Filled(SqliteStores(tmp_path))
    for act in ACTS.values():
        by_engram, bare = await statements(filled, act, sqlite_told)
        assert by_engram == bare != []


async def test_bare_postgres_is_told_just_what_the_engram_tells_it(
    server: PostgresServer, postgres_told: Told
) -> None:
    filled = Filled(PostgresStores(server.dsn))
    for act in ACTS.values():
        by_engram, bare = await statements(filled, act, postgres_told)
        assert by_engram == bare != []


def test_a_note_has_some_300_bytes() -> None:
    sizes = [len(msgspec.json.encode(each)) for each in NOTES]
    assert min(sizes) >= 270
    assert max(sizes) <= 320


@pytest.mark.parametrize("count", [KEPT, 5 * KEPT])
def test_a_topic_has_as_many_notes_in_a_large_store_as_in_a_small_one(count: int) -> None:
    on_topic = [n for n in range(count) if topic_of(7, of=count) in text_of(note(n, of=count)).split()]
    assert len(on_topic) == ON_A_TOPIC


@pytest.mark.parametrize("count", [KEPT, 2 * KEPT, 50 * KEPT])
def test_every_note_gets_its_turn(count: int) -> None:
    assert {scattered(turn, count) for turn in range(count)} == set(range(count))
