"""Batches of writes, and how many writes are kept."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from cosmo_core import EngramError
from cosmo_core.contracts.engram import ImprintReceipt, Query, Write
from cosmo_engram_sqlite import SqliteEngram

Open = Callable[..., Awaitable[SqliteEngram]]
MakeWrite = Callable[..., Write]


def query(path: Path, sql: str) -> Any:
    connection = sqlite3.connect(path)
    (value,) = connection.execute(sql).fetchone()
    connection.commit()
    connection.close()
    return value


async def test_refused_write_does_not_affect_its_batch(opened: Open, write: MakeWrite) -> None:
    engram = await opened()
    calls = [engram.imprint(write("add", {"id": f"e{n % 10}"})) for n in range(20)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(each) for each in outcomes] == [ImprintReceipt] * 10 + [EngramError] * 10
    assert len((await engram.recall(Query(limit=100))).found) == 10


async def test_write_that_sqlite_fails_does_not_affect_its_batch(
    path: Path, opened: Open, write: MakeWrite
) -> None:
    engram = await opened()
    connection = sqlite3.connect(path)
    connection.execute(
        "CREATE TRIGGER refuse BEFORE INSERT ON writes WHEN new.entry = 'e5'"
        " BEGIN SELECT RAISE(ABORT, 'not this one'); END"
    )
    connection.commit()
    connection.close()
    calls = [engram.imprint(write("add", {"id": f"e{n}", "text": "word"})) for n in range(10)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [n for n, each in enumerate(outcomes) if isinstance(each, EngramError)] == [5]
    assert "not this one" in str(outcomes[5])
    found = (await engram.recall(Query(words=("word",), limit=100))).found
    assert {each.id for each in found} == {f"e{n}" for n in range(10) if n != 5}


async def test_too_deeply_nested_entry_does_not_affect_its_batch(opened: Open, write: MakeWrite) -> None:
    deep: list[Any] = []
    for _ in range(5_000):
        deep = [deep]
    # Built by hand, since some Python versions refuse to encode it.
    too_deep = Write(op="append", entry={"a": deep}, document=b"{}", imprint_id="imp_deep")
    engram = await opened()
    calls = [engram.imprint(each) for each in (write("append", {}), too_deep, write("append", {}))]
    first, refused, last = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(refused, EngramError)
    assert refused.code == "ENGRAM_INVALID"
    assert isinstance(first, ImprintReceipt)
    assert isinstance(last, ImprintReceipt)


@pytest.mark.parametrize("keeps", [1, 2, 7, 40])
async def test_latest_writes_and_at_most_a_quarter_more_are_kept(
    path: Path, opened: Open, write: MakeWrite, keeps: int
) -> None:
    engram = await opened(keeps_writes=keeps)
    for _ in range(3 * keeps):
        await engram.imprint(write("append", {}))
        assert query(path, "SELECT count(*) FROM writes") <= keeps * 5 // 4
    assert query(path, "SELECT count(*) FROM writes") >= keeps
    await asyncio.gather(*(engram.imprint(write("append", {})) for _ in range(3 * keeps)))
    assert keeps <= query(path, "SELECT count(*) FROM writes") <= keeps * 5 // 4


async def test_images_for_undo_are_deleted_by_commit_and_roll_back(
    path: Path, opened: Open, write: MakeWrite
) -> None:
    engram = await opened()
    for trace in ("trc_a", "trc_b", None):
        await engram.imprint(write("upsert", {"of": trace}, "k", trace))
    assert query(path, "SELECT count(before) FROM writes") == 2
    await engram.commit("trc_a")
    assert await engram.roll_back("trc_b") == 0
    assert query(path, "SELECT count(before) + count(trace_id) FROM writes") == 0


async def test_query_with_thousands_of_words_is_answered(opened: Open, write: MakeWrite) -> None:
    engram = await opened(path=":memory:")
    words = [f"w{n}" for n in range(5_000)]
    await engram.imprint(write("add", {"id": "all", "text": " ".join(words)}))
    for match in ("all", "any"):
        found = (await engram.recall(Query.parse({"text": " ".join(words), "match": match}))).found
        assert [each.id for each in found] == ["all"]
        assert 0 < found[0].score < 1


async def test_query_with_too_many_words_is_refused(opened: Open, write: MakeWrite) -> None:
    engram = await opened(path=":memory:")
    text = " ".join(f"w{n}" for n in range(5_001))
    with pytest.raises(EngramError, match="5001 words; the limit is 5000") as caught:
        await engram.recall(Query.parse({"text": text}))
    assert caught.value.code == "ENGRAM_INVALID"
