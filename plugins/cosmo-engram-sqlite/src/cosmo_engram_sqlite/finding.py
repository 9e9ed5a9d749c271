"""Queries: each becomes one SQL statement, whose rows become `Findings`."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

from cosmo_core.contracts.engram import Findings, Found, Query
from cosmo_engram_sqlite.vectors import packed

MAX_WORDS: Final = 5_000
"""Most words in a query. The time that FTS5 needs grows with the square of their number."""

_NOTHING: Final = Findings(())


def find(connection: sqlite3.Connection, query: Query) -> Findings:
    """Return the entries that match a query.

    Raises:
        sqlite3.Error: SQLite failed.
    """
    if query.words == ():
        return _NOTHING
    rows = connection.execute(_statement_for(query), _arguments(query)).fetchall()
    is_truncated = len(rows) > query.limit
    if is_truncated:
        rows.pop()
    if query.vector is not None:
        # Rounding can make a cosine slightly larger than 1.
        found = [Found(id, document, max(-1.0, min(1.0, 1.0 - rank))) for id, document, rank in rows]
    elif query.words is not None:
        found = [Found(id, document, -rank) for id, document, rank in rows]
    else:
        found = [Found(id, document) for id, document in rows]
    return Findings(found, is_truncated)


def _statement_for(query: Query) -> str:
    return statement(
        query.id is not None,
        query.merge_key is not None,
        len(query.tags),
        query.words is not None,
        query.vector is not None,
    )


def _arguments(query: Query) -> Sequence[Any]:
    """Return the values for the question marks of `statement`, in the same order."""
    arguments: list[Any] = []
    if query.vector is not None:
        vector = packed(query.vector)
        arguments += [vector, len(vector)]
    if query.words is not None:
        # Words consist of letters, digits and marks, so quoting them is enough.
        between = '" AND "' if query.match == "all" else '" OR "'
        arguments.append(f'"{between.join(query.words)}"')
    if query.id is not None:
        arguments.append(query.id)
    if query.merge_key is not None:
        arguments.append(query.merge_key)
    arguments += query.tags
    arguments.append(query.limit + 1)
    return arguments


@cache
def statement(by_id: bool, by_key: bool, tags: int, by_words: bool, by_vector: bool) -> str:
    """Return the statement for one kind of query; the few kinds are cached.

    Its question marks are, in this order: the vector and its number of bytes, the words, the id, the key,
    each tag, and the limit.
    """
    starts_with_tag = bool(tags) and not (by_words or by_id or by_key)
    conditions: list[str] = []
    if by_vector:
        conditions.append("length(v.embedding) = ?")
    if by_words:
        conditions.append("words MATCH ?")
    if by_id:
        conditions.append(_NUMBERED if by_words else "e.id = ?")
    if by_key:
        conditions.append("e.merge_key = ?")
    if starts_with_tag:
        conditions.append("t.tag = ?")
    conditions += [_TAGGED] * (tags - starts_with_tag)
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    rows = f"FROM {_source(by_id or by_key, bool(tags), by_words, by_vector)}{where}"
    if not (by_words or by_vector):
        newest_first = "t.written" if starts_with_tag else "e.written"
        return f"SELECT e.id, e.document {rows} ORDER BY {newest_first} DESC LIMIT ?"
    # Documents are joined last, so that only those of the result are read.
    rank = "vec_distance_cosine(v.embedding, ?)" if by_vector else MINUS_SCORE
    best = f"SELECT e.number, {rank} AS rank, e.written {rows} ORDER BY rank, e.written DESC LIMIT ?"
    return (
        f"SELECT e.id, e.document, best.rank FROM ({best}) AS best CROSS JOIN entries AS e"  # noqa: S608
        " ON e.number = best.number ORDER BY best.rank, best.written DESC"
    )


# Maps bm25, which is negative, to a score between 0 and 1. Results are ordered by the score itself: rounding
# can make two ranks one score, and among equal scores the newest entry comes first.
MINUS_SCORE: Final = "1.0 / (1.0 - words.rank) - 1.0"
_NUMBERED: Final = "words.rowid = (SELECT number FROM entries WHERE id = ?)"
_TAGGED: Final = "EXISTS (SELECT 1 FROM tags WHERE tag = ? AND written = e.written)"


def _source(by_name: bool, by_tag: bool, by_words: bool, by_vector: bool) -> str:
    # SQLite cannot estimate how many entries meet a condition, so CROSS JOIN fixes the order. Words come
    # first: each look-up of a ranked word counts all entries with it.
    if by_words:
        source = "words CROSS JOIN entries AS e ON e.number = words.rowid"
    elif by_name:
        source = "entries AS e"
    elif by_tag:
        # The entries of one tag are already stored in the order of their writes.
        source = "tags AS t CROSS JOIN entries AS e ON e.written = t.written"
    elif by_vector:
        return "embeddings AS v CROSS JOIN entries AS e ON e.number = v.number"
    else:
        source = "entries AS e"
    return source + " CROSS JOIN embeddings AS v ON v.number = e.number" if by_vector else source
