"""HandlerRunner: calls to on_done, failures, draining and closing."""

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


class OnDoneLog:
    """Records the calls to on_done, and fails if one is made inside `run`."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, BaseException | None]] = []
        self.running = False
        self.called = asyncio.Event()

    def __call__(self, number: int, error: BaseException | None) -> None:
        assert not self.running, "on_done was called inside run"
        self.calls.append((number, error))
        self.called.set()

    def run(self, runner: HandlerRunner, frame: bytes, number: int = 0) -> bool:
        self.running = True
        try:
            return runner.run(frame, number)
        finally:
            self.running = False

    async def until(self, count: int) -> None:
        async with asyncio.timeout(5):
            while len(self.calls) < count:
                self.called.clear()
                await self.called.wait()


@pytest.fixture
async def on_done() -> OnDoneLog:
    return OnDoneLog()


def finished_future() -> Awaitable[None]:
    future = asyncio.get_running_loop().create_future()
    future.set_result(None)
    return future


async def test_on_done_is_not_called_for_a_handler_that_finishes_at_once(on_done: OnDoneLog) -> None:
    frames: list[bytes] = []
    runner = HandlerRunner("a.b", frames.append, on_done)
    assert on_done.run(runner, b"1", 7)
    assert runner.in_flight == 0
    await runner.drain()
    assert frames == [b"1"]
    assert on_done.calls == []


async def test_on_done_is_called_once_with_the_number_when_a_handler_finishes_later(
    on_done: OnDoneLog,
) -> None:
    gate = asyncio.Event()

    async def handle(frame: bytes) -> None:
        await gate.wait()

    runner = HandlerRunner("a.b", handle, on_done)
    assert not on_done.run(runner, b"1", 7)
    assert not on_done.run(runner, b"2", 8)
    assert runner.in_flight == 2
    assert on_done.calls == []
    gate.set()
    await runner.drain()
    assert on_done.calls == [(7, None), (8, None)]
    assert runner.in_flight == 0


async def test_on_done_is_called_later_for_a_future_that_is_already_done(on_done: OnDoneLog) -> None:
    runner = HandlerRunner("a.b", lambda frame: finished_future(), on_done)
    assert not on_done.run(runner, b"1", 3)
    await on_done.until(1)
    assert on_done.calls == [(3, None)]


async def test_two_frames_may_wait_for_the_same_task(on_done: OnDoneLog) -> None:
    task = asyncio.create_task(asyncio.sleep(0))
    runner = HandlerRunner("a.b", lambda frame: task, on_done)
    on_done.run(runner, b"1", 1)
    on_done.run(runner, b"2", 2)
    await runner.drain()
    assert on_done.calls == [(1, None), (2, None)]


async def test_an_immediate_failure_is_logged_once_and_reported_before_drain_returns(
    on_done: OnDoneLog, caplog: pytest.LogCaptureFixture
) -> None:
    error = ValueError("no good")

    def handle(frame: bytes) -> None:
        raise error

    runner = HandlerRunner("a.b", handle, on_done)
    assert not on_done.run(runner, b"1", 4)
    assert runner.in_flight == 1
    await runner.drain()
    assert on_done.calls == [(4, error)]
    assert [record.getMessage() for record in caplog.records] == ["the handler of a.b failed"]
    assert "no good" in caplog.text


async def test_a_later_failure_is_logged_once_and_reported(
    on_done: OnDoneLog, caplog: pytest.LogCaptureFixture
) -> None:
    error = ValueError("no good")

    async def handle(frame: bytes) -> None:
        raise error

    runner = HandlerRunner("a.b", handle, on_done)
    assert not on_done.run(runner, b"1", 4)
    await runner.drain()
    assert on_done.calls == [(4, error)]
    assert [record.getMessage() for record in caplog.records] == ["the handler of a.b failed"]
    assert "no good" in caplog.text


async def test_a_result_that_is_not_awaitable_is_a_failure(
    on_done: OnDoneLog, caplog: pytest.LogCaptureFixture
) -> None:
    wrong: Callable[[bytes], Any] = len
    runner = HandlerRunner("a.b", wrong, on_done)
    assert not on_done.run(runner, b"1", 4)
    await runner.drain()
    [(number, error)] = on_done.calls
    assert number == 4
    assert isinstance(error, TypeError)


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_cancelled_call_inside_a_handler_does_not_cancel_the_publisher(
    on_done: OnDoneLog, at_once: bool
) -> None:
    cancelled = asyncio.get_running_loop().create_future()
    cancelled.cancel()

    async def wait(frame: bytes) -> None:
        await cancelled

    def handle(frame: bytes) -> Awaitable[None] | None:
        if at_once:
            cancelled.result()
        return wait(frame)

    runner = HandlerRunner("a.b", handle, on_done)
    assert not on_done.run(runner, b"1", 4)
    await on_done.until(1)
    [(number, error)] = on_done.calls
    assert number == 4
    assert isinstance(error, asyncio.CancelledError)


async def test_drain_also_waits_for_frames_that_arrive_meanwhile(on_done: OnDoneLog) -> None:
    gates = {b"1": asyncio.Event(), b"2": asyncio.Event()}

    async def handle(frame: bytes) -> None:
        await gates[frame].wait()
        if frame == b"1":
            on_done.run(runner, b"2", 2)
            gates[b"2"].set()

    runner = HandlerRunner("a.b", handle, on_done)
    on_done.run(runner, b"1", 1)
    gates[b"1"].set()
    async with asyncio.timeout(5):
        await runner.drain()
    assert on_done.calls == [(1, None), (2, None)]


async def test_close_cancels_handlers_and_waits_for_their_cleanup(on_done: OnDoneLog) -> None:
    cleaned = []
    cleanup = asyncio.Event()

    async def handle(frame: bytes) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            asyncio.get_running_loop().call_soon(cleanup.set)
            await cleanup.wait()
            cleaned.append(frame)

    runner = HandlerRunner("a.b", handle, on_done)
    on_done.run(runner, b"just started", 1)
    await runner.close()
    assert cleaned == [b"just started"]
    [(number, error)] = on_done.calls
    assert number == 1
    assert isinstance(error, asyncio.CancelledError)
    assert runner.in_flight == 0
    await runner.close()


async def test_an_immediate_failure_is_reported_before_close_returns(on_done: OnDoneLog) -> None:
    def handle(frame: bytes) -> None:
        raise ValueError(frame)

    runner = HandlerRunner("a.b", handle, on_done)
    on_done.run(runner, b"1", 1)
    await runner.close()
    assert [number for number, _ in on_done.calls] == [1]


async def test_a_handler_may_close_its_own_runner(on_done: OnDoneLog) -> None:
    ended: list[str] = []

    async def other() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("other")

    async def closing() -> None:
        await runner.close()
        # The handler must go on: it may have more to close.
        await asyncio.sleep(0)
        ended.append("closing")

    runner = HandlerRunner("a.b", lambda frame: other() if frame == b"1" else closing(), on_done)
    on_done.run(runner, b"1", 1)
    on_done.run(runner, b"2", 2)
    await on_done.until(2)
    assert ended == ["other", "closing"]
    assert isinstance(on_done.calls[0][1], asyncio.CancelledError)
    assert on_done.calls[1] == (2, None)
    assert runner.in_flight == 0


async def test_a_handler_may_drain_its_own_runner(on_done: OnDoneLog) -> None:
    async def handle(frame: bytes) -> None:
        if frame == b"2":
            await runner.drain()
        else:
            await asyncio.sleep(0)

    runner = HandlerRunner("a.b", handle, on_done)
    on_done.run(runner, b"2", 2)
    on_done.run(runner, b"1", 1)
    await on_done.until(2)
    assert on_done.calls == [(1, None), (2, None)]


WAYS = st.sampled_from(("at once", "raise", "coroutine", "fail", "future", "hang"))


@given(st.lists(WAYS, max_size=12), st.integers(0, 12))
def test_every_frame_is_reported_exactly_once(ways: list[str], closed_after: int) -> None:
    asyncio.run(report_each_frame_once(ways, closed_after))


async def report_each_frame_once(ways: list[str], closed_after: int) -> None:
    on_done = OnDoneLog()

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

    logging.getLogger("cosmo_core.routing").disabled = True
    try:
        runner = HandlerRunner("a.b", handle, on_done)
        later = []
        for number, way in enumerate(ways):
            if not on_done.run(runner, way.encode(), number):
                later.append(number)
            if number == closed_after:
                await runner.close()
        await runner.close()
    finally:
        logging.getLogger("cosmo_core.routing").disabled = False
    assert sorted(number for number, _ in on_done.calls) == later
    assert later == [number for number, way in enumerate(ways) if way != "at once"]
    assert runner.in_flight == 0
    for number, error in on_done.calls:
        assert (error is None) <= (ways[number] in {"coroutine", "future"})
    assert asyncio.all_tasks() == {asyncio.current_task()}
