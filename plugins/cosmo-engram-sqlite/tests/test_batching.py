"""The worker thread and its batches of calls."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from cosmo_engram_sqlite.batching import MAX_BATCH, Call, WorkerThread


class Recorder:
    """A session that records its batches, and waits while `free` is not set."""

    def __init__(self) -> None:
        self.batches: list[list[object]] = []
        self.threads: set[int] = set()
        self.free, self.reached = threading.Event(), threading.Event()
        self.free.set()
        self.closed = False

    def run(self, calls: Sequence[Call], release_loop: Callable[[], None]) -> list[object]:
        self.batches.append([call.argument for call in calls])
        self.threads.add(threading.get_ident())
        self.reached.set()
        release_loop()
        assert self.free.wait(10)
        return [call.work(self, call.argument) for call in calls]

    def interrupt(self, call: Call) -> None:
        return

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
async def worker(recorder: Recorder) -> AsyncIterator[WorkerThread]:
    worker = await WorkerThread.open("Engram 'ctx'", lambda: recorder)
    yield worker
    recorder.free.set()
    await worker.close()
    assert recorder.closed
    assert threading.get_ident() not in recorder.threads
    assert len(recorder.threads) == 1


async def test_calls_of_one_loop_iteration_form_one_batch(worker: WorkerThread, recorder: Recorder) -> None:
    assert await asyncio.gather(*(worker.call(double, n) for n in range(10))) == list(range(0, 20, 2))
    assert recorder.batches == [list(range(10))]


async def test_calls_during_a_batch_form_the_next_batch_without_cancelled_ones(
    worker: WorkerThread, recorder: Recorder
) -> None:
    recorder.free.clear()
    calls = [asyncio.ensure_future(worker.call(double, 0))]
    assert await asyncio.to_thread(recorder.reached.wait, 10)
    calls += [asyncio.ensure_future(worker.call(double, n)) for n in range(1, 5)]
    await asyncio.sleep(0)
    calls.pop(2).cancel()
    recorder.free.set()
    async with asyncio.timeout(10):
        assert await asyncio.gather(*calls) == [0, 2, 6, 8]
    assert recorder.batches == [[0], [1, 3, 4]]


async def test_batch_size_is_bounded(worker: WorkerThread, recorder: Recorder) -> None:
    count = 3 * MAX_BATCH + 1
    async with asyncio.timeout(10):
        await asyncio.gather(*(worker.call(double, n) for n in range(count)))
    assert [len(batch) for batch in recorder.batches] == [MAX_BATCH] * 3 + [1]


async def test_returned_error_is_raised_at_its_caller(worker: WorkerThread) -> None:
    calls = [worker.call(double, 1), worker.call(double, -1)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert outcomes[0] == 2
    assert isinstance(outcomes[1], ValueError)


async def test_session_exception_reaches_all_callers_and_next_batch_works(
    worker: WorkerThread, recorder: Recorder
) -> None:
    calls = [worker.call(fail, "a bug"), worker.call(double, 1)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(each) for each in outcomes] == [LookupError, LookupError]
    assert await worker.call(double, 4) == 8


async def test_event_loop_runs_during_a_long_batch(worker: WorkerThread, recorder: Recorder) -> None:
    recorder.free.clear()
    call = asyncio.ensure_future(worker.call(double, 1))
    for _ in range(100):
        await asyncio.sleep(0)
    assert not call.done()
    recorder.free.set()
    async with asyncio.timeout(10):
        assert await call == 2


async def test_failed_open_leaves_no_thread() -> None:
    before = threading.active_count()

    def refuse() -> Recorder:
        raise LookupError("nothing there")

    with pytest.raises(LookupError, match="nothing there"):
        await WorkerThread.open("Engram 'ctx'", refuse)
    assert threading.active_count() == before
