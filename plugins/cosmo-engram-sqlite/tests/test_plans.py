"""SQLite's query plans: frequent statements do not scan all entries."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cosmo_core.contracts.engram import Query, Write
from cosmo_engram_sqlite import SqliteEngram, database
from cosmo_engram_sqlite.finding import statement

Open = Callable[..., Awaitable[SqliteEngram]]


@pytest.fixture
def plan() -> Iterator[Callable[[str], list[str]]]:
    """Return SQLite's query plan for a statement."""
    opened = database.open_connection(":memory:", engram_id="ctx", store="the store")

    def ask(sql: str) -> list[str]:
        values = (None,) * sql.count("?")
        return [row[3] for row in opened.execute(f"EXPLAIN QUERY PLAN {sql}", values)]

    yield ask
    opened.close()


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ((True, False, 0, False, False), ["SEARCH e USING INDEX sqlite_autoindex_entries_1 (id=?)"]),
        ((False, True, 0, False, False), ["SEARCH e USING INDEX entries_by_key (merge_key=?)"]),
        ((False, False, 0, False, False), ["SCAN e USING INDEX sqlite_autoindex_entries_2"]),
        (
            (False, False, 1, False, False),
            [
                "SEARCH t USING PRIMARY KEY (tag=?)",
                "SEARCH e USING INDEX sqlite_autoindex_entries_2 (written=?)",
            ],
        ),
    ],
    ids=["id", "key", "newest", "tag"],
)
def test_unranked_queries_read_an_index_in_order(
    plan: Callable[[str], list[str]], kind: tuple[bool, bool, int, bool, bool], expected: list[str]
) -> None:
    assert plan(statement(*kind)) == expected


def test_word_queries_start_with_the_index_and_read_only_the_best_rows(
    plan: Callable[[str], list[str]],
) -> None:
    steps = plan(statement(by_id=False, by_key=True, tags=2, by_words=True, by_vector=True))
    assert steps[1].startswith("SCAN words VIRTUAL TABLE INDEX 0:M")
    assert steps[2] == "SEARCH e USING INTEGER PRIMARY KEY (rowid=?)"
    assert steps[-3:] == [
        "SCAN best",
        "SEARCH e USING INTEGER PRIMARY KEY (rowid=?)",
        "USE TEMP B-TREE FOR ORDER BY",
    ]


def test_no_kind_of_query_scans_entries_except_in_order_of_age(
    plan: Callable[[str], list[str]],
) -> None:
    flags = [False, True]
    for by_id, by_key, tags, by_words, by_vector in itertools.product(flags, flags, range(3), flags, flags):
        steps = plan(statement(by_id, by_key, tags, by_words, by_vector))
        is_narrowed = by_id or by_key or tags or by_words
        scans = [step for step in steps if step.startswith("SCAN") and step not in _ALLOWED]
        expected = {"SCAN v"} if by_vector and not is_narrowed else set()
        if not (is_narrowed or by_vector):
            expected = {"SCAN e USING INDEX sqlite_autoindex_entries_2"}
        assert {step for step in scans if not step.startswith("SCAN words VIRTUAL")} == expected, steps


# The few rows of the result.
_ALLOWED = {"SCAN best"}


async def test_writes_and_rollbacks_scan_no_table(
    opened: Open, write: Callable[..., Write], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    statements: set[str] = set()

    def open_traced(*args: Any, **options: Any) -> sqlite3.Connection:
        traced = database.open_connection(*args, **options)
        traced.set_trace_callback(statements.add)
        return traced

    monkeypatch.setattr("cosmo_engram_sqlite.engram.open_connection", open_traced)
    engram = await opened(keeps_writes=8)
    for n in range(20):
        entry = {"text": f"note {n}", "tags": ["a"], "embedding": [1.0, n]}
        for op in ("upsert", "merge", "append", "delete"):
            await engram.imprint(write(op, entry, f"k{n % 3}", f"trc_{n}"))
        await engram.imprint(write("append", {"id": "a", "n": n}, trace_id=f"trc_{n}"))
        await engram.imprint(write("delete", {"id": "a"}, trace_id=f"trc_{n}"))
        await asyncio.gather(engram.roll_back(f"trc_{n}"), engram.commit(f"trc_{n - 1}"))
    await engram.recall(Query())
    await engram.close()

    reader = sqlite3.connect(path)
    # Statements that FTS5 runs itself are marked with a comment.
    own = [sql for sql in statements if sql.split(" ")[0] in {"SELECT", "INSERT", "UPDATE", "DELETE"}]
    assert len(own) > 50
    for sql in own:
        steps = [row[3] for row in reader.execute(f"EXPLAIN QUERY PLAN {sql}")]
        scans = [step for step in steps if step.startswith("SCAN")]
        assert scans in ([], ["SCAN e USING INDEX sqlite_autoindex_entries_2"]), sql
    reader.close()
