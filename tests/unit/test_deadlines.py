"""One timer for all deadlines: never early, never forgotten, nothing left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosmo_core.dendrite.deadlines import RESOLUTION_S, Deadlines


class Clock:
    """As much of an event loop as deadlines need, with the time in the test's hands."""

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

    def go_to(self, when: float) -> None:
        while due := sorted((timer for timer in self.timers if timer[0] <= when), key=lambda timer: timer[0]):
            timer = due[0]
            self.timers.remove(timer)
            self.now = max(self.now, timer[0])
            timer[1](*timer[2])
        self.now = when


class Waiter:
    """As much of a future as deadlines need."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.failed_at: float | None = None

    def get_loop(self) -> Clock:
        return self.clock

    def done(self) -> bool:
        return self.failed_at is not None

    def set_exception(self, error: BaseException) -> None:
        assert isinstance(error, TimeoutError)
        self.failed_at = self.clock.now


@given(
    st.lists(
        st.tuples(st.floats(0, 2), st.floats(0, 5), st.none() | st.floats(0, 5)),
        max_size=30,
    )
)
def test_each_deadline_is_kept_unless_it_is_called_off(
    waits: list[tuple[float, float, float | None]],
) -> None:
    clock, deadlines = Clock(), Deadlines()
    expected: list[tuple[Waiter, float | None]] = []
    now = 0.0
    for after, timeout, off_after in waits:
        now += after
        clock.go_to(now)
        waiter = Waiter(clock)
        call_off = deadlines.add(waiter, timeout)  # type: ignore[arg-type]
        off = off_after is not None and off_after < timeout - RESOLUTION_S
        if off_after is not None and off:
            clock.timers.append((now + off_after, call_off, ()))
        expected.append((waiter, None if off else now + timeout))
    clock.go_to(now + 20)
    for waiter, due in expected:
        if due is None:
            assert waiter.failed_at is None
        else:
            assert waiter.failed_at is not None
            assert due <= waiter.failed_at <= due + 2 * RESOLUTION_S
    assert not deadlines._buckets


async def test_a_future_fails_on_the_real_clock() -> None:
    deadlines = Deadlines()
    loop = asyncio.get_running_loop()
    due = loop.time() + 0.02
    future: asyncio.Future[None] = loop.create_future()
    deadlines.add(future, 0.02)
    with pytest.raises(TimeoutError):
        await future
    assert loop.time() >= due


async def test_closing_forgets_everything() -> None:
    deadlines = Deadlines()
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    deadlines.add(future, 0.001)
    deadlines.close()
    deadlines.close()
    assert deadlines._timer is None
    assert not future.done()
