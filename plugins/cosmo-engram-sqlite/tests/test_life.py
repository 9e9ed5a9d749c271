"""Connecting, closing, crowds, and callers that do not wait."""

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
    """Return the threads of all Engrams that are open."""
    return {thread for thread in threading.enumerate() if thread.name.startswith("cosmo-sqlite")}


async def ended(before: set[threading.Thread]) -> None:
    """Wait until the threads end that are new."""
    for thread in threads() - before:
        await asyncio.to_thread(thread.join, 10)
        assert not thread.is_alive()


both = pytest.mark.parametrize("options", [{}, {"path": ":memory:"}], ids=["file", "memory"])


class Gate:
    """Holds the threads of an Engram back, before they do what they are asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.open = threading.Event(), threading.Event()
        run = SqliteSession.run

        def held(session: SqliteSession, calls: Sequence[Call], let_go: Callable[[], None]) -> list[object]:
            self.reached.set()
            assert self.open.wait(10)
            return run(session, calls, let_go)

        monkeypatch.setattr(SqliteSession, "run", held)

    async def until_reached(self) -> None:
        assert await asyncio.to_thread(self.reached.wait, 10)


@both
async def test_a_thousand_imprints_and_recalls_at_once_all_succeed(
    opened: Open, write: MakeWrite, options: dict[str, Any]
) -> None:
    engram = await opened(**options)
    async with asyncio.timeout(60):
        calls = [engram.imprint(write("append", {"id": f"e{n}", "text": "crowd"})) for n in range(1000)]
        asked = [engram.recall(Query(id=f"e{n}")) for n in range(1000)]
        receipts, findings = await asyncio.gather(asyncio.gather(*calls), asyncio.gather(*asked))
    assert [receipt.id for receipt in receipts] == [f"e{n}" for n in range(1000)]
    assert all(isinstance(each, Findings) for each in findings)
    assert len((await engram.recall(Query(words=("crowd",), limit=1000))).found) == 1000


@both
async def test_closing_finishes_what_waits_and_refuses_what_comes_then(
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


async def test_a_closed_file_keeps_what_was_written_and_can_be_connected_again(
    opened: Open, write: MakeWrite, path: Path
) -> None:
    engram = await opened()
    await engram.connect()
    await engram.imprint(write("add", {"id": "a"}))
    await engram.close()
    await engram.close()
    # No log is left beside it.
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    await engram.connect()
    assert [found.id for found in (await engram.recall(Query())).found] == ["a"]


async def test_connecting_many_times_at_once_opens_the_store_once(path: Path) -> None:
    before = threads()
    engram = SqliteEngram(engram_id="ctx", path=path)
    await asyncio.gather(*(engram.connect() for _ in range(5)))
    assert len(threads() - before) == 2
    await asyncio.gather(*(engram.close() for _ in range(5)))
    assert threads() == before


@both
async def test_a_connect_that_is_cancelled_leaves_no_thread_behind(
    options: dict[str, Any], path: Path
) -> None:
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
async def test_a_close_that_is_cancelled_can_be_done_again(
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
async def test_callers_that_are_cancelled_leave_the_store_whole(
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
    # What was not on its way yet is not written; what was is, and whole.
    assert {each.id for each in found} == {"e0"} | {f"e{n}" for n in range(300) if n not in cancelled}


async def test_too_many_calls_are_refused_and_cancelled_ones_do_not_count(
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


# Newer Pythons say that of a connection that nobody closed; it is what this is about.
@pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")
async def test_an_event_loop_that_ends_first_costs_no_thread(path: Path, write: MakeWrite) -> None:
    before = threads()

    async def forget() -> None:
        engram = SqliteEngram(engram_id="ctx", path=path)
        await engram.connect()
        await engram.imprint(write("add", {"id": "a"}))

    await asyncio.to_thread(asyncio.run, forget())
    engram = SqliteEngram(engram_id="ctx", path=path)
    await engram.connect()
    assert [found.id for found in (await engram.recall(Query())).found] == ["a"]
    await engram.close()
    # Those of the first ended when it was collected.
    gc.collect()
    await ended(before)
