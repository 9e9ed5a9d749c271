"""The pytest plugin of the suites."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

SUITE = """
import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.internal import charmap


async def fails(text):
    raise ValueError(text)


async def lose(text, kept=None):
    task = asyncio.create_task(fails(text))
    await asyncio.sleep(0)
    if kept is not None:
        kept.append((task, kept))  # a cycle, which only the garbage collector finds


async def test_lost():
    await lose("lost")


@given(st.text())
def test_drawn(text):
    assert settings().deadline is None
    assert charmap._charmap is not None


async def test_retrieved():
    (found,) = await asyncio.gather(fails("retrieved"), return_exceptions=True)
    assert isinstance(found, ValueError)


async def test_lost_in_garbage():
    await lose("lost in garbage", [])


def test_last():
    pass
"""


def test_lost_exceptions_fail_tests_and_hypothesis_is_patient(pytester: pytest.Pytester) -> None:
    # In another process, since the plugin is one per process; without tables of Unicode from an earlier run.
    pytester.makeini("[pytest]\naddopts = -p cosmo_testing.pytest_plugin\nasyncio_mode = auto")
    pytester.makepyfile(SUITE)
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(passed=5, errors=2)
    found = result.stdout.str()
    assert "::test_lost or before" in found
    assert "ValueError: lost\n" in found
    assert "Task exception was never retrieved" in found
    assert "ValueError: lost in garbage" in found
    assert "ValueError: retrieved" not in found
    assert (pytester.path / ".hypothesis" / "unicode_data").is_dir()
