"""Queries: each becomes one SQL statement, whose rows become `Findings`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

import attrs

from cosmo_core.contracts.engram import MAX_INDEXED_BYTES, Findings, Found, Query
from cosmo_engram_postgres.connections import PooledConnection
from cosmo_engram_postgres.lexemes import as_tsquery
from cosmo_engram_postgres.schema import Database, Schema

# Without pgvector: the cosine similarity in plain SQL.
_COSINE: Final = (
    " CROSS JOIN LATERAL (SELECT sum(a * b) / sqrt(sum(a::float8 * a)) / sqrt(sum(b * b)) AS cosine"
    " FROM (SELECT unnest(embedding) AS a, unnest(@query@::float8[]) AS b) AS pairs) AS compared"
)

MAX_RANKED: Final = 10_000
"""Most entries that a query by words ranks, so that the work of a frequent word is bounded."""

_PROBED: Final = 300
"""How many of the newest entries show whether a query matches frequently: at least half of them."""

_RECENT: Final = 2 * MAX_RANKED
"""How many of the newest entries are searched for `MAX_RANKED` matches of a frequent query."""

# PostgreSQL skips a part whose count is not the wanted one. The last part is exact up to MAX_RANKED matches.
_RANK: Final = """
WITH probe AS (
    SELECT count(*) AS matching
    FROM (SELECT words, tags FROM @schema@.entries ORDER BY written DESC LIMIT @probed@) AS newest
    WHERE @conditions@
), recent AS MATERIALIZED (
    SELECT id, document, words, written
    FROM (SELECT * FROM @schema@.entries ORDER BY written DESC LIMIT @recent@) AS newest
    WHERE (SELECT matching FROM probe) >= @probed@ / 2 AND @conditions@ LIMIT @ranked@
), candidates AS (
    SELECT * FROM recent WHERE (SELECT count(*) FROM recent) = @ranked@
    UNION ALL (
        SELECT id, document, words, written FROM @schema@.entries
        WHERE (SELECT count(*) FROM recent) < @ranked@ AND @conditions@ LIMIT @ranked@
    )
)
SELECT id, document, ts_rank(words, @ranking@::tsquery, 32) AS score
FROM candidates ORDER BY score DESC, written DESC LIMIT @limit@
"""

_RANKED: Final = 32
"""How many words of a query for all words rank the results: ranking compares the words pair by pair."""


@attrs.frozen
class Statement:
    """A statement and its arguments. Queries of one kind have the same statement.

    Attributes:
        sql: The statement. Its columns are id, document and, if it ranks, score.
        arguments: The values of its placeholders.
    """

    sql: str
    arguments: list[Any]

    async def fetch(self, connection: PooledConnection) -> list[Any]:
        """Return the rows."""
        return await connection.fetch(self.sql, *self.arguments)


class _Draft:
    """A statement under construction."""

    def __init__(self, schema: Schema) -> None:
        self.arguments: list[Any] = []
        self.columns = "id, document"
        self.source = f"{schema.quoted}.entries"
        self.conditions: list[str] = []
        self.order = "written DESC"

    def add_argument(self, argument: object) -> str:
        """Add an argument; return its placeholder."""
        self.arguments.append(argument)
        return f"${len(self.arguments)}"

    def statement(self, limit: int) -> Statement:
        """Return the statement. It selects one row more than the limit, to tell whether more match."""
        where = f" WHERE {' AND '.join(self.conditions)}" if self.conditions else ""
        sql = f"SELECT {self.columns} FROM {self.source}{where} ORDER BY {self.order}"  # noqa: S608
        return Statement(f"{sql} LIMIT {self.add_argument(limit + 1)}", self.arguments)


def statement(query: Query, schema: Schema, database: Database) -> Statement | None:
    """Return the statement for a query; None if no entry can match."""
    if query.words is not None and not _can_match(query):
        return None
    others = (query.id, query.merge_key, query.words, query.vector)
    if query.tags and all(condition is None for condition in others):
        sql = schema.fill("SELECT found_id, found_document FROM @schema@.find_tagged($1, $2)")
        return Statement(sql, [query.tags, query.limit + 1])
    draft = _Draft(schema)
    if query.id is not None:
        draft.conditions.append(f"id = {draft.add_argument(query.id)}")
    if query.merge_key is not None:
        draft.conditions.append(f"merge_key = {draft.add_argument(query.merge_key)}")
    if query.tags:
        draft.conditions.append(f"tags @> {draft.add_argument(query.tags)}")
    if query.words:
        draft.conditions.append(
            f"words @@ {draft.add_argument(as_tsquery(query.words, query.match))}::tsquery"
        )
    if query.vector is not None:
        _rank_by_vector(draft, query.vector, database)
    elif query.words and query.id is None and query.merge_key is None:
        return _ranked_statement(draft, query.words, query, schema)
    elif query.words:
        _rank_by_words(draft, query.words, query.match)
    return draft.statement(query.limit)


def _rank_by_vector(draft: _Draft, vector: Sequence[float], database: Database) -> None:
    placeholder, dimensions = draft.add_argument(vector), len(vector)
    draft.conditions.append(f"cardinality(embedding) = {dimensions}")
    if database.vector is None:
        draft.source += _COSINE.replace("@query@", placeholder)
        score, order = "cosine", "-cosine"
    else:
        # The expression and the condition are those of the index that the README describes.
        type = f"{database.vector}.vector({dimensions})"
        order = f"(embedding::{type} OPERATOR({database.vector}.<=>) {placeholder}::real[]::{type})"
        score = f"1 - {order}"
    draft.columns += f", {score} AS score"
    draft.order = f"{order}, {draft.order}"


def _ranked_statement(draft: _Draft, words: Sequence[str], query: Query, schema: Schema) -> Statement:
    ranking = as_tsquery(words[:_RANKED] if query.match == "all" else words, query.match)
    sql = schema.fill(_RANK)
    for mark, value in {
        "@conditions@": " AND ".join(draft.conditions),
        "@probed@": _PROBED,
        "@recent@": _RECENT,
        "@ranked@": MAX_RANKED,
        "@ranking@": draft.add_argument(ranking),
        "@limit@": draft.add_argument(query.limit + 1),
    }.items():
        sql = sql.replace(mark, str(value))
    return Statement(sql, draft.arguments)


def _rank_by_words(draft: _Draft, words: Sequence[str], match: Literal["all", "any"]) -> None:
    ranking = as_tsquery(words[:_RANKED] if match == "all" else words, match)
    # The flag 32 maps the rank to a number between 0 and 1.
    draft.columns += f", ts_rank(words, {draft.add_argument(ranking)}::tsquery, 32) AS score"
    draft.order = f"score DESC, {draft.order}"


def findings(rows: list[Any], limit: int) -> Findings:
    """Return the findings for the rows of a `Statement`."""
    found = [Found(id, document.encode(), *score) for id, document, *score in rows[:limit]]
    return Findings(found, truncated=len(rows) > limit)


def _can_match(query: Query) -> bool:
    # No entry has more than MAX_INDEXED_BYTES of words.
    words = query.words or ()
    wanted = sum(len(word.encode()) + 1 for word in words) if query.match == "all" else 0
    return bool(words) and wanted <= MAX_INDEXED_BYTES
