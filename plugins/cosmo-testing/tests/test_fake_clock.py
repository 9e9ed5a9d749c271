"""Time passes when the test says so."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosmo_testing import FakeClock


@given(st.lists(st.floats(0, 100), max_size=8), st.lists(st.floats(0, 60), min_size=1, max_size=4))
async def test_sleepers_wake_in_the_order_of_their_times_and_not_before(
    naps: list[float], steps: list[float]
) -> None:
    clock = FakeClock()
    woken: list[tuple[float, float]] = []

    async def nap(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((seconds, clock.now()))

    sleepers = [asyncio.create_task(nap(seconds)) for seconds in naps]
    try:
        for step in steps:
            await clock.advance(step)
        assert clock.now() == sum(steps)
        assert woken == sorted((seconds, seconds) for seconds in naps if seconds <= clock.now())
    finally:
        for sleeper in sleepers:
            sleeper.cancel()
        await asyncio.gather(*sleepers, return_exceptions=True)


async def test_repeated_sleep_is_woken_within_one_advance() -> None:
    clock = FakeClock(now=100)
    times: list[float] = []

    async def tick() -> None:
        while True:
            await clock.sleep(10)
            times.append(clock.now())

    ticking = asyncio.create_task(tick())
    await clock.advance(35)
    assert times == [110, 120, 130]
    ticking.cancel()
    await asyncio.wait([ticking])
    await clock.advance(100)
    assert len(times) == 3
    with pytest.raises(ValueError, match="backwards"):
        await clock.advance(-1)
