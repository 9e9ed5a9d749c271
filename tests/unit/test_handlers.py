"""HandlerRunner: done at once or later, told of once, and nothing left behind."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosmo_core.routing.handlers import HandlerRunner

pytestmark = pytest.mark.timeout(20)


class Told:
    """What `done` was called with, and whether that was ever inside `run`."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, BaseException | None]] = []
        self.running = False
        self.heard = asyncio.Event()

    def __call__(self, number: int, error: BaseException | None) -> None:
        assert not self.running, "done was called inside run"
        self.calls.append((number, error))
        self.heard.set()

    def run(self, runner: HandlerRunner, frame: bytes, number: int = 0) -> bool:
        self.running = True
        try:
            return runner.run(frame, number)
        finally:
            self.running = False

    async def until(self, count: int) -> None:
        async with asyncio.timeout(5):
            while len(self.calls) < count:
                self.heard.clear()
                await self.heard.wait()


@pytest.fixture
async def told() -> Told:
    return Told()


def finished_future() -> Awaitable[None]:
    future = asyncio.get_running_loop().create_future()
    future.set_result(None)
    return future


async def test_a_handler_that_is_done_at_once_is_not_told_of(told: Told) -> None:
    frames: list[bytes] = []
    runner = HandlerRunner("a.b", frames.append, told)
    assert told.run(runner, b"1", 7)
    assert runner.in_flight == 0
    await runner.drain()
    assert frames == [b"1"]
    assert told.calls == []


async def test_a_handler_that_works_on_is_told_of_once_with_its_number(told: Told) -> None:
    gate = asyncio.Event()

    async def handle(frame: bytes) -> None:
        await gate.wait()

    runner = HandlerRunner("a.b", handle, told)
    assert not told.run(runner, b"1", 7)
    assert not told.run(runner, b"2", 8)
    assert runner.in_flight == 2
    assert told.calls == []
    gate.set()
    await runner.drain()
    assert told.calls == [(7, None), (8, None)]
    assert runner.in_flight == 0


async def test_what_is_done_already_when_it_is_returned_is_told_of_later(told: Told) -> None:
    runner = HandlerRunner("a.b", lambda frame: finished_future(), told)
    assert not told.run(runner, b"1", 3)
    await told.until(1)
    assert told.calls == [(3, None)]


async def test_one_task_may_be_what_two_frames_wait_for(told: Told) -> None:
    task = asyncio.create_task(asyncio.sleep(0))
    runner = HandlerRunner("a.b", lambda frame: task, told)
    told.run(runner, b"1", 1)
    told.run(runner, b"2", 2)
    await runner.drain()
    assert told.calls == [(1, None), (2, None)]


async def test_a_failure_at_once_is_logged_once_and_told_of_before_drain_ends(
    told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    error = ValueError("no good")

    def handle(frame: bytes) -> None:
        raise error

    runner = HandlerRunner("a.b", handle, told)
    assert not told.run(runner, b"1", 4)
    assert runner.in_flight == 1
    await runner.drain()
    assert told.calls == [(4, error)]
    assert [record.getMessage() for record in caplog.records] == ["the handler of a.b failed"]
    assert "no good" in caplog.text


async def test_a_failure_later_is_logged_once_and_told_of(
    told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    error = ValueError("no good")

    async def handle(frame: bytes) -> None:
        raise error

    runner = HandlerRunner("a.b", handle, told)
    assert not told.run(runner, b"1", 4)
    await runner.drain()
    assert told.calls == [(4, error)]
    assert [record.getMessage() for record in caplog.records] == ["the handler of a.b failed"]
    assert "no good" in caplog.text


async def test_what_is_no_awaitable_is_a_failure(told: Told, caplog: pytest.LogCaptureFixture) -> None:
    wrong: Callable[[bytes], Any] = len
    runner = HandlerRunner("a.b", wrong, told)
    assert not told.run(runner, b"1", 4)
    await runner.drain()
    [(number, error)] = told.calls
    assert number == 4
    assert isinstance(error, TypeError)


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_cancelled_call_inside_a_handler_does_not_cancel_the_publisher(
    told: Told, at_once: bool
) -> None:
    cancelled = asyncio.get_running_loop().create_future()
    cancelled.cancel()

    async def wait(frame: bytes) -> None:
        await cancelled

    def handle(frame: bytes) -> Awaitable[None] | None:
        if at_once:
            cancelled.result()
        return wait(frame)

    runner = HandlerRunner("a.b", handle, told)
    assert not told.run(runner, b"1", 4)
    await told.until(1)
    [(number, error)] = told.calls
    assert number == 4
    assert isinstance(error, asyncio.CancelledError)


async def test_draining_waits_also_for_what_comes_meanwhile(told: Told) -> None:
    gates = {b"1": asyncio.Event(), b"2": asyncio.Event()}

    async def handle(frame: bytes) -> None:
        await gates[frame].wait()
        if frame == b"1":
            told.run(runner, b"2", 2)
            gates[b"2"].set()

    runner = HandlerRunner("a.b", handle, told)
    told.run(runner, b"1", 1)
    gates[b"1"].set()
    async with asyncio.timeout(5):
        await runner.drain()
    assert told.calls == [(1, None), (2, None)]


async def test_closing_cancels_and_waits_for_what_cleans_up(told: Told) -> None:
    cleaned = []
    cleanup = asyncio.Event()

    async def handle(frame: bytes) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            asyncio.get_running_loop().call_soon(cleanup.set)
            await cleanup.wait()
            cleaned.append(frame)

    runner = HandlerRunner("a.b", handle, told)
    told.run(runner, b"handed over only just now", 1)
    await runner.close()
    assert cleaned == [b"handed over only just now"]
    [(number, error)] = told.calls
    assert number == 1
    assert isinstance(error, asyncio.CancelledError)
    assert runner.in_flight == 0
    await runner.close()


async def test_a_failure_at_once_is_told_of_before_closing_ends(told: Told) -> None:
    def handle(frame: bytes) -> None:
        raise ValueError(frame)

    runner = HandlerRunner("a.b", handle, told)
    told.run(runner, b"1", 1)
    await runner.close()
    assert [number for number, _ in told.calls] == [1]


async def test_a_handler_may_close_what_called_it(told: Told) -> None:
    ended: list[str] = []

    async def other() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("other")

    async def closing() -> None:
        await runner.close()
        # What comes after it must happen too: there may be more to close.
        await asyncio.sleep(0)
        ended.append("closing")

    runner = HandlerRunner("a.b", lambda frame: other() if frame == b"1" else closing(), told)
    told.run(runner, b"1", 1)
    told.run(runner, b"2", 2)
    await told.until(2)
    assert ended == ["other", "closing"]
    assert isinstance(told.calls[0][1], asyncio.CancelledError)
    assert told.calls[1] == (2, None)
    assert runner.in_flight == 0


async def test_a_handler_may_wait_for_the_others(told: Told) -> None:
    async def handle(frame: bytes) -> None:
        if frame == b"2":
            await runner.drain()
        else:
            await asyncio.sleep(0)

    runner = HandlerRunner("a.b", handle, told)
    told.run(runner, b"2", 2)
    told.run(runner, b"1", 1)
    await told.until(2)
    assert told.calls == [(1, None), (2, None)]


WAYS = st.sampled_from(("at once", "raise", "coroutine", "fail", "future", "hang"))


@given(st.lists(WAYS, max_size=12), st.integers(0, 12))
def test_every_frame_is_done_with_once(ways: list[str], closed_after: int) -> None:
    asyncio.run(everything_once(ways, closed_after))


async def everything_once(ways: list[str], closed_after: int) -> None:
    told = Told()

    async def work(way: str) -> None:
        await asyncio.sleep(0)
        if way == "fail":
            raise ValueError(way)
        if way == "hang":
            await asyncio.Event().wait()

    def handle(frame: bytes) -> Awaitable[None] | None:
        way = frame.decode()
        if way == "raise":
            raise ValueError(way)
        if way == "future":
            return finished_future()
        return None if way == "at once" else work(way)

    logging.getLogger("cosmo_core.contracts.synapse").disabled = True
    try:
        runner = HandlerRunner("a.b", handle, told)
        later = []
        for number, way in enumerate(ways):
            if not told.run(runner, way.encode(), number):
                later.append(number)
            if number == closed_after:
                await runner.close()
        await runner.close()
    finally:
        logging.getLogger("cosmo_core.contracts.synapse").disabled = False
    assert sorted(number for number, _ in told.calls) == later
    assert later == [number for number, way in enumerate(ways) if way != "at once"]
    assert runner.in_flight == 0
    for number, error in told.calls:
        assert (error is None) <= (ways[number] in {"coroutine", "future"})
    assert asyncio.all_tasks() == {asyncio.current_task()}
