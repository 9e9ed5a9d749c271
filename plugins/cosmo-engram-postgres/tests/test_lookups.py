"""Recalls by an id or a merge key alone: many at once become one statement, with the results of each."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

import pytest

from cosmo_core.contracts.engram import Findings, Query, Write
from cosmo_core.errors import EngramError
from cosmo_engram_postgres import PostgresEngram, lookups
from cosmo_engram_postgres.finding import Statement
from cosmo_engram_postgres.testing import PostgresServer

if TYPE_CHECKING:
    # The types of the fixtures. A conftest cannot be imported.
    Open = Callable[..., Awaitable[PostgresEngram]]
    MakeWrite = Callable[..., Write]
    Hold = Callable[..., AbstractAsyncContextManager[Callable[[int], Awaitable[None]]]]


def key(number: int, limit: int = 10) -> Query:
    return Query(merge_key=f"k{number}", limit=limit)


async def together(engram: PostgresEngram, queries: Sequence[Query]) -> list[Findings]:
    return list(await asyncio.gather(*map(engram.recall, queries)))


@pytest.fixture
async def stored(trusted: PostgresServer, schema: str, open: Open, write: MakeWrite) -> PostgresEngram:
    """An Engram with the ids e0 to e39, of which three or four each have one of the keys k0 to k12."""
    engram = await open(trusted, schema=schema, engram_id="lookups")
    for number in range(40):
        await engram.imprint(write("append", {"id": f"e{number}", "n": number}, f"k{number % 13}"))
    return engram


async def test_lookups_at_once_find_what_each_finds_alone(stored: PostgresEngram) -> None:
    queries = [key(number, limit) for number in range(15) for limit in (1, 2, 3, 10)]
    queries += [Query(id=f"e{number}") for number in range(0, 50, 3)]
    queries += [Query(id="e1", merge_key="k1"), Query(id="e2", merge_key="k1"), Query(), *queries[:9]]
    random.Random(5).shuffle(queries)  # noqa: S311 - no secret
    alone = [await stored.recall(query) for query in queries]
    assert await together(stored, queries) == alone
    assert {len(findings.found) for findings in alone} >= {0, 1, 2, 3}
    assert {findings.truncated for findings in alone} == {False, True}


async def test_lookups_at_once_are_few_statements(
    stored: PostgresEngram, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch, statements = Statement.fetch, list[str]()

    async def counted(self: Statement, connection: Any) -> list[Any]:
        statements.append(self.sql)
        return await fetch(self, connection)

    monkeypatch.setattr(Statement, "fetch", counted)
    await together(stored, [key(number % 13) for number in range(1 + 4 * lookups.MAX_BATCH)])
    assert len(statements) == 5
    await stored.recall(key(1))
    assert "unnest" not in statements[-1]


async def test_lookup_finds_what_was_written_before_it_began(
    stored: PostgresEngram, write: MakeWrite
) -> None:
    async def write_and_read(number: int) -> None:
        for version in range(5):
            await stored.imprint(write("upsert", {"version": version}, f"own{number}"))
            (found,) = (await stored.recall(Query(merge_key=f"own{number}"))).found
            assert b'"version":%d' % version in found.document.replace(b" ", b"")

    await asyncio.gather(*map(write_and_read, range(20)))


async def test_lookup_that_fails_does_not_affect_others(stored: PostgresEngram) -> None:
    queries = [key(1), *(Query(merge_key="\0") if number == 7 else key(number) for number in range(13))]
    outcomes = await asyncio.gather(*map(stored.recall, queries), return_exceptions=True)
    failed = outcomes.pop(8)
    assert isinstance(failed, EngramError)
    assert failed.code == "ENGRAM_INVALID"
    assert all(isinstance(outcome, Findings) and len(outcome.found) >= 3 for outcome in outcomes)


async def test_cancelled_lookups_do_not_affect_others_and_free_their_connection(
    trusted: PostgresServer, stored: PostgresEngram, schema: str, hold: Hold
) -> None:
    async with hold(trusted, f"LOCK TABLE {schema}.entries") as until_waiting:
        calls = [asyncio.create_task(stored.recall(key(number))) for number in range(5)]
        await until_waiting(2)
        for call in calls[:3]:
            call.cancel()
        # That which runs alone has ended; the others still wait for two.
        await until_waiting(1)
        for call in calls[3:]:
            call.cancel()
        await until_waiting(0)
        one = asyncio.create_task(stored.recall(key(1)))
        await until_waiting(1)
    assert len((await one).found) == 3
    assert all(call.cancelled() for call in calls)


async def test_lookups_wait_for_slow_statements_only_for_a_while(
    stored: PostgresEngram, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch, stuck, started = Statement.fetch, asyncio.Event(), asyncio.Queue[str]()

    async def some_hang(self: Statement, connection: Any) -> list[Any]:
        if "k0" in str(self.arguments):
            started.put_nowait(self.sql)
            await stuck.wait()
        return await fetch(self, connection)

    monkeypatch.setattr(Statement, "fetch", some_hang)
    hanging = []
    for _ in range(2):
        hanging.append(asyncio.create_task(stored.recall(key(0))))
        # Each one is a statement of its own.
        await started.get()
    async with asyncio.timeout(10):
        assert [len(each.found) for each in await together(stored, [key(1), key(2)])] == [3, 3]
    stuck.set()
    assert [len((await each).found) for each in hanging] == [4, 4]


async def test_lookups_that_wait_are_done_before_the_engram_closes(stored: PostgresEngram) -> None:
    calls = [asyncio.create_task(stored.recall(key(number % 13))) for number in range(200)]
    await asyncio.sleep(0)
    await stored.close()
    assert all(len(findings.found) >= 3 for findings in await asyncio.gather(*calls))


async def test_lookups_that_take_too_long_fail(
    trusted: PostgresServer, stored: PostgresEngram, schema: str, hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cosmo_engram_postgres.calls.CALL_S", 0.2)
    async with hold(trusted, f"LOCK TABLE {schema}.entries") as until_waiting:
        outcomes = await asyncio.gather(*(stored.recall(key(n)) for n in range(200)), return_exceptions=True)
        await until_waiting(0)
    assert {getattr(outcome, "code", None) for outcome in outcomes} == {"ENGRAM_UNAVAILABLE"}
    assert len((await stored.recall(key(2))).found) == 3


async def test_lookups_beyond_the_limit_are_refused(
    trusted: PostgresServer, stored: PostgresEngram, schema: str, hold: Hold
) -> None:
    async with hold(trusted, f"LOCK TABLE {schema}.entries") as until_waiting:
        calls = [asyncio.create_task(stored.recall(key(1))) for _ in range(2048)]
        # No statement ends, so all connections are used.
        await until_waiting(10)
        with pytest.raises(EngramError, match="under way"):
            await stored.recall(key(1))
        for call in calls:
            call.cancel()
        await until_waiting(0)
