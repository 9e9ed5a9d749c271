"""Calls to a thread, in batches."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from cosmo_engram_sqlite.batching import MAX_BATCH, Call, Lane


class Recorder:
    """A session that keeps what it was given, and does nothing while it is held."""

    def __init__(self) -> None:
        self.batches: list[list[object]] = []
        self.threads: set[int] = set()
        self.free, self.reached = threading.Event(), threading.Event()
        self.free.set()
        self.closed = False

    def run(self, calls: Sequence[Call], let_go: Callable[[], None]) -> list[object]:
        self.batches.append([call.argument for call in calls])
        self.threads.add(threading.get_ident())
        self.reached.set()
        let_go()
        assert self.free.wait(10)
        return [call.work(self, call.argument) for call in calls]

    def close(self) -> None:
        self.threads.add(threading.get_ident())
        self.closed = True


def double(recorder: Recorder, number: int) -> object:
    return number * 2 if number >= 0 else ValueError(number)


def fail(recorder: Recorder, reason: str) -> object:
    raise LookupError(reason)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
async def lane(recorder: Recorder) -> AsyncIterator[Lane]:
    lane = await Lane.open("Engram 'ctx'", lambda: recorder)
    yield lane
    recorder.free.set()
    await lane.close()
    assert recorder.closed
    assert threading.get_ident() not in recorder.threads
    assert len(recorder.threads) == 1


async def test_calls_of_one_moment_are_one_batch(lane: Lane, recorder: Recorder) -> None:
    assert await asyncio.gather(*(lane.call(double, n) for n in range(10))) == list(range(0, 20, 2))
    assert recorder.batches == [list(range(10))]


async def test_calls_that_come_while_the_thread_is_busy_go_as_one_batch_when_it_is_done(
    lane: Lane, recorder: Recorder
) -> None:
    recorder.free.clear()
    calls = [asyncio.ensure_future(lane.call(double, 0))]
    assert await asyncio.to_thread(recorder.reached.wait, 10)
    calls += [asyncio.ensure_future(lane.call(double, n)) for n in range(1, 5)]
    await asyncio.sleep(0)
    calls.pop(2).cancel()
    recorder.free.set()
    async with asyncio.timeout(10):
        assert await asyncio.gather(*calls) == [0, 2, 6, 8]
    # Whoever was cancelled is skipped.
    assert recorder.batches == [[0], [1, 3, 4]]


async def test_a_batch_is_bounded(lane: Lane, recorder: Recorder) -> None:
    count = 3 * MAX_BATCH + 1
    async with asyncio.timeout(10):
        await asyncio.gather(*(lane.call(double, n) for n in range(count)))
    assert [len(batch) for batch in recorder.batches] == [MAX_BATCH] * 3 + [1]


async def test_an_error_that_comes_of_a_call_is_raised_at_its_caller(lane: Lane) -> None:
    calls = [lane.call(double, 1), lane.call(double, -1)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert outcomes[0] == 2
    assert isinstance(outcomes[1], ValueError)


async def test_what_a_session_raises_reaches_all_callers_and_the_next_batch_works(
    lane: Lane, recorder: Recorder
) -> None:
    calls = [lane.call(fail, "a bug"), lane.call(double, 1)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(each) for each in outcomes] == [LookupError, LookupError]
    assert await lane.call(double, 4) == 8


async def test_the_event_loop_goes_on_while_a_long_batch_is_at_work(lane: Lane, recorder: Recorder) -> None:
    recorder.free.clear()
    call = asyncio.ensure_future(lane.call(double, 1))
    for _ in range(100):
        await asyncio.sleep(0)
    assert not call.done()
    recorder.free.set()
    async with asyncio.timeout(10):
        assert await call == 2


async def test_a_lane_that_could_not_be_opened_leaves_no_thread() -> None:
    before = threading.active_count()

    def refuse() -> Recorder:
        raise LookupError("nothing there")

    with pytest.raises(LookupError, match="nothing there"):
        await Lane.open("Engram 'ctx'", refuse)
    assert threading.active_count() == before
