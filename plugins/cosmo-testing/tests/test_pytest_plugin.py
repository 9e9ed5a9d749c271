"""The pytest plugin of the suites."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

SUITE = """
import asyncio
import itertools
from types import SimpleNamespace

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.internal import charmap
from hypothesis.internal.conjecture import data


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


def test_drawn_slowly(monkeypatch):
    # As on a machine on which a draw takes ten seconds.
    clock = itertools.count(step=10.0)
    monkeypatch.setattr(data, "time", SimpleNamespace(perf_counter=lambda: next(clock)))

    @given(st.integers())
    def check(number):
        pass

    check()


async def test_retrieved():
    (found,) = await asyncio.gather(fails("retrieved"), return_exceptions=True)
    assert isinstance(found, ValueError)


async def test_lost_in_garbage():
    await lose("lost in garbage", [])


def test_last():
    pass
"""


def test_lost_exceptions_fail_tests_and_hypothesis_is_patient(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In another process, since the plugin is one per process; without tables of Unicode from an earlier run.
    monkeypatch.delenv("HYPOTHESIS_STORAGE_DIRECTORY", raising=False)
    pytester.makeini("[pytest]\naddopts = -p cosmo_testing.pytest_plugin\nasyncio_mode = auto")
    pytester.makepyfile(SUITE)
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(passed=6, errors=2)
    found = result.stdout.str()
    assert "::test_lost or before" in found
    assert "ValueError: lost\n" in found
    assert "Task exception was never retrieved" in found
    assert "ValueError: lost in garbage" in found
    assert "ValueError: retrieved" not in found
    assert (pytester.path / ".hypothesis" / "unicode_data").is_dir()
