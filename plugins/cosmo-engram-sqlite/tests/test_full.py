"""Writes when the disk or the file size limit is exhausted."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from cosmo_core import EngramError
from cosmo_core.contracts.engram import Query, Write
from cosmo_engram_sqlite import SqliteEngram, database

Open = Callable[..., Awaitable[SqliteEngram]]
Spawn = Callable[..., Awaitable[Process]]


async def lines_of(child: Process) -> list[str]:
    async with asyncio.timeout(60):
        out, err = await child.communicate()
    assert (child.returncode, err.decode()) == (0, "")
    return out.decode().splitlines()


async def can_mount(folder: Path) -> bool:
    """Tell whether a process may mount a file system of its own on this machine."""
    if shutil.which("unshare") is None:
        return False
    mount = ("unshare", "--mount", "--map-root-user", "mount", "-t", "tmpfs", "none", str(folder))
    return await (await asyncio.create_subprocess_exec(*mount, stderr=asyncio.subprocess.DEVNULL)).wait() == 0


async def test_full_disk_fails_writes_keeps_entries_and_recovers_when_space_is_freed(
    tmp_path: Path, spawn: Spawn
) -> None:
    if not await can_mount(tmp_path):
        pytest.skip("a process may not mount a file system of its own on this machine")
    child = await spawn("fill", tmp_path, under=("unshare", "--mount", "--map-root-user"))
    full, stayed, went_on, read_only = await lines_of(child)
    assert (full, stayed, went_on) == ("ENGRAM_FULL", "True", "True")
    assert read_only.startswith("ENGRAM_UNAVAILABLE Engram 'ctx' at")
    assert "may read and write both" in read_only


@pytest.mark.skipif(os.name != "posix", reason="limits on file sizes need POSIX")
async def test_file_size_limit_fails_writes_and_keeps_the_store_intact(path: Path, spawn: Spawn) -> None:
    refused, stayed, went_on = await lines_of(await spawn("limited", path))
    assert (refused, stayed, went_on) == ("ENGRAM_UNAVAILABLE", "True", "True")


async def test_batch_with_a_write_too_large_for_the_disk_does_the_others(
    path: Path, opened: Open, write: Callable[..., Write], monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_limited(*args: Any, **options: Any) -> sqlite3.Connection:
        limited = database.open_connection(*args, **options)
        limited.execute("PRAGMA max_page_count = 100")
        return limited

    monkeypatch.setattr("cosmo_engram_sqlite.engram.open_connection", open_limited)
    engram = await opened()
    small = [write("add", {"id": f"small-{n}"}) for n in range(10)]
    large = write("add", {"id": "large", "data": "x" * 500_000})
    calls = [engram.imprint(each) for each in (*small[:5], large, *small[5:])]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    error = outcomes.pop(5)
    assert isinstance(error, EngramError)
    assert (error.code, error.recoverable) == ("ENGRAM_FULL", True)
    assert "free some" in str(error)
    found = (await engram.recall(Query(limit=100))).found
    assert {each.id for each in found} == {each.id for each in small}
    # The failed write is not known by its id, so repeating it does it.
    await engram.close()
    monkeypatch.undo()
    unlimited = await opened()
    assert (await unlimited.imprint(large)).version == 1
