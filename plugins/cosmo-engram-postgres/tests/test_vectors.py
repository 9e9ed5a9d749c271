"""Embeddings, with and without pgvector."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

from cosmo_core.contracts.engram import Query, Write
from cosmo_engram_postgres import PostgresEngram
from cosmo_engram_postgres.finding import statement
from cosmo_engram_postgres.schema import Database, Schema
from cosmo_engram_postgres.testing import PostgresServer

if TYPE_CHECKING:
    # The types of the fixtures. A conftest cannot be imported.
    Open = Callable[..., Awaitable[PostgresEngram]]
    Execute = Callable[..., Awaitable[list[Any]]]
    MakeWrite = Callable[..., Write]

INDEX = """
CREATE INDEX entries_by_meaning ON {schema}.entries
USING hnsw ((embedding::vector(8)) vector_cosine_ops) WHERE cardinality(embedding) = 8
"""


def embeddings(count: int, dimensions: int) -> list[list[float]]:
    chance = random.Random(7)  # noqa: S311
    return [[chance.uniform(-1, 1) for _ in range(dimensions)] for _ in range(count)]


async def filled(engram: PostgresEngram, write: MakeWrite) -> None:
    for number, embedding in enumerate(embeddings(200, 8) + embeddings(50, 3)):
        await engram.imprint(write("add", {"id": f"e{number}", "embedding": embedding}))


async def test_results_are_the_same_with_and_without_pgvector(
    trusted: PostgresServer, vectorial: PostgresServer, schema: str, open: Open, write: MakeWrite
) -> None:
    plain, vector = await open(trusted, schema=schema), await open(vectorial, schema=schema)
    for engram in (plain, vector):
        await filled(engram, write)
    for dimensions in (8, 3, 5):
        query = Query.parse({"vector": [0.5] * dimensions, "limit": 1000})
        one, other = (await plain.recall(query)).found, (await vector.recall(query)).found
        assert [hit.id for hit in one] == [hit.id for hit in other]
        assert [hit.score for hit in one] == pytest.approx([hit.score for hit in other], abs=1e-5)


async def test_pgvector_is_used_where_it_is_installed(
    trusted: PostgresServer, vectorial: PostgresServer, schema: str, open: Open, execute: Execute
) -> None:
    for server, wanted in ((vectorial, True), (trusted, False)):
        engram = await open(server, schema=schema)
        await engram.recall(Query.parse({"vector": [1.0, 2.0]}))
        queries = await execute(
            server.dsn,
            "SELECT query FROM pg_stat_activity WHERE application_name = $1 AND query LIKE '%embedding%'",
            "cosmo-engram ctx",
        )
        assert any("<=>" in row[0] for row in queries) is wanted


async def test_index_of_the_readme_is_used(
    vectorial: PostgresServer, schema: str, open: Open, write: MakeWrite, execute: Execute
) -> None:
    engram = await open(vectorial, schema=schema)
    await filled(engram, write)
    await execute(vectorial.dsn, INDEX.format(schema=schema))
    query = Query.parse({"vector": embeddings(1, 8)[0], "limit": 3})
    found = statement(query, Schema(schema), Database(vector="public"))
    assert found is not None
    # Without these settings, a scan is faster for so few entries.
    plan = await execute(
        vectorial.dsn_of("postgres", database="postgres?enable_seqscan=off&enable_sort=off"),
        "EXPLAIN " + found.sql,
        *found.arguments,
    )
    assert "entries_by_meaning" in "\n".join(row[0] for row in plan)
    assert (await engram.recall(query)).found[0].id == "e0"


async def test_index_is_created_where_pgvector_is_installed(
    trusted: PostgresServer,
    vectorial: PostgresServer,
    schema: str,
    open: Open,
    write: MakeWrite,
    execute: Execute,
) -> None:
    indexes = "SELECT indexname FROM pg_indexes WHERE schemaname = $1 AND indexname LIKE '%vector%'"
    for server, names in ((vectorial, ["entries_by_vector_8"]), (trusted, [])):
        engram = await open(server, schema=schema, vector_index=8)
        # The second host finds the index of the first.
        await open(server, schema=schema, vector_index=8)
        assert [row[0] for row in await execute(server.dsn, indexes, schema)] == names
        await filled(engram, write)
        nearest = (await engram.recall(Query.parse({"vector": embeddings(1, 8)[0], "limit": 100}))).found
        assert (nearest[0].id, len(nearest)) == ("e0", 100)


def test_dimensions_that_cannot_be_indexed_are_refused() -> None:
    for dimensions in (0, 2_001):
        with pytest.raises(ValueError, match="vector_index is an integer of at least 1 and at most 2000"):
            PostgresEngram(engram_id="ctx", vector_index=dimensions)
