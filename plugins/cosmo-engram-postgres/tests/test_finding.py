"""The statements that find: which indexes they use, and what they make of odd queries."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

from cosmo_core.contracts.engram import Query, Write
from cosmo_engram_postgres import PostgresEngram
from cosmo_engram_postgres.finding import statement
from cosmo_engram_postgres.schema import Database, Schema
from cosmo_engram_postgres.testing import PostgresServer

if TYPE_CHECKING:
    # The fixtures' own types are in a conftest, which cannot be imported.
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
    """An Engram of 20,000 entries, ten of each of 2,000 tags and words."""
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
async def test_an_index_finds_what_is_asked_for(
    filled: PostgresEngram,
    trusted: PostgresServer,
    schema: str,
    execute: Execute,
    query: dict[str, Any],
    index: str,
) -> None:
    asked = statement(Query.parse(query), Schema(schema), Database(vector=None))
    assert asked is not None
    plan = "\n".join(row[0] for row in await execute(trusted.dsn, "EXPLAIN " + asked.sql, *asked.arguments))
    assert index in plan
    assert "Seq Scan" not in plan


async def test_tags_are_found_however_rare_they_are_the_newest_first(
    filled: PostgresEngram, trusted: PostgresServer, schema: str, execute: Execute
) -> None:
    async def ids(limit: int, *tags: str) -> list[str]:
        findings = await filled.recall(Query.parse({"tags": tags, "limit": limit}))
        return [found.id for found in findings.found]

    assert await ids(3, "all") == ["id20000", "id19999", "id19998"]
    # One of them among the newest, the others far behind.
    rare = [f"id{number}" for number in range(19_999, 0, -2000)]
    assert await ids(10, "tag1999") == rare
    assert await ids(4, "all", "tag1999") == rare[:4]
    assert await ids(10, "nothing") == []
    scans = "SELECT seq_scan FROM pg_stat_user_tables WHERE schemaname = $1 AND relname = 'entries'"
    before = await execute(trusted.dsn, scans, schema)
    await ids(10, "tag7")
    assert await execute(trusted.dsn, scans, schema) == before


async def test_a_query_of_fifty_thousand_words_is_answered(
    trusted: PostgresServer, schema: str, open: Open, write: MakeWrite
) -> None:
    engram = await open(trusted, schema=schema)
    await engram.imprint(write("add", {"id": "e", "text": "w49999 alone"}))
    text = " ".join(f"w{number}" for number in range(50_000))
    assert not (await engram.recall(Query.parse({"text": text}))).found
    (found,) = (await engram.recall(Query.parse({"text": text, "match": "any"}))).found
    assert found.id == "e"
    assert 0 < found.score < 1


async def test_words_near_each_other_rank_above_words_far_from_each_other(
    trusted: PostgresServer, schema: str, open: Open, write: MakeWrite
) -> None:
    engram = await open(trusted, schema=schema)
    await engram.imprint(write("add", {"id": "near", "text": "the bus stop"}))
    await engram.imprint(write("add", {"id": "far", "text": "bus " + "and so on " * 50 + "stop"}))
    found = (await engram.recall(Query.parse({"text": "bus stop"}))).found
    assert [hit.id for hit in found] == ["near", "far"]


@pytest.mark.parametrize("name", ['odd "name"', "it's", "Größe", "select"])
async def test_a_schema_may_have_any_name(
    trusted: PostgresServer, open: Open, write: MakeWrite, name: str
) -> None:
    engram = await open(trusted, schema=name)
    await engram.imprint(
        write("upsert", {"id": "e", "tags": ["t"], "embedding": [1, 2]}, "k", trace_id="trc_1")
    )
    for query in ({"tags": ["t"]}, {"merge_key": "k"}, {"vector": [1, 2]}):
        assert [hit.id for hit in (await engram.recall(Query.parse(query))).found] == ["e"]
    assert await engram.roll_back("trc_1") == 1


async def test_the_longest_names_of_letters_that_do_not_shrink_are_kept(
    trusted: PostgresServer, schema: str, open: Open, write: MakeWrite
) -> None:
    engram = await open(trusted, schema=schema)
    name = "".join(chr(0x20000 + 7919 * number % 40_000) for number in range(512))
    await engram.imprint(write("add", {"id": name, "tags": [name]}, name, imprint_id=name, trace_id=name))
    for query in ({"id": name}, {"merge_key": name}, {"tags": [name]}):
        assert [hit.id for hit in (await engram.recall(Query.parse(query))).found] == [name]
    assert await engram.roll_back(name) == 1
