"""Statements of queries: the indexes that they use, and unusual queries."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Literal

import asyncpg
import pytest

from cosmo_core.contracts.engram import Query, Write
from cosmo_engram_postgres import PostgresEngram
from cosmo_engram_postgres.finding import statement
from cosmo_engram_postgres.lookups import MAX_BATCH, batch_statement
from cosmo_engram_postgres.schema import Database, Schema
from cosmo_engram_postgres.testing import PostgresServer

if TYPE_CHECKING:
    # The types of the fixtures. A conftest cannot be imported.
    Open = Callable[..., Awaitable[PostgresEngram]]
    Execute = Callable[..., Awaitable[list[Any]]]
    MakeWrite = Callable[..., Write]

FILL = """
INSERT INTO {schema}.entries
SELECT 'id' || n, 'k' || n, '{{"n":' || n || '}}', ARRAY['all', 'tag' || n % 2000],
       ('''all'':1 ''word' || n % 2000 || ''':2')::tsvector, NULL, 1, nextval('{schema}.written')
FROM generate_series(1, 20000) AS n
"""


@pytest.fixture
async def filled(trusted: PostgresServer, schema: str, open: Open, execute: Execute) -> PostgresEngram:
    """An Engram with 20,000 entries; each of 2,000 tags and words is in ten of them."""
    engram = await open(trusted, schema=schema)
    await execute(trusted.dsn, FILL.format(schema=schema))
    await execute(trusted.dsn, f"ANALYZE {schema}.entries")
    return engram


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ({"id": "id7"}, "entries_pkey"),
        ({"merge_key": "k7"}, "entries_by_key"),
        ({"text": "word7"}, "entries_by_word"),
        ({"text": "word7 all"}, "entries_by_word"),
        ({"text": "word7 word8", "match": "any"}, "entries_by_word"),
        ({"text": "all", "tags": ["tag7"]}, "entries_by_tag"),
        ({"vector": [1.0], "tags": ["tag7"]}, "entries_by_tag"),
        ({}, "entries_by_age"),
    ],
)
async def test_query_uses_an_index(
    filled: PostgresEngram,
    trusted: PostgresServer,
    schema: str,
    execute: Execute,
    query: dict[str, Any],
    index: str,
) -> None:
    found = statement(Query.parse(query), Schema(schema), Database(vector=None))
    assert found is not None
    plan = "\n".join(row[0] for row in await execute(trusted.dsn, "EXPLAIN " + found.sql, *found.arguments))
    assert index in plan
    assert "Seq Scan" not in plan


@pytest.mark.parametrize(("column", "index"), [("id", "entries_pkey"), ("merge_key", "entries_by_key")])
@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
async def test_many_lookups_use_an_index(
    filled: PostgresEngram,
    trusted: PostgresServer,
    schema: str,
    column: Literal["id", "merge_key"],
    index: str,
    mode: str,
) -> None:
    connection = await asyncpg.connect(trusted.dsn, server_settings={"plan_cache_mode": mode})
    values = [[f"{number}" for number in range(MAX_BATCH)], [11] * MAX_BATCH]
    plan = await connection.fetch("EXPLAIN " + batch_statement(Schema(schema), column), *values)
    await connection.close()
    text = "\n".join(row[0] for row in plan)
    assert index in text
    assert "Seq Scan" not in text


async def test_frequent_and_rare_tags_are_found_newest_first(
    filled: PostgresEngram, trusted: PostgresServer, schema: str, execute: Execute
) -> None:
    async def ids(limit: int, *tags: str) -> list[str]:
        findings = await filled.recall(Query.parse({"tags": tags, "limit": limit}))
        return [found.id for found in findings.found]

    assert await ids(3, "all") == ["id20000", "id19999", "id19998"]
    # One entry is among the newest, the others are much older.
    rare = [f"id{number}" for number in range(19_999, 0, -2000)]
    assert await ids(10, "tag1999") == rare
    assert await ids(4, "all", "tag1999") == rare[:4]
    assert await ids(10, "nothing") == []
    found = statement(Query.parse({"tags": ["tag7"]}), Schema(schema), Database(vector=None))
    assert found is not None
    connection = await asyncpg.connect(trusted.dsn)
    async with connection.transaction():
        assert len(await connection.fetch(found.sql, *found.arguments)) == 10
        # Of this transaction: those of all are counted up to a second later.
        scans = "SELECT seq_scan FROM pg_stat_xact_user_tables WHERE schemaname = $1 AND relname = 'entries'"
        assert await connection.fetchval(scans, schema) == 0
    await connection.close()


async def test_query_with_fifty_thousand_words_is_answered(
    trusted: PostgresServer, schema: str, open: Open, write: MakeWrite
) -> None:
    engram = await open(trusted, schema=schema)
    await engram.imprint(write("add", {"id": "e", "text": "w49999 alone"}))
    text = " ".join(f"w{number}" for number in range(50_000))
    assert not (await engram.recall(Query.parse({"text": text}))).found
    (found,) = (await engram.recall(Query.parse({"text": text, "match": "any"}))).found
    assert found.id == "e"
    assert 0 < found.score < 1


async def test_adjacent_words_rank_above_distant_words(
    trusted: PostgresServer, schema: str, open: Open, write: MakeWrite
) -> None:
    engram = await open(trusted, schema=schema)
    await engram.imprint(write("add", {"id": "near", "text": "the bus stop"}))
    await engram.imprint(write("add", {"id": "far", "text": "bus " + "and so on " * 50 + "stop"}))
    found = (await engram.recall(Query.parse({"text": "bus stop"}))).found
    assert [hit.id for hit in found] == ["near", "far"]


@pytest.mark.parametrize("name", ['odd "name"', "it's", "Größe", "select"])
async def test_schema_can_have_any_name(
    trusted: PostgresServer, open: Open, write: MakeWrite, name: str
) -> None:
    engram = await open(trusted, schema=name)
    await engram.imprint(
        write("upsert", {"id": "e", "tags": ["t"], "embedding": [1, 2]}, "k", trace_id="trc_1")
    )
    for query in ({"tags": ["t"]}, {"merge_key": "k"}, {"vector": [1, 2]}):
        assert [hit.id for hit in (await engram.recall(Query.parse(query))).found] == ["e"]
    assert await engram.roll_back("trc_1") == 1


async def test_longest_names_of_incompressible_characters_are_stored(
    trusted: PostgresServer, schema: str, open: Open, write: MakeWrite
) -> None:
    engram = await open(trusted, schema=schema)
    name = "".join(chr(0x20000 + 7919 * number % 40_000) for number in range(512))
    await engram.imprint(write("add", {"id": name, "tags": [name]}, name, imprint_id=name, trace_id=name))
    for query in ({"id": name}, {"merge_key": name}, {"tags": [name]}):
        assert [hit.id for hit in (await engram.recall(Query.parse(query))).found] == [name]
    assert await engram.roll_back(name) == 1


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lower the number of entries that are ranked."""
    for name, number in {"MAX_RANKED": 5, "_PROBED": 4, "_RECENT": 10}.items():
        monkeypatch.setattr(f"cosmo_engram_postgres.finding.{name}", number)


@pytest.mark.usefixtures("few")
async def test_frequent_word_ranks_the_newest_entries(
    trusted: PostgresServer, schema: str, open: Open, write: MakeWrite
) -> None:
    engram = await open(trusted, schema=schema)
    for number in range(20):
        # The oldest entries would be the best.
        await engram.imprint(
            write("add", {"id": f"e{number}", "text": "bus " * (20 - number), "tags": ["t"]})
        )
    for query in ({"text": "bus"}, {"text": "bus", "tags": ["t"]}, {"text": "bus stop", "match": "any"}):
        findings = await engram.recall(Query.parse({**query, "limit": 3}))
        assert [found.id for found in findings.found] == ["e15", "e16", "e17"]
        assert findings.truncated
        assert len((await engram.recall(Query.parse({**query, "limit": 9}))).found) == 5


@pytest.mark.usefixtures("few")
async def test_rare_words_rank_all_matching_entries(
    trusted: PostgresServer, schema: str, open: Open, write: MakeWrite
) -> None:
    engram = await open(trusted, schema=schema)
    for number in range(20):
        text = {0: "rare rare", 9: "rare", 17: "new", 18: "new", 19: "new"}.get(number, "bus")
        await engram.imprint(write("add", {"id": f"e{number}", "text": text}))
    assert [found.id for found in (await engram.recall(Query.parse({"text": "rare"}))).found] == ["e0", "e9"]
    # All of them are among the newest entries.
    found = (await engram.recall(Query.parse({"text": "new"}))).found
    assert [each.id for each in found] == ["e19", "e18", "e17"]
    # Some match, but not many of the newest: any five of them are ranked.
    assert len((await engram.recall(Query.parse({"text": "bus"}))).found) == 5
