"""Killed processes, and several processes with one file."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from cosmo_core import EngramError
from cosmo_core.contracts.engram import Query, Write
from cosmo_engram_sqlite import SqliteEngram

Open = Callable[..., Awaitable[SqliteEngram]]
Spawn = Callable[..., Awaitable[Process]]

COUNT = 10_000


def check_integrity(path: Path) -> None:
    """Have SQLite check every page, and FTS5 compare its index with the entries."""
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.execute("INSERT INTO words (words, rank) VALUES ('integrity-check', 1)")
    tagged = connection.execute("SELECT count(*) FROM tags JOIN entries USING (written)").fetchone()
    assert tagged == connection.execute("SELECT count(*) FROM tags").fetchone()
    connection.close()


async def ids_in_log(engram: SqliteEngram) -> set[str]:
    (log,) = (await engram.recall(Query(merge_key="log"))).found
    return set(msgspec.json.decode(log.document)["ids"])


async def reported_by(child: Process) -> list[str]:
    out, err = await child.communicate()
    assert (child.returncode, err.decode()) == (0, "")
    return out.decode().split()


@pytest.mark.parametrize("part", [0.05, 0.4, 0.8])
async def test_killed_process_keeps_all_acknowledged_imprints(
    path: Path, opened: Open, spawn: Spawn, part: float
) -> None:
    child = await spawn("imprint", path, "a", COUNT)
    assert child.stdout is not None
    acknowledged = set()
    async with asyncio.timeout(60):
        for _ in range(int(COUNT * part) + random.randrange(500)):  # noqa: S311
            acknowledged.add((await child.stdout.readline()).decode().strip())
        child.kill()
        acknowledged.update((await child.stdout.read()).decode().split())
        await child.wait()
    assert len(acknowledged) < COUNT

    engram = await opened()
    for id in acknowledged:
        (found,) = (await engram.recall(Query(id=id))).found
        assert msgspec.json.decode(found.document)["id"] == id
    logged = {id for id in acknowledged if int(id.partition("-")[2]) % 20 == 0}
    assert logged <= await ids_in_log(engram)
    again = Write.parse("append", {"id": "a-0"}, imprint_id="imp_a-0")
    assert (await engram.imprint(again)).id == "a-0"
    await engram.close()
    check_integrity(path)


async def test_processes_that_create_and_write_one_file_lose_nothing(
    path: Path, opened: Open, spawn: Spawn
) -> None:
    count = 1_000
    async with asyncio.timeout(60):
        # The file does not exist yet, so they also create it concurrently.
        children = [await spawn("imprint", path, name, count) for name in "abcd"]
        reported = [id for each in await asyncio.gather(*map(reported_by, children)) for id in each]
    assert len(reported) == len(children) * count
    engram = await opened()
    for id in reported:
        assert [found.id for found in (await engram.recall(Query(id=id))).found] == [id]
    assert await ids_in_log(engram) == {id for id in reported if int(id.partition("-")[2]) % 20 == 0}
    await engram.close()
    check_integrity(path)


async def test_locked_file_can_be_read_and_fails_writes_in_time(
    path: Path, opened: Open, write: Callable[..., Write], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cosmo_engram_sqlite.database.BUSY_S", 0.2)
    engram = await opened()
    await engram.imprint(write("add", {"id": "before"}))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    calls = [engram.imprint(write("append", {"n": n})) for n in range(100)]
    async with asyncio.timeout(10):
        refused = await asyncio.gather(*calls, return_exceptions=True)
        assert len((await engram.recall(Query())).found) == 1
    for error in refused:
        assert isinstance(error, EngramError)
        assert (error.code, error.recoverable) == ("ENGRAM_UNAVAILABLE", True)
        assert "ctx" in str(error)
        assert "locked" in str(error)
    other.execute("ROLLBACK")
    other.close()
    await engram.imprint(write("add", {"id": "after"}))
    assert [found.id for found in (await engram.recall(Query())).found] == ["after", "before"]


async def test_connect_to_a_locked_new_file_fails_in_time(
    path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cosmo_engram_sqlite.database.BUSY_S", 0.2)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    async with asyncio.timeout(10):
        with pytest.raises(EngramError, match="locked") as caught:
            await opened()
    assert caught.value.code == "ENGRAM_UNAVAILABLE"
    other.execute("ROLLBACK")
    other.close()
    await opened()


async def test_batch_of_reads_waits_for_a_lock_once(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    waited = 0

    def find(connection: sqlite3.Connection, query: Query) -> None:
        nonlocal waited
        waited += 1
        error = sqlite3.OperationalError("database is locked")
        error.sqlite_errorcode = sqlite3.SQLITE_BUSY_RECOVERY
        raise error

    for module in ("session", "engram"):
        monkeypatch.setattr(f"cosmo_engram_sqlite.{module}.find", find)
    engram = await opened()
    calls = [engram.recall(Query()) for _ in range(10)]
    refused = await asyncio.gather(*calls, return_exceptions=True)
    assert {getattr(error, "code", error) for error in refused} == {"ENGRAM_UNAVAILABLE"}
    assert waited == 1
