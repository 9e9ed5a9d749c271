"""Concurrent calls, cancelled calls, and calls that wait for each other's locks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from cosmo_core.contracts.engram import Query, Write
from cosmo_core.errors import EngramError
from cosmo_engram_postgres import PostgresEngram
from cosmo_engram_postgres.testing import PostgresServer

if TYPE_CHECKING:
    # The types of the fixtures. A conftest cannot be imported.
    Open = Callable[..., Awaitable[PostgresEngram]]
    Execute = Callable[..., Awaitable[list[Any]]]
    MakeWrite = Callable[..., Write]
    Hold = Callable[..., AbstractAsyncContextManager[Callable[[int], Awaitable[None]]]]


async def test_concurrent_merges_of_several_hosts_all_count(
    trusted: PostgresServer, schema: str, open: Open, write: MakeWrite
) -> None:
    engrams = [await open(trusted, schema=schema) for _ in range(3)]
    await engrams[0].imprint(write("add", {"id": "e", "seen": []}, "k"))
    merges = [write("merge", {"seen": [number]}, "k") for number in range(90)]
    await asyncio.gather(*(engrams[number % 3].imprint(merge) for number, merge in enumerate(merges)))
    (found,) = (await engrams[0].recall(Query.parse({"merge_key": "k"}))).found
    assert sorted(msgspec.json.decode(found.document)["seen"]) == list(range(90))
    assert (await engrams[0].imprint(write("merge", {}, "k"))).version == 92


async def test_concurrent_calls_of_all_kinds_on_few_names_do_not_deadlock(
    trusted: PostgresServer, schema: str, open: Open, write: MakeWrite
) -> None:
    engrams = [await open(trusted, schema=schema) for _ in range(2)]

    async def work(engram: PostgresEngram, number: int) -> None:
        name, key, trace = f"e{number % 3}", f"k{number % 2}", f"trc_{number % 4}"
        await engram.imprint(write("append", {"id": name}, key, trace_id=trace))
        await engram.imprint(write("upsert", {"n": number}, key, trace_id=trace))
        await engram.imprint(write("delete", {"id": name}, trace_id=trace))
        await (engram.commit(trace) if number % 5 else engram.roll_back(trace))

    async with asyncio.timeout(60):
        await asyncio.gather(*(work(engrams[number % 2], number) for number in range(200)))


async def test_delete_by_id_waits_for_the_lock_on_the_key(
    trusted: PostgresServer, schema: str, open: Open, write: MakeWrite, hold: Hold
) -> None:
    engram = await open(trusted, schema=schema)
    await engram.imprint(write("add", {"id": "e"}, "k"))
    lock = f"SELECT {schema}.imprint('i', NULL, 'delete', NULL, 'f', 'k', NULL, NULL, NULL, NULL, NULL, 10)"
    async with hold(trusted, lock) as until_waiting:
        deletion = asyncio.create_task(engram.imprint(write("delete", {"id": "e"})))
        await until_waiting(1)
    assert (await deletion).id is None


async def test_cancelled_write_is_not_done_and_its_connection_is_reused(
    trusted: PostgresServer, schema: str, open: Open, write: MakeWrite, hold: Hold, execute: Execute
) -> None:
    engram = await open(trusted, schema=schema, engram_id="cancelled", max_size=1)
    count = "SELECT pid FROM pg_stat_activity WHERE application_name = 'cosmo-engram cancelled'"
    before = await execute(trusted.dsn, count)
    stuck = write("add", {"id": "e"})
    async with hold(trusted, f"LOCK TABLE {schema}.entries") as until_waiting:
        call = asyncio.create_task(engram.imprint(stuck))
        await until_waiting(1)
        async with asyncio.timeout(1):
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
        # Before the lock is released: afterwards the write could still succeed.
        await until_waiting(0)
    assert (await engram.recall(Query.parse({}))).found == []
    assert (await engram.imprint(stuck)).id == "e"
    assert await execute(trusted.dsn, count) == before


async def test_thousand_cancelled_calls_leave_the_store_consistent(
    trusted: PostgresServer, schema: str, open: Open, write: MakeWrite
) -> None:
    engram = await open(trusted, schema=schema)
    calls = [asyncio.create_task(engram.imprint(write("upsert", {}, f"k{n % 9}"))) for n in range(1000)]
    await calls[99]
    for call in calls:
        call.cancel()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    acknowledged = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
    assert all(isinstance(outcome, asyncio.CancelledError) for outcome in set(outcomes) - set(acknowledged))
    versions = [(await engram.imprint(write("upsert", {}, f"k{n}"))).version for n in range(9)]
    # Acknowledged writes were done; cancelled ones may have been done.
    assert len(acknowledged) <= sum(version or 0 for version in versions) - 9 <= 1000


async def test_calls_beyond_the_limit_are_refused(
    trusted: PostgresServer, schema: str, open: Open, write: MakeWrite, hold: Hold
) -> None:
    engram = await open(trusted, schema=schema, max_size=1)
    async with hold(trusted, f"LOCK TABLE {schema}.entries") as until_waiting:
        calls = [asyncio.create_task(engram.imprint(write("append"))) for _ in range(2048)]
        await until_waiting(1)
        with pytest.raises(EngramError, match="under way") as caught:
            await engram.imprint(write("append"))
    assert (caught.value.code, caught.value.recoverable) == ("ENGRAM_OVERLOADED", True)
    assert len(await asyncio.gather(*calls)) == 2048


async def test_call_that_takes_too_long_fails_and_is_not_done(
    trusted: PostgresServer,
    schema: str,
    open: Open,
    write: MakeWrite,
    hold: Hold,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engram = await open(trusted, schema=schema)
    monkeypatch.setattr("cosmo_engram_postgres.calls.CALL_S", 0.2)
    async with hold(trusted, f"LOCK TABLE {schema}.entries") as until_waiting:
        with pytest.raises(EngramError) as caught:
            await engram.imprint(write("append"))
        await until_waiting(0)
    assert (caught.value.code, caught.value.recoverable) == ("ENGRAM_UNAVAILABLE", True)
    assert (await engram.recall(Query.parse({}))).found == []


async def test_repeated_write_on_two_hosts_at_once_is_done_once(
    trusted: PostgresServer, schema: str, open: Open, write: MakeWrite
) -> None:
    engrams = [await open(trusted, schema=schema) for _ in range(2)]
    for _ in range(50):
        twice = write("append", {"text": "once"})
        one, other = await asyncio.gather(*(engram.imprint(twice) for engram in engrams))
        assert one == other
    assert len((await engrams[0].recall(Query.parse({"text": "once", "limit": 1000}))).found) == 50


async def test_roll_back_waits_for_running_writes(
    trusted: PostgresServer, schema: str, open: Open, write: MakeWrite, hold: Hold
) -> None:
    engram = await open(trusted, schema=schema)
    await engram.imprint(write("upsert", {"n": 1}, "k", trace_id="trc_1"))
    later = f"SELECT {schema}.imprint('i', 'trc_2', 'upsert', NULL, '', 'k', '1', '{{}}', '', NULL, NULL, 9)"
    async with hold(trusted, later) as until_waiting:
        rolled_back = asyncio.create_task(engram.roll_back("trc_1"))
        await until_waiting(1)
    assert await rolled_back == 0
    assert await engram.roll_back("trc_2") == 1
    assert (await engram.recall(Query.parse({}))).found == []
