"""From a query to one statement, and from its rows to what was found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

import attrs

from cosmo_core.contracts.engram import MAX_INDEXED_BYTES, Findings, Found
from cosmo_engram_postgres.lexemes import as_tsquery
from cosmo_engram_postgres.vectors import similarity

if TYPE_CHECKING:
    from cosmo_core.contracts.engram import Query
    from cosmo_engram_postgres.schema import Database, Schema

_RANKED: Final = 32
"""So many words of a query for all of them rank what is found: their nearness is compared pair by pair."""


@attrs.frozen
class Statement:
    """A statement for one kind of query. Queries of one kind differ in their arguments only.

    Attributes:
        sql: The statement; its rows are id, document and, if it ranks, score.
        arguments: What is put in.
    """

    sql: str
    arguments: list[Any]


class _Draft:
    """A statement that is being put together."""

    def __init__(self, schema: Schema) -> None:
        self.arguments: list[Any] = []
        self.columns = "id, document"
        self.source = f"{schema.quoted}.entries"
        self.conditions: list[str] = []
        self.order = "written DESC"

    def put(self, argument: object) -> str:
        """Add an argument; return how the statement calls it."""
        self.arguments.append(argument)
        return f"${len(self.arguments)}"

    def statement(self, limit: int) -> Statement:
        """Return the whole; it brings one row more than the limit, to tell whether there are more."""
        where = f" WHERE {' AND '.join(self.conditions)}" if self.conditions else ""
        sql = f"SELECT {self.columns} FROM {self.source}{where} ORDER BY {self.order}"  # noqa: S608
        return Statement(f"{sql} LIMIT {self.put(limit + 1)}", self.arguments)


def statement(query: Query, schema: Schema, database: Database) -> Statement | None:
    """Return the statement that finds what fits a query; None if nothing can."""
    if query.words is not None and not _can_fit(query):
        return None
    others = (query.id, query.merge_key, query.words, query.vector)
    if query.tags and all(condition is None for condition in others):
        sql = schema.filled("SELECT found_id, found_document FROM @schema@.find_tagged($1, $2)")
        return Statement(sql, [query.tags, query.limit + 1])
    draft = _Draft(schema)
    if query.id is not None:
        draft.conditions.append(f"id = {draft.put(query.id)}")
    if query.merge_key is not None:
        draft.conditions.append(f"merge_key = {draft.put(query.merge_key)}")
    if query.tags:
        draft.conditions.append(f"tags @> {draft.put(query.tags)}")
    if query.words:
        draft.conditions.append(f"words @@ {draft.put(as_tsquery(query.words, query.match))}::tsquery")
    if query.vector is not None:
        _rank_by_vector(draft, query.vector, database)
    elif query.words:
        _rank_by_words(draft, query.words, query.match)
    return draft.statement(query.limit)


def _rank_by_vector(draft: _Draft, vector: Sequence[float], database: Database) -> None:
    ranks = similarity(database.vector, draft.put(vector), len(vector))
    draft.conditions.append(ranks.condition)
    draft.source += ranks.source
    draft.columns += f", {ranks.score} AS score"
    draft.order = f"{ranks.order}, {draft.order}"


def _rank_by_words(draft: _Draft, words: Sequence[str], match: Literal["all", "any"]) -> None:
    ranking = as_tsquery(words[:_RANKED] if match == "all" else words, match)
    # 32 maps the rank into 0 to 1.
    draft.columns += f", ts_rank(words, {draft.put(ranking)}::tsquery, 32) AS score"
    draft.order = f"score DESC, {draft.order}"


def findings(rows: list[Any], limit: int) -> Findings:
    """Return what was found, for the rows of a `Statement`."""
    found = [Found(id, document.encode(), *score) for id, document, *score in rows[:limit]]
    return Findings(found, truncated=len(rows) > limit)


def _can_fit(query: Query) -> bool:
    # No entry has more words than that.
    words = query.words or ()
    wanted = sum(len(word.encode()) + 1 for word in words) if query.match == "all" else 0
    return bool(words) and wanted <= MAX_INDEXED_BYTES
