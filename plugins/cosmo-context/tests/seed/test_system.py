"""The system Neuron: clock and platform."""

from __future__ import annotations

import platform
import re
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosmo_context import Context, ContextNeuronError, PromptBuilder

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    BuildOne = Callable[..., Coroutine[Any, Any, str]]


async def text_at(moment: datetime) -> list[str]:
    """Return the lines between the tags."""
    prompt = await PromptBuilder(Context("t", clock=lambda: moment)).add("system").build()
    first, *lines, last = prompt.split("\n")
    assert (first, last) == ("<system_info>", "</system_info>")
    return lines


@pytest.mark.usefixtures("half_past_two")
async def test_other_time_zone_is_converted_to_utc() -> None:
    zone = timezone(timedelta(hours=-5, minutes=-30))
    assert await text_at(datetime(2024, 12, 31, 19, 5, 9, 999_999, tzinfo=zone)) == [
        "Current date: 2025-01-01",
        "Current time: 00:35:09 UTC",
        "Platform: Linux 6.1.0",
    ]


@given(st.datetimes(datetime(1900, 1, 2), datetime(2200, 1, 1), timezones=st.timezones()))  # noqa: DTZ001
async def test_time_has_a_precision_of_seconds(moment: datetime) -> None:
    date, time, _ = await text_at(moment)
    text = (
        f"{date.removeprefix('Current date: ')}T{time.removeprefix('Current time: ').removesuffix(' UTC')}Z"
    )
    assert datetime.fromisoformat(text) == moment.astimezone(UTC).replace(microsecond=0)


async def test_default_clock_is_the_system_clock(build_one: BuildOne) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    prompt = await build_one("system")
    after = datetime.now(UTC)
    found = re.fullmatch(
        r"<system_info>\nCurrent date: (\S+)\nCurrent time: (\S+) UTC\nPlatform: (.+)\n</system_info>", prompt
    )
    assert found is not None
    assert before <= datetime.fromisoformat(f"{found[1]}T{found[2]}+00:00") <= after
    assert found[3] == f"{platform.system()} {platform.release()}"


async def test_clock_is_read_at_every_build() -> None:
    moments = iter([datetime(2025, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)])
    builder = PromptBuilder(Context("t", clock=lambda: next(moments)).fork("part")).add("system")
    assert "Current date: 2025-01-01" in await builder.build()
    assert "Current date: 2026-01-01" in await builder.build()


async def test_clock_without_a_time_zone_is_an_error() -> None:
    with pytest.raises(
        ContextNeuronError, match=r"'system' needs a clock that returns times with a time zone"
    ):
        await text_at(datetime(2025, 1, 1))  # noqa: DTZ001
