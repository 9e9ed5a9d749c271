"""Killed hosts, restarted servers, damaged tables and full disks: acknowledged writes survive them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from cosmo_core.contracts.engram import Query, Write
from cosmo_core.errors import EngramError
from cosmo_engram_postgres import PostgresEngram
from cosmo_engram_postgres.testing import PostgresServer

if TYPE_CHECKING:
    # The types of the fixtures. A conftest cannot be imported.
    Start = Callable[..., PostgresServer]
    Open = Callable[..., Awaitable[PostgresEngram]]
    Execute = Callable[..., Awaitable[list[Any]]]
    MakeWrite = Callable[..., Write]

WRITER = str(Path(__file__).with_name("writer.py"))


@asynccontextmanager
async def host(*arguments: object) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, WRITER, *map(str, arguments), stdout=subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def lines(process: asyncio.subprocess.Process, most: int | None = None) -> list[str]:
    """Read the output of a host, to its end or at most so many lines."""
    assert process.stdout is not None
    read: list[str] = []
    async with asyncio.timeout(60):
        while most is None or len(read) < most:
            line = await process.stdout.readline()
            if not line:
                return read
            read.append(line.decode().strip())
    return read


async def test_acknowledged_writes_survive_a_killed_host(start: Start, open: Open, execute: Execute) -> None:
    server = start()
    async with host(server.dsn, "ctx", "a", 10_000, 10_000) as process:
        acknowledged = await lines(process, 3_000)
        process.kill()
        acknowledged += await lines(process)
    assert 3_000 <= len(acknowledged) < 10_000
    engram = await open(server, schema="ctx")
    rows = await execute(server.dsn, "SELECT merge_key, document FROM ctx.entries")
    assert set(acknowledged) <= {row["merge_key"] for row in rows}
    assert all(msgspec.json.decode(row["document"])["from"] == "a" for row in rows)
    # A write under way is done completely or not at all, and all writes can be undone.
    assert await engram.roll_back("trc_1") == len(rows)
    assert (await engram.recall(Query.parse({}))).found == []


async def test_two_hosts_write_one_entry_per_key_and_count_every_write(
    trusted: PostgresServer, schema: str, execute: Execute
) -> None:
    async with (
        host(trusted.dsn, schema, "a", 7, 700) as one,
        host(trusted.dsn, schema, "b", 7, 700) as other,
    ):
        assert [len(keys) for keys in await asyncio.gather(lines(one), lines(other))] == [700, 700]
    rows = await execute(trusted.dsn, f"SELECT merge_key, version FROM {schema}.entries ORDER BY 1")  # noqa: S608
    assert [tuple(row) for row in rows] == [(f"k{number}", 200) for number in range(7)]


class Load:
    """Workers that write and read until they are stopped, and the results."""

    def __init__(self, engram: PostgresEngram, write: MakeWrite) -> None:
        self.acknowledged: list[Write] = []
        self.failed: list[EngramError] = []
        self.longest_s = 0.0
        self._engram = engram
        self._write = write
        self._stopping = False
        self._progress = asyncio.Event()

    async def work(self, worker: int) -> None:
        number = 0
        while not self._stopping:
            number += 1
            write = self._write("upsert", {"n": number}, f"{worker}-{number}")
            began = time.monotonic()
            try:
                await self._engram.imprint(write)
                await self._engram.recall(Query.parse({"merge_key": write.merge_key}))
                self.acknowledged.append(write)
            except EngramError as error:
                self.failed.append(error)
            self.longest_s = max(self.longest_s, time.monotonic() - began)
            self._progress.set()

    async def more(self, count: int) -> None:
        """Wait until so many more writes are acknowledged."""
        wanted = len(self.acknowledged) + count
        async with asyncio.timeout(20):
            while len(self.acknowledged) < wanted:
                self._progress.clear()
                await self._progress.wait()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            for worker in range(32):
                group.create_task(self.work(worker))
            await self.more(200)
            yield
            self._stopping = True


def shut_down(server: PostgresServer) -> None:
    server.restart()


def killed(server: PostgresServer) -> None:
    server.kill()
    server.restart()


@pytest.mark.parametrize("restart", [shut_down, killed])
async def test_restarted_server_keeps_acknowledged_writes_and_calls_go_on(
    restart: Callable[[PostgresServer], None],
    start: Start,
    open: Open,
    write: MakeWrite,
) -> None:
    server = start()
    engram = await open(server)
    load = Load(engram, write)
    async with load.running():
        for _ in range(3):
            await asyncio.to_thread(restart, server)
            await load.more(200)
    assert {error.code for error in load.failed} <= {"ENGRAM_UNAVAILABLE"}
    # Two calls, each of which is retried for up to two seconds.
    assert load.longest_s < 15
    for done in load.acknowledged:
        found = await engram.recall(Query.parse({"merge_key": done.merge_key}))
        assert [hit.document for hit in found.found] == [done.document]


async def test_stopped_server_fails_calls_within_seconds_and_recovers(
    start: Start, open: Open, write: MakeWrite
) -> None:
    server = start()
    engram = await open(server)
    await engram.imprint(write("add", {"id": "kept"}))
    server.terminate()
    async with asyncio.timeout(10):
        with pytest.raises(EngramError, match="does not answer") as caught:
            await engram.recall(Query.parse({}))
    assert (caught.value.code, caught.value.recoverable) == ("ENGRAM_UNAVAILABLE", True)
    server.restart()
    assert [hit.id for hit in (await engram.recall(Query.parse({}))).found] == ["kept"]


async def test_damaged_table_is_reported_as_corrupt(
    start: Start, open: Open, write: MakeWrite, execute: Execute
) -> None:
    server = start(fsync=False)
    engram = await open(server, schema="ctx")
    await engram.imprint(write("add", {"id": "e"}))
    ((table,),) = await execute(server.dsn, "SELECT pg_relation_filepath('ctx.entries')")
    server.terminate()
    with (server.home / "data" / table).open("r+b") as page:
        page.write(b"\xff" * 8192)
    server.restart()
    with pytest.raises(EngramError, match="damaged") as caught:
        await engram.recall(Query.parse({}))
    assert (caught.value.code, caught.value.recoverable) == ("ENGRAM_CORRUPT", False)


class SmallDisk:
    """A small disk in the directory of a server."""

    def __init__(self, server: PostgresServer) -> None:
        self.path = server.home / "disk"
        self.path.mkdir()
        self._owner = server.home.stat()
        self._is_mounted = False

    def resize(self, megabytes: int) -> None:
        options = f"size={megabytes}M,uid={self._owner.st_uid},gid={self._owner.st_gid},mode=700"
        if self._is_mounted:
            options += ",remount"
        done = _run("/bin/mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.path))
        if done.returncode:
            pytest.skip(f"no disk can be mounted on this machine: {done.stderr}")
        self._is_mounted = True

    def unmount(self) -> None:
        if self._is_mounted:
            # Lazy, since the server still has files open.
            assert _run("/bin/umount", "--lazy", str(self.path)).returncode == 0


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)  # noqa: S603


@pytest.fixture
def small_disk(start: Start) -> Iterator[Callable[[PostgresServer], SmallDisk]]:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    disks: list[SmallDisk] = []

    def mount(server: PostgresServer) -> SmallDisk:
        disks.append(SmallDisk(server))
        disks[-1].resize(24)
        return disks[-1]

    yield mount
    for disk in disks:
        disk.unmount()


async def test_full_disk_fails_writes_completely_and_keeps_entries(
    small_disk: Callable[[PostgresServer], SmallDisk],
    start: Start,
    open: Open,
    write: MakeWrite,
    execute: Execute,
) -> None:
    server = start(fsync=False)
    disk = small_disk(server)
    await execute(server.dsn, f"CREATE TABLESPACE small LOCATION '{disk.path}'")
    await execute(server.dsn, "CREATE DATABASE small TABLESPACE small")
    engram = await open(server, dsn=server.dsn_of("postgres", database="small"))
    noise = os.urandom(100_000).hex()
    writes = [write("add", {"id": f"e{number}", "noise": noise}, trace_id="trc_1") for number in range(200)]
    done: list[str | None] = []

    async def fill() -> None:
        for one in writes:
            await engram.imprint(one)
            done.append(one.id)

    with pytest.raises(EngramError, match="disk") as caught:
        await fill()
    assert (caught.value.code, caught.value.recoverable) == ("ENGRAM_FULL", True)
    found = await engram.recall(Query.parse({"limit": 1000}))
    assert [hit.id for hit in found.found] == done[::-1]
    disk.resize(48)
    assert (await engram.imprint(writes[len(done)])).version == 1
    assert await engram.roll_back("trc_1") == len(done) + 1
