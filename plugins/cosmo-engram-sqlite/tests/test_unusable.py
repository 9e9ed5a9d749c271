"""Files that are not a usable store: they are refused and not changed."""

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
from cosmo_engram_sqlite.writes import WriteLog

Open = Callable[..., Awaitable[SqliteEngram]]
MakeWrite = Callable[..., Write]


async def refused(opened: Open, code: str, message: str, **options: object) -> EngramError:
    """Check that opening the store fails with this code and message, and leaves no thread."""
    before = set(threading.enumerate())
    with pytest.raises(EngramError, match=message) as caught:
        await opened(**options)
    assert caught.value.code == code
    assert "'ctx'" in str(caught.value) or "engram_id" in options
    assert set(threading.enumerate()) <= before
    return caught.value


@contextmanager
def unchanged(path: Path) -> Iterator[None]:
    """Check that a file has the same content afterwards."""
    before = path.read_bytes()
    yield
    assert path.read_bytes() == before


def damage(path: Path) -> None:
    """Overwrite the first page of the entries."""
    connection = sqlite3.connect(path)
    (root,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'entries'").fetchone()
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    connection.close()
    with path.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xff" * size)


def execute(path: Path, sql: str) -> None:
    """Change a file as another program might."""
    connection = sqlite3.connect(path)
    connection.execute(sql)
    connection.commit()
    connection.close()


@pytest.fixture
def read_only(path: Path) -> Iterator[Callable[[], None]]:
    """Return a function that makes the store read-only."""

    def make() -> None:
        path.chmod(0o444)
        path.parent.chmod(0o555)
        if os.access(path, os.W_OK):
            pytest.skip("this user may write everywhere; test_full.py uses a read-only disk")

    yield make
    path.parent.chmod(0o755)


async def filled(opened: Open, write: MakeWrite) -> None:
    engram = await opened()
    for n in range(200):
        await engram.imprint(write("add", {"id": f"e{n}", "data": f"{n} " * 200}, f"k{n}"))
    await engram.close()


async def test_file_of_another_format_is_corrupt(path: Path, opened: Open) -> None:
    await asyncio.to_thread(path.write_bytes, b"not a database, but some notes\n" * 1000)
    with unchanged(path):
        error = await refused(opened, "ENGRAM_CORRUPT", "restore it from a backup, or move it away")
    assert not error.recoverable


async def test_truncated_file_is_corrupt(path: Path, opened: Open, write: MakeWrite) -> None:
    await filled(opened, write)
    os.truncate(path, 100_000)
    with unchanged(path):
        await refused(opened, "ENGRAM_CORRUPT", "restore it from a backup, or move it away")


async def test_damaged_page_fails_the_calls_that_read_it(path: Path, opened: Open, write: MakeWrite) -> None:
    await filled(opened, write)
    damage(path)
    engram = await opened()
    with unchanged(path):
        for call in (
            engram.recall(Query(id="e7")),
            engram.imprint(write("upsert", {"n": 1}, "k7")),
            engram.imprint(write("append", {"n": 1})),
        ):
            with pytest.raises(EngramError, match="restore it from a backup, or move it away") as caught:
                await call
            assert caught.value.code == "ENGRAM_CORRUPT"
        # Calls that do not read it still work.
        assert (await engram.recall(Query(id="no such entry"))).found == []
        await engram.close()


async def test_entry_with_invalid_json_is_corrupt(path: Path, opened: Open, write: MakeWrite) -> None:
    await filled(opened, write)
    execute(path, "UPDATE entries SET document = CAST('{' AS BLOB) WHERE id = 'e7'")
    engram = await opened()
    with pytest.raises(EngramError, match="restore") as caught:
        await engram.imprint(write("merge", {"n": 1}, "k7"))
    assert caught.value.code == "ENGRAM_CORRUPT"


async def test_store_of_another_engram_is_refused(opened: Open, write: MakeWrite) -> None:
    await filled(opened, write)
    await refused(opened, "ENGRAM_CONFLICT", "belongs to the Engram 'ctx'", engram_id="other")


async def test_database_of_another_program_is_refused(path: Path, opened: Open) -> None:
    execute(path, "CREATE TABLE customers (name TEXT)")
    with unchanged(path):
        await refused(opened, "ENGRAM_CONFLICT", "database of another program")


async def test_store_with_newer_tables_is_refused(path: Path, opened: Open) -> None:
    await (await opened()).close()
    execute(path, "PRAGMA user_version = 99")
    await refused(opened, "ENGRAM_UNSUPPORTED", "version 99.*install a newer cosmo-engram-sqlite")


@pytest.mark.parametrize("version", [0, -1])
async def test_store_with_tables_of_an_unknown_version_is_refused(
    path: Path, opened: Open, version: int
) -> None:
    await (await opened()).close()
    execute(path, f"PRAGMA user_version = {version}")
    await refused(opened, "ENGRAM_UNSUPPORTED", f"version {version};.*use another path")


async def test_store_without_its_tables_is_corrupt(path: Path, opened: Open) -> None:
    await (await opened()).close()
    execute(path, "DROP TABLE store")
    await refused(opened, "ENGRAM_CORRUPT", "does not have the expected tables")


async def test_folder_is_refused(path: Path, opened: Open) -> None:
    await refused(opened, "ENGRAM_UNAVAILABLE", "the path is not a folder", path=path.parent)


async def test_missing_folder_is_refused(path: Path, opened: Open) -> None:
    await refused(opened, "ENGRAM_UNAVAILABLE", "its folder exists", path=path / "below" / "store.db")


async def test_read_only_file_is_refused(
    opened: Open, write: MakeWrite, read_only: Callable[[], None]
) -> None:
    await filled(opened, write)
    read_only()
    await refused(opened, "ENGRAM_UNAVAILABLE", "write access")


async def test_sqlite_without_fts5_is_unsupported(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    # SQLite reports a missing FTS5 with the same words as this missing module.
    tables = "CREATE VIRTUAL TABLE words USING fts5x (text)"
    monkeypatch.setattr("cosmo_engram_sqlite.database._TABLES", tables)
    error = await refused(opened, "ENGRAM_UNSUPPORTED", "FTS5", path=":memory:")
    assert sqlite3.sqlite_version in str(error)


def take_away(file: Path, aside: Path, act: str) -> None:
    file.rename(aside)
    if act == "deleted":
        aside.unlink()
    elif act == "replaced":
        file.write_bytes(aside.read_bytes())


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
@pytest.mark.parametrize("act", ["renamed", "deleted", "replaced"])
async def test_file_that_is_gone_is_noticed_before_a_write_is_acknowledged(
    path: Path, opened: Open, write: MakeWrite, suffix: str, act: str
) -> None:
    engram = await opened()
    await engram.imprint(write("append", {"id": "kept"}))
    file, aside = Path(f"{path}{suffix}"), path.with_name("aside")
    take_away(file, aside, act)
    calls = (engram.imprint(write("append", {})), engram.recall(Query()), engram.roll_back("trc_1"))
    for error in await asyncio.gather(*calls, return_exceptions=True):
        assert isinstance(error, EngramError)
        assert (error.code, error.recoverable) == ("ENGRAM_UNAVAILABLE", True)
        assert f"{file} was moved, deleted or replaced" in str(error)
    if act != "deleted":
        aside.replace(file)
        await engram.imprint(write("append", {"id": "back"}))
        assert [found.id for found in (await engram.recall(Query())).found] == ["back", "kept"]


async def test_file_that_goes_during_a_commit_is_noticed(
    path: Path, opened: Open, write: MakeWrite, monkeypatch: pytest.MonkeyPatch
) -> None:
    engram = await opened()
    await engram.imprint(write("append", {"id": "kept"}))
    delete_oldest = WriteLog.delete_oldest

    def delete_file(log: WriteLog) -> None:
        delete_oldest(log)
        path.unlink()

    monkeypatch.setattr(WriteLog, "delete_oldest", delete_file)
    with pytest.raises(EngramError, match="was moved, deleted or replaced"):
        await engram.imprint(write("append", {}))


async def test_new_store_takes_the_place_of_a_deleted_one_after_connecting_again(
    path: Path, opened: Open, write: MakeWrite
) -> None:
    engram = await opened()
    await engram.imprint(write("append", {}))
    take_away(path, path.with_name("aside"), "deleted")
    await engram.close()
    await engram.connect()
    await engram.imprint(write("append", {"id": "new"}))
    assert [found.id for found in (await engram.recall(Query())).found] == ["new"]


async def test_store_at_a_relative_path_or_link_stays_open_in_another_directory(
    path: Path, opened: Open, write: MakeWrite, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = path.with_name("link")
    link.symlink_to(path)
    monkeypatch.chdir(path.parent)
    engrams = [await opened(path=each) for each in ("link", path.name)]
    monkeypatch.chdir("/")
    for engram in engrams:
        await engram.imprint(write("append", {}))
