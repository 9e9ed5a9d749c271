"""Connecting, closing, many calls at once, and cancelled callers."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from cosmo_core import EngramError
from cosmo_core.contracts.engram import Findings, Query, Write
from cosmo_engram_sqlite import SqliteEngram
from cosmo_engram_sqlite.batching import MAX_WAITING, Call
from cosmo_engram_sqlite.session import SqliteSession

Open = Callable[..., Awaitable[SqliteEngram]]
MakeWrite = Callable[..., Write]


def threads() -> set[threading.Thread]:
    """Return the threads of all open Engrams."""
    return {thread for thread in threading.enumerate() if thread.name.startswith("cosmo-sqlite")}


async def ended(before: set[threading.Thread]) -> None:
    """Wait until all threads that are not in ``before`` have ended."""
    for thread in threads() - before:
        await asyncio.to_thread(thread.join, 10)
        assert not thread.is_alive()


both = pytest.mark.parametrize("options", [{}, {"path": ":memory:"}], ids=["file", "memory"])


class Gate:
    """Makes the threads of an Engram wait before each batch."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.open = threading.Event(), threading.Event()
        run = SqliteSession.run

        def wait_and_run(
            session: SqliteSession, calls: Sequence[Call], release_loop: Callable[[], None]
        ) -> list[object]:
            self.reached.set()
            assert self.open.wait(10)
            return run(session, calls, release_loop)

        monkeypatch.setattr(SqliteSession, "run", wait_and_run)

    async def until_reached(self) -> None:
        assert await asyncio.to_thread(self.reached.wait, 10)


@both
async def test_thousand_concurrent_imprints_and_recalls_succeed(
    opened: Open, write: MakeWrite, options: dict[str, Any]
) -> None:
    engram = await opened(**options)
    async with asyncio.timeout(60):
        calls = [engram.imprint(write("append", {"id": f"e{n}", "text": "many"})) for n in range(1000)]
        asked = [engram.recall(Query(id=f"e{n}")) for n in range(1000)]
        receipts, findings = await asyncio.gather(asyncio.gather(*calls), asyncio.gather(*asked))
    assert [receipt.id for receipt in receipts] == [f"e{n}" for n in range(1000)]
    assert all(isinstance(each, Findings) for each in findings)
    assert len((await engram.recall(Query(words=("many",), limit=1000))).found) == 1000


@both
async def test_close_finishes_waiting_calls_and_refuses_later_ones(
    opened: Open, write: MakeWrite, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    engram = await opened(**options)
    gate = Gate(monkeypatch)
    calls = [asyncio.ensure_future(engram.imprint(write("append", {"n": n}))) for n in range(200)]
    await gate.until_reached()
    closing = asyncio.ensure_future(engram.close())
    await asyncio.sleep(0)
    with pytest.raises(EngramError, match="is closed") as caught:
        await engram.recall(Query())
    assert (caught.value.code, caught.value.recoverable) == ("ENGRAM_UNAVAILABLE", True)
    gate.open.set()
    async with asyncio.timeout(10):
        await closing
        receipts = await asyncio.gather(*calls)
    assert len({receipt.id for receipt in receipts}) == 200


async def test_closed_file_keeps_its_entries_and_can_be_reopened(
    opened: Open, write: MakeWrite, path: Path
) -> None:
    engram = await opened()
    await engram.connect()
    await engram.imprint(write("add", {"id": "a"}))
    await engram.close()
    await engram.close()
    # The write-ahead log is gone.
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    await engram.connect()
    assert [found.id for found in (await engram.recall(Query())).found] == ["a"]


async def test_concurrent_connects_open_the_store_once(path: Path) -> None:
    before = threads()
    engram = SqliteEngram(engram_id="ctx", path=path)
    await asyncio.gather(*(engram.connect() for _ in range(5)))
    assert len(threads() - before) == 2
    await asyncio.gather(*(engram.close() for _ in range(5)))
    assert threads() == before


@both
async def test_cancelled_connect_leaves_no_thread(options: dict[str, Any], path: Path) -> None:
    before = threads()
    engram = SqliteEngram(**{"engram_id": "ctx", "path": path, **options})
    connecting = asyncio.ensure_future(engram.connect())
    await asyncio.sleep(0)
    assert len(threads() - before) == 1
    connecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connecting
    await ended(before)
    await engram.connect()
    await engram.close()
    assert threads() == before


@both
async def test_cancelled_close_can_be_repeated(
    opened: Open, write: MakeWrite, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = threads()
    engram = await opened(**options)
    gate = Gate(monkeypatch)
    call = asyncio.ensure_future(engram.imprint(write("append", {"n": 1})))
    await gate.until_reached()
    for _ in range(2):
        closing = asyncio.ensure_future(engram.close())
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
    gate.open.set()
    async with asyncio.timeout(10):
        await engram.close()
    assert (await call).version == 1
    assert threads() == before


@both
async def test_cancelled_callers_leave_the_store_intact(
    opened: Open, write: MakeWrite, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    engram = await opened(**options)
    await engram.imprint(write("append", {"id": "log", "ids": []}, "log"))
    gate = Gate(monkeypatch)
    first = asyncio.ensure_future(engram.imprint(write("append", {"id": "e0", "text": "whole"})))
    await gate.until_reached()
    calls = [
        asyncio.ensure_future(engram.imprint(write("append", {"id": f"e{n}", "text": "whole"})))
        for n in range(1, 300)
    ]
    await asyncio.sleep(0)
    for call in (first, *calls[::3]):
        call.cancel()
    gate.open.set()
    async with asyncio.timeout(10):
        outcomes = await asyncio.gather(first, *calls, return_exceptions=True)
    cancelled = {n for n, outcome in enumerate(outcomes) if isinstance(outcome, asyncio.CancelledError)}
    assert cancelled == {0, *range(1, 300, 3)}
    found = (await engram.recall(Query(words=("whole",), limit=1000))).found
    # Cancelled calls in the queue are not done; the one in the running batch is done completely.
    assert {each.id for each in found} == {"e0"} | {f"e{n}" for n in range(300) if n not in cancelled}


async def test_full_queue_refuses_calls_and_does_not_count_cancelled_ones(
    opened: Open, write: MakeWrite, monkeypatch: pytest.MonkeyPatch
) -> None:
    engram = await opened()
    gate = Gate(monkeypatch)
    first = asyncio.ensure_future(engram.imprint(write("append", {})))
    await gate.until_reached()
    calls = [asyncio.ensure_future(engram.imprint(write("append", {}))) for _ in range(MAX_WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(EngramError, match="2048 calls waiting") as caught:
        await engram.imprint(write("append", {}))
    assert (caught.value.code, caught.value.recoverable) == ("ENGRAM_OVERLOADED", True)
    for call in calls[:-1]:
        call.cancel()
    await asyncio.sleep(0)
    last = asyncio.ensure_future(engram.imprint(write("append", {})))
    gate.open.set()
    async with asyncio.timeout(10):
        receipts = await asyncio.gather(first, calls[-1], last)
    assert {receipt.version for receipt in receipts} == {1}


# Newer Pythons warn of an unclosed connection, which this test leaves on purpose.
@pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")
async def test_event_loop_that_ends_before_close_leaks_no_thread(path: Path, write: MakeWrite) -> None:
    before = threads()

    async def use_without_close() -> None:
        engram = SqliteEngram(engram_id="ctx", path=path)
        await engram.connect()
        await engram.imprint(write("add", {"id": "a"}))

    await asyncio.to_thread(asyncio.run, use_without_close())
    engram = SqliteEngram(engram_id="ctx", path=path)
    await engram.connect()
    assert [found.id for found in (await engram.recall(Query())).found] == ["a"]
    await engram.close()
    # The threads of the first Engram end when it is garbage-collected.
    gc.collect()
    await ended(before)
