"""Files that are no store, or no longer one: they are refused, and left as they are."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cosmo_core import EngramError
from cosmo_core.contracts.engram import Query, Write
from cosmo_engram_sqlite import SqliteEngram

Open = Callable[..., Awaitable[SqliteEngram]]
MakeWrite = Callable[..., Write]


async def refused(opened: Open, code: str, saying: str, **options: object) -> EngramError:
    """Open the store, which must fail, and leave no thread behind."""
    before = set(threading.enumerate())
    with pytest.raises(EngramError, match=saying) as caught:
        await opened(**options)
    assert caught.value.code == code
    assert "'ctx'" in str(caught.value) or "engram_id" in options
    assert set(threading.enumerate()) <= before
    return caught.value


@contextmanager
def left_alone(path: Path) -> Iterator[None]:
    """Check that a file is in the end what it was before."""
    before = path.read_bytes()
    yield
    assert path.read_bytes() == before


def damage(path: Path) -> None:
    """Overwrite the page where the entries begin."""
    connection = sqlite3.connect(path)
    (root,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'entries'").fetchone()
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    connection.close()
    with path.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xff" * size)


def execute(path: Path, sql: str) -> None:
    """Do to a file what another program might."""
    connection = sqlite3.connect(path)
    connection.execute(sql)
    connection.commit()
    connection.close()


@pytest.fixture
def read_only(path: Path) -> Iterator[Callable[[], None]]:
    """Make the store read-only when that is asked for."""

    def make() -> None:
        path.chmod(0o444)
        path.parent.chmod(0o555)
        if os.access(path, os.W_OK):
            pytest.skip("this user may write everywhere; test_full.py has a read-only disk")

    yield make
    path.parent.chmod(0o755)


async def filled(opened: Open, write: MakeWrite) -> None:
    engram = await opened()
    for n in range(200):
        await engram.imprint(write("add", {"id": f"e{n}", "data": f"{n} " * 200}, f"k{n}"))
    await engram.close()


async def test_a_file_of_something_else_is_corrupt(path: Path, opened: Open) -> None:
    await asyncio.to_thread(path.write_bytes, b"not a database, but somebody's notes\n" * 1000)
    with left_alone(path):
        error = await refused(opened, "ENGRAM_CORRUPT", "restore it from a backup, or move it away")
    assert not error.recoverable


async def test_a_truncated_file_is_corrupt(path: Path, opened: Open, write: MakeWrite) -> None:
    await filled(opened, write)
    os.truncate(path, 100_000)
    with left_alone(path):
        await refused(opened, "ENGRAM_CORRUPT", "restore it from a backup, or move it away")


async def test_a_damaged_page_is_said_by_whoever_comes_across_it(
    path: Path, opened: Open, write: MakeWrite
) -> None:
    await filled(opened, write)
    damage(path)
    engram = await opened()
    with left_alone(path):
        for call in (
            engram.recall(Query(id="e7")),
            engram.imprint(write("upsert", {"n": 1}, "k7")),
            engram.imprint(write("append", {"n": 1})),
        ):
            with pytest.raises(EngramError, match="restore it from a backup, or move it away") as caught:
                await call
            assert caught.value.code == "ENGRAM_CORRUPT"
        # What does not come across it still works.
        assert (await engram.recall(Query(id="no such entry"))).found == []
        await engram.close()


async def test_an_entry_that_is_no_json_any_more_is_corrupt(
    path: Path, opened: Open, write: MakeWrite
) -> None:
    await filled(opened, write)
    execute(path, "UPDATE entries SET document = CAST('{' AS BLOB) WHERE id = 'e7'")
    engram = await opened()
    with pytest.raises(EngramError, match="restore") as caught:
        await engram.imprint(write("merge", {"n": 1}, "k7"))
    assert caught.value.code == "ENGRAM_CORRUPT"


async def test_the_store_of_another_engram_is_refused(opened: Open, write: MakeWrite) -> None:
    await filled(opened, write)
    await refused(opened, "ENGRAM_CONFLICT", "belongs to the Engram 'ctx'", engram_id="other")


async def test_the_database_of_another_program_is_refused(path: Path, opened: Open) -> None:
    execute(path, "CREATE TABLE customers (name TEXT)")
    with left_alone(path):
        await refused(opened, "ENGRAM_CONFLICT", "database of another program")


async def test_a_store_with_newer_tables_is_refused(path: Path, opened: Open) -> None:
    await (await opened()).close()
    execute(path, "PRAGMA user_version = 99")
    await refused(opened, "ENGRAM_UNSUPPORTED", "version 99.*install a newer cosmo-engram-sqlite")


async def test_a_store_without_its_tables_is_corrupt(path: Path, opened: Open) -> None:
    await (await opened()).close()
    execute(path, "DROP TABLE store")
    await refused(opened, "ENGRAM_CORRUPT", "not as this Engram made it")


async def test_a_folder_is_no_store(path: Path, opened: Open) -> None:
    await refused(opened, "ENGRAM_UNAVAILABLE", "the path is no folder", path=path.parent)


async def test_the_folder_of_a_store_must_be_there(path: Path, opened: Open) -> None:
    await refused(opened, "ENGRAM_UNAVAILABLE", "its folder exists", path=path / "below" / "store.db")


async def test_a_file_that_cannot_be_written_is_refused(
    opened: Open, write: MakeWrite, read_only: Callable[[], None]
) -> None:
    await filled(opened, write)
    read_only()
    await refused(opened, "ENGRAM_UNAVAILABLE", "the right to write")


async def test_without_fts5_it_says_so(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    # As SQLite words it, of a module that no SQLite has.
    tables = "CREATE VIRTUAL TABLE words USING fts5x (text)"
    monkeypatch.setattr("cosmo_engram_sqlite.schema._TABLES", tables)
    error = await refused(opened, "ENGRAM_UNSUPPORTED", "FTS5", path=":memory:")
    assert sqlite3.sqlite_version in str(error)
