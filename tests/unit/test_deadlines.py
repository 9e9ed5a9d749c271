"""`Deadlines`: one timer for all of them, none early, none missed, none leaked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosmo_core.dendrite.dispatch.pathway_registry import RESOLUTION_S, Deadline, Deadlines


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
    """A deadline that records when it expired and interrupts no task."""

    __slots__ = ("clock", "expired_at")

    def __init__(self, deadlines: Deadlines, clock: Clock) -> None:
        super().__init__(deadlines, None)
        self.clock = clock
        self.expired_at: float | None = None

    def expire(self) -> None:
        assert self.expired_at is None
        self.expired_at = self.clock.now


@given(st.lists(st.tuples(st.floats(0, 2), st.floats(0, 5), st.none() | st.floats(0, 5)), max_size=30))
def test_each_deadline_expires_in_time_unless_discarded(
    waits: list[tuple[float, float, float | None]],
) -> None:
    clock, deadlines = Clock(), Deadlines()
    expected: list[tuple[Recorder, float | None]] = []
    now = 0.0
    with patch("asyncio.get_running_loop", lambda: clock):
        for after, timeout, discard_after in waits:
            now += after
            clock.advance_to(now)
            deadline = Recorder(deadlines, clock)
            deadline.due = now + timeout
            deadlines.add(deadline, cast("asyncio.AbstractEventLoop", clock))
            discarded = discard_after is not None and discard_after < timeout - RESOLUTION_S
            if discard_after is not None and discarded:
                clock.call_at(now + discard_after, deadlines.discard, deadline)
            expected.append((deadline, None if discarded else now + timeout))
        clock.advance_to(now + 20)
    for deadline, due in expected:
        if due is None:
            assert deadline.expired_at is None
        else:
            assert deadline.expired_at is not None
            assert due <= deadline.expired_at <= due + 2 * RESOLUTION_S
    assert not deadlines._open


async def test_time_limit_interrupts_slow_block() -> None:
    deadlines = Deadlines()
    loop = asyncio.get_running_loop()
    due = loop.time() + 0.02
    with pytest.raises(TimeoutError), deadlines.time_limit(0.02):
        await asyncio.Event().wait()
    assert loop.time() >= due
    assert not deadlines._open


@pytest.mark.parametrize("timeout_s", [None, 60])
async def test_time_limit_leaves_fast_block_alone(timeout_s: float | None) -> None:
    deadlines = Deadlines()
    with deadlines.time_limit(timeout_s) as deadline:
        await asyncio.sleep(0)
    assert not deadline.expired
    assert not deadlines._open
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
