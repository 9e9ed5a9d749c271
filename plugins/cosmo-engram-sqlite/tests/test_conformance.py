"""The conformance kit on the SQLite Engram: in memory and in a file, with and without sqlite-vec."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest

from cosmo_engram_sqlite import SqliteEngram
from cosmo_testing import EngramConformance

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# The long checks take longer in proportion to the scale.
pytestmark = pytest.mark.timeout(300 * EngramConformance.scale)


class TestMemory(EngramConformance):
    shared = False

    @asynccontextmanager
    async def store(self) -> AsyncIterator[None]:
        yield

    async def open(self, *, keeps_writes: int | None = None) -> SqliteEngram:
        return await _connected(":memory:", keeps_writes)


class TestWithoutSqliteVec(TestMemory):
    @pytest.fixture(autouse=True)
    def _without_sqlite_vec(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # The import then fails as if sqlite-vec were not installed.
        monkeypatch.setitem(sys.modules, "sqlite_vec", None)


class TestFile(EngramConformance):
    @asynccontextmanager
    async def store(self) -> AsyncIterator[None]:
        with TemporaryDirectory() as folder:
            self._path = Path(folder, "store.db")
            yield

    async def open(self, *, keeps_writes: int | None = None) -> SqliteEngram:
        return await _connected(self._path, keeps_writes)

    async def damage(self) -> None:
        await asyncio.to_thread(_drop_tables, self._path)


async def _connected(path: str | Path, keeps_writes: int | None) -> SqliteEngram:
    options: dict[str, Any] = {} if keeps_writes is None else {"keeps_writes": keeps_writes}
    engram = SqliteEngram(engram_id="ctx", path=path, **options)
    await engram.connect()
    return engram


def _drop_tables(path: Path) -> None:
    connection = sqlite3.connect(path)
    for table in ("words", "entries", "writes"):
        connection.execute(f"DROP TABLE {table}")
    connection.commit()
    connection.close()
