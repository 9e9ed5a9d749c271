"""The clock of a Context, in any time zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosmo_context import Context, ContextNeuronError, PromptBuilder

NOON = datetime(2025, 1, 15, 12, 0, 0, tzinfo=UTC)


async def text_at(now: datetime) -> list[str]:
    prompt = await PromptBuilder(Context("t", clock=lambda: now)).add("system").build()
    return prompt.splitlines()[1:3]


async def test_clock_of_the_context_is_used() -> None:
    assert await text_at(NOON) == ["Current date: 2025-01-15", "Current time: 12:00:00 UTC"]


async def test_time_and_date_are_converted_to_utc() -> None:
    late_in_the_west = datetime(2025, 1, 15, 23, 30, tzinfo=timezone(timedelta(hours=-8)))
    assert await text_at(late_in_the_west) == ["Current date: 2025-01-16", "Current time: 07:30:00 UTC"]


@given(now=st.datetimes(datetime(1970, 1, 3), datetime(9000, 1, 1)), minutes=st.integers(-1439, 1439))  # noqa: DTZ001
async def test_same_moment_has_the_same_text_in_every_time_zone(now: datetime, minutes: int) -> None:
    moment = now.replace(tzinfo=UTC)
    assert await text_at(moment.astimezone(timezone(timedelta(minutes=minutes)))) == await text_at(moment)


async def test_time_without_a_zone_is_refused() -> None:
    with pytest.raises(
        ContextNeuronError, match="context Neuron 'system' needs a clock that returns times with"
    ):
        await text_at(datetime(2025, 1, 15, 12))  # noqa: DTZ001


async def test_fork_inherits_the_clock_or_has_its_own() -> None:
    parent = Context("p", clock=lambda: NOON)
    assert parent.fork("c").clock() == NOON
    assert Context("c", parent=parent, clock=lambda: NOON + timedelta(1)).clock() == NOON + timedelta(1)


async def test_every_build_reads_the_clock() -> None:
    hours = iter(range(24))
    builder = PromptBuilder(Context("t", clock=lambda: NOON.replace(hour=next(hours)))).add("system")
    assert ["Current time: 00:00:00 UTC" in await builder.build(), "01:00:00" in await builder.build()] == [
        True,
        True,
    ]


async def test_default_clock_is_the_system_clock() -> None:
    ctx = Context("t")
    before, scripted, after = datetime.now(UTC), ctx.clock(), datetime.now(UTC)
    assert before <= scripted <= after
