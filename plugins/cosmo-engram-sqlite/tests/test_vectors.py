"""Embeddings, with and without sqlite-vec."""

from __future__ import annotations

import asyncio
import errno
import importlib
import logging
import math
import os
import sqlite3
import sys
import threading
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosmo_core.contracts.engram import Query, Write
from cosmo_engram_sqlite import SqliteEngram, vectors

Open = Callable[..., Awaitable[SqliteEngram]]

numbers = st.floats(-1e6, 1e6, width=32)


def needs_sqlite_vec() -> None:
    """Skip the test where sqlite-vec cannot be loaded. In CI it must be loadable if Python allows it."""
    if not hasattr(sqlite3.Connection, "enable_load_extension"):
        pytest.skip("this Python was built without support for SQLite extensions")
    connection = sqlite3.connect(":memory:")
    try:
        connection.enable_load_extension(True)
        importlib.import_module("sqlite_vec").load(connection)
    except (ImportError, sqlite3.Error) as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"sqlite-vec cannot be loaded: {error}")
    finally:
        connection.close()


@given(st.integers(1, 40).flatmap(lambda n: st.tuples(*[st.lists(numbers, min_size=n, max_size=n)] * 2)))
def test_distance_is_one_minus_the_cosine(pair: tuple[list[float], list[float]]) -> None:
    one, other = pair
    lengths = math.hypot(*one) * math.hypot(*other)
    if math.hypot(*one) < 1e-3 or math.hypot(*other) < 1e-3:
        return
    cosine = math.fsum(a * b for a, b in zip(one, other, strict=True)) / lengths
    distance = vectors.cosine_distance(vectors.packed(one), vectors.packed(other))
    assert distance == pytest.approx(1 - cosine, abs=1e-5)


async def ranked(engram: SqliteEngram, write: Callable[..., Write]) -> list[tuple[str, float]]:
    for n in range(50):
        embedding = [math.cos(n), math.sin(n * 3), n / 50 - 0.5]
        await engram.imprint(write("add", {"id": f"e{n}", "embedding": embedding}))
    found = (await engram.recall(Query(vector=(0.3, -0.2, 0.5), limit=50))).found
    assert len(found) == 50
    assert all(-1 <= each.score <= 1 for each in found)
    return [(each.id, each.score) for each in found]


async def test_sqlite_vec_and_python_give_the_same_results(
    opened: Open, write: Callable[..., Write], monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_sqlite_vec()
    with_vec = await ranked(await opened(path=":memory:"), write)
    # The import then fails as if sqlite-vec were not installed.
    monkeypatch.setitem(sys.modules, "sqlite_vec", None)
    without = await ranked(await opened(path=":memory:"), write)
    assert [id for id, _ in with_vec] == [id for id, _ in without]
    assert [score for _, score in with_vec] == pytest.approx([score for _, score in without], abs=1e-5)


async def test_unloadable_sqlite_vec_is_logged_and_python_compares(
    opened: Open,
    write: Callable[..., Write],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Unloadable:
        @staticmethod
        def load(connection: sqlite3.Connection) -> None:
            raise sqlite3.OperationalError("not authorized")

    monkeypatch.setitem(sys.modules, "sqlite_vec", Unloadable)
    with caplog.at_level(logging.INFO, "cosmo_engram_sqlite"):
        found = await ranked(await opened(path=":memory:"), write)
    assert found[0][1] > 0.9
    assert "sqlite-vec cannot be loaded" in caplog.text


async def test_search_of_a_cancelled_caller_ends(
    opened: Open, write: Callable[..., Write], monkeypatch: pytest.MonkeyPatch
) -> None:
    compared, reached, goes_on = 0, threading.Event(), threading.Event()

    def compare(stored: bytes, wanted: bytes) -> float:
        nonlocal compared
        compared += 1
        reached.set()
        assert goes_on.wait(10)
        return 0.5

    monkeypatch.setitem(sys.modules, "sqlite_vec", None)
    monkeypatch.setattr(vectors, "cosine_distance", compare)
    monkeypatch.setattr("cosmo_engram_sqlite.session._STEPS", 100)
    engram = await opened()
    await asyncio.gather(*(engram.imprint(write("append", {"embedding": [1.0, n]})) for n in range(2_000)))
    search = asyncio.ensure_future(engram.recall(Query(vector=(1.0, 1.0))))
    assert await asyncio.to_thread(reached.wait, 10)
    search.cancel()
    await asyncio.wait((search,))
    goes_on.set()
    async with asyncio.timeout(10):
        assert len((await engram.recall(Query(limit=5))).found) == 5
    assert compared < 200


async def test_vectors_are_compared_without_sqlite_vec_if_it_cannot_be_read(
    opened: Open, write: Callable[..., Write], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("cosmo_engram_sqlite.vectors.importlib.import_module", fail)
    engram = await opened()
    await engram.imprint(write("append", {"id": "e", "embedding": [1.0, 0.0]}))
    assert [found.score for found in (await engram.recall(Query(vector=(1.0, 0.0)))).found] == [1.0]


class Comparisons:
    """Counts the comparisons of vectors in Python. Each waits until they may go on."""

    def __init__(self) -> None:
        self.count = 0
        self.reached, self.go_on = threading.Event(), threading.Event()

    def compare(self, stored: bytes, wanted: bytes) -> float:
        self.count += 1
        self.reached.set()
        assert self.go_on.wait(10)
        return 0.5


@pytest.fixture
def comparisons(monkeypatch: pytest.MonkeyPatch) -> Comparisons:
    made = Comparisons()
    monkeypatch.setitem(sys.modules, "sqlite_vec", None)
    monkeypatch.setattr(vectors, "cosine_distance", made.compare)
    return made


async def test_running_search_is_interrupted_at_once_and_waiting_ones_do_not_begin(
    opened: Open, write: Callable[..., Write], comparisons: Comparisons
) -> None:
    engram = await opened()
    await asyncio.gather(*(engram.imprint(write("append", {"embedding": [1.0, n]})) for n in range(500)))
    searches = [asyncio.ensure_future(engram.recall(Query(vector=(1.0, 1.0)))) for _ in range(6)]
    assert await asyncio.to_thread(comparisons.reached.wait, 10)
    for search in searches:
        search.cancel()
    await asyncio.wait(searches)
    other = asyncio.ensure_future(engram.recall(Query(vector=(1.0, 1.0), limit=5)))
    comparisons.go_on.set()
    async with asyncio.timeout(10):
        assert len((await other).found) == 5
    # A few of the interrupted search, and all of the last.
    assert 500 < comparisons.count < 510
