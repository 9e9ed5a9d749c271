"""`Deadlines`: one timer for all of them, none early, none missed, none leaked."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from functools import partial
from typing import Any, cast
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosmo_core.dendrite.dispatch.deadlines import MAX_EXPIRED, RESOLUTION_S, Deadline, Deadlines
from tests.counting import work_of


class Clock:
    """The parts of an event loop that deadlines use, with a time that the test sets."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[tuple[float, Callable[..., None], tuple[Any, ...]]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[..., None], *args: Any) -> Any:
        timer = (when, callback, args)
        self.timers.append(timer)

        class Handle:
            def cancel(_) -> None:  # noqa: N805 - self is the clock
                self.timers.remove(timer)

        return Handle()

    def advance_to(self, when: float) -> None:
        while due := sorted((timer for timer in self.timers if timer[0] <= when), key=lambda timer: timer[0]):
            timer = due[0]
            self.timers.remove(timer)
            self.now = max(self.now, timer[0])
            timer[1](*timer[2])
        self.now = when


class Recorder(Deadline):
    """A deadline that records when it is due and when it expired, and interrupts no task."""

    __slots__ = ("clock", "due", "expired_at")

    def __init__(self, deadlines: Deadlines, clock: Clock, timeout_s: float) -> None:
        super().__init__(deadlines, timeout_s)
        self.clock = clock
        self.due = clock.now + timeout_s
        self.expired_at: float | None = None

    def expire(self) -> None:
        assert self.expired_at is None
        self.expired_at = self.clock.now

    def discard(self) -> None:
        self.__exit__(None, None, None)


class FakeTask:
    def cancelling(self) -> int:
        return 0


def add(deadlines: Deadlines, clock: Clock, timeout_s: float) -> Recorder:
    """Enter a deadline."""
    deadlines.loop = cast("asyncio.AbstractEventLoop", clock)
    with patch("cosmo_core.dendrite.dispatch.deadlines.current_task", lambda loop: FakeTask()):
        return Recorder(deadlines, clock, timeout_s).__enter__()


@given(st.lists(st.tuples(st.floats(0, 2), st.floats(0, 5), st.none() | st.floats(0, 5)), max_size=30))
def test_each_deadline_expires_in_time_unless_discarded(
    waits: list[tuple[float, float, float | None]],
) -> None:
    clock, deadlines = Clock(), Deadlines()
    expected: list[tuple[Recorder, float | None]] = []
    now = 0.0
    for after, timeout, discard_after in waits:
        now += after
        clock.advance_to(now)
        deadline = add(deadlines, clock, timeout)
        discarded = discard_after is not None and discard_after < timeout - RESOLUTION_S
        if discard_after is not None and discarded:
            clock.call_at(now + discard_after, deadline.discard)
        expected.append((deadline, None if discarded else now + timeout))
    clock.advance_to(now + 20)
    for deadline, due in expected:
        if due is None:
            assert deadline.expired_at is None
        else:
            assert deadline.expired_at is not None
            assert due <= deadline.expired_at <= due + RESOLUTION_S
    assert not deadlines.open


STEPS = st.lists(
    st.tuples(st.just("add"), st.floats(-0.1, 3) | st.sampled_from([0.25, 0.5, 1.0]))
    | st.tuples(st.just("discard"), st.floats(0, 0.999))
    | st.tuples(st.just("advance"), st.floats(0, 0.5) | st.just(RESOLUTION_S)),
    max_size=100,
)


@given(st.floats(0, 1_000_000), STEPS)
def test_deadlines_agree_with_a_plain_list(start: float, steps: list[tuple[str, float]]) -> None:
    clock, deadlines = Clock(), Deadlines()
    clock.now = start
    model: list[Recorder] = []
    for step, value in steps:
        if step == "add":
            model.append(add(deadlines, clock, value))
        elif step == "advance":
            clock.advance_to(clock.now + value)
            for deadline in model:
                if deadline.expired_at is not None:
                    assert deadline.expired_at >= deadline.due
            model = [deadline for deadline in model if deadline.expired_at is None]
            assert all(deadline.due + RESOLUTION_S > clock.now for deadline in model)
        elif model:
            model.pop(int(value * len(model))).discard()
        assert deadlines.open == len(model)
        assert len(clock.timers) <= 1
    clock.advance_to(clock.now + 10)
    assert deadlines.open == 0
    assert not clock.timers
    assert not deadlines.buckets


def work_beside(others: int) -> list[int]:
    """Return the work of adding, discarding and expiring a deadline beside others that are all different."""
    clock, deadlines = Clock(), Deadlines()
    for number in range(others):
        add(deadlines, clock, 1000 + number * RESOLUTION_S)
    add(deadlines, clock, 1.0)
    work = [work_of(partial(add, deadlines, clock, timeout_s)) for timeout_s in (1.0, 2.0, 2.0, 0.5)]
    work.append(work_of(add(deadlines, clock, 2.0).discard))
    work.append(work_of(lambda: clock.advance_to(1.5)))
    assert deadlines.open == others + 2
    # Without the first, which fills caches.
    return work[1:]


def test_work_of_a_deadline_is_the_same_beside_thousands_of_different_ones() -> None:
    few, many = work_beside(10), work_beside(10_000)
    assert few == many


def test_discarded_deadlines_leave_neither_buckets_nor_slots() -> None:
    clock, deadlines = Clock(), Deadlines()
    kept = [add(deadlines, clock, 500_000 + number) for number in range(5)]
    for number in range(5_000):
        add(deadlines, clock, 1000 + number).discard()
    assert deadlines.open == len(kept)
    assert len(deadlines.buckets) <= 2 * len(kept) + 2
    assert len(deadlines._slots) <= 2 * len(deadlines.buckets) + 64


def test_deadlines_due_together_expire_in_slices() -> None:
    clock, deadlines = Clock(), Deadlines()
    all_due = [add(deadlines, clock, 1.0) for _ in range(3 * MAX_EXPIRED)]
    expired: list[int] = []
    fire = deadlines._fire

    def count(loop: asyncio.AbstractEventLoop) -> None:
        before = deadlines.open
        fire(loop)
        expired.append(before - deadlines.open)

    with patch.object(deadlines, "_fire", count):
        deadlines._arm(cast("asyncio.AbstractEventLoop", clock))
        clock.advance_to(1 + RESOLUTION_S)
    assert max(expired) <= MAX_EXPIRED
    assert sum(expired) == len(all_due)
    assert {deadline.expired_at for deadline in all_due} == {1 + RESOLUTION_S}


async def test_other_tasks_run_while_thousands_of_deadlines_expire() -> None:
    deadlines, running = Deadlines(), 0
    loop = asyncio.get_running_loop()

    async def wait() -> None:
        nonlocal running
        try:
            with deadlines.time_limit(0.01):
                running += 1
                await asyncio.Event().wait()
        finally:
            running -= 1

    waits = [loop.create_task(wait()) for _ in range(20 * MAX_EXPIRED)]
    await asyncio.sleep(0)
    turns = [running]
    while running:
        await asyncio.sleep(0)
        turns.append(running)
    assert max(before - after for before, after in itertools.pairwise(turns)) <= MAX_EXPIRED
    results = await asyncio.gather(*waits, return_exceptions=True)
    assert {type(result) for result in results} == {TimeoutError}


async def test_time_limit_interrupts_slow_block() -> None:
    deadlines = Deadlines()
    loop = asyncio.get_running_loop()
    due = loop.time() + 0.02
    with pytest.raises(TimeoutError), deadlines.time_limit(0.02):
        await asyncio.Event().wait()
    assert loop.time() >= due
    assert not deadlines.open


@pytest.mark.parametrize("timeout_s", [None, 60])
async def test_time_limit_leaves_fast_block_alone(timeout_s: float | None) -> None:
    deadlines = Deadlines()
    with deadlines.time_limit(timeout_s) as deadline:
        await asyncio.sleep(0)
    assert not deadline.expired
    assert not deadlines.open
    deadlines.close()


async def test_time_limit_passes_on_timeout_of_block() -> None:
    deadlines = Deadlines()
    with pytest.raises(TimeoutError, match="theirs"), deadlines.time_limit(60) as deadline:
        raise TimeoutError("theirs")
    assert not deadline.expired
    deadlines.close()


async def test_outside_cancellation_takes_precedence() -> None:
    deadlines = Deadlines()
    inside = asyncio.Event()

    async def work() -> None:
        with deadlines.time_limit(0.01):
            inside.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                task.cancel()
                raise

    task = asyncio.create_task(work())
    await inside.wait()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_close_cancels_timer_without_open_deadlines() -> None:
    deadlines = Deadlines()
    with deadlines.time_limit(60) as deadline:
        pass
    deadlines.close()
    deadlines.close()
    assert deadlines._timer is None
    assert not deadline.expired


async def _close_and_wait(deadlines: Deadlines) -> None:
    deadlines.close()
    await asyncio.Event().wait()


async def test_open_deadline_expires_after_close() -> None:
    deadlines = Deadlines()
    with pytest.raises(TimeoutError), deadlines.time_limit(0.001):
        await _close_and_wait(deadlines)
    assert deadlines._timer is None
