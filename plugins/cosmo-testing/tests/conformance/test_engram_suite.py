"""The pytest class for Engrams: what an author sees of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytest_plugins = ["pytester"]

SUITE = """
import attrs
import pytest

from cosmo_core.contracts.engram import EngramGuarantees
from cosmo_testing import EngramConformance, EngramUnderTest
from tests.conformance.engram_double import Double, DoubleUnderTest


class TestDouble(DoubleUnderTest, EngramConformance):
    pass
"""

Run = Callable[..., pytest.RunResult]


def test_correct_engram_passes_without_pytest_plugins(run: Run) -> None:
    outcomes = run(apart=True).parseoutcomes()
    assert outcomes.keys() == {"passed"}
    assert outcomes["passed"] > 90


def test_missing_optional_method_skips_with_that_reason(run: Run) -> None:
    lines = """
break_connection = EngramUnderTest.break_connection
damage = EngramUnderTest.damage
secrets = ()
shared = False
"""
    result = run(lines, "-k", "break or damage or secrets or test_shared")
    result.stdout.fnmatch_lines_random(
        [
            "*engram:break-recovers: break_connection() is not supplied",
            "*engram:break-once: break_connection() is not supplied",
            "*engram:damage-said: damage() is not supplied",
            "*engram:secrets: secrets = ()",
            "*engram:shared-see: shared = False",
        ]
    )
    assert result.parseoutcomes().keys() == {"skipped", "deselected"}


def test_missing_guarantee_skips_with_that_reason(run: Run) -> None:
    lines = """
class double(Double):
    guarantees = EngramGuarantees(durable=False, text=False, vectors=False, rollback=False)
"""
    result = run(lines, "-k", "test_text or vector or rollback or commit or reopen")
    result.stdout.fnmatch_lines_random(
        [
            "*engram:text-words: guarantees.text is False",
            "*engram:vector-order: guarantees.vectors is False",
            "*engram:rollback-many: guarantees.rollback is False",
            "*engram:commit-keeps: guarantees.rollback is False",
            "*engram:shared-rollback: guarantees.rollback is False",
            "*engram:reopen-once: guarantees.durable is False",
        ]
    )
    assert result.parseoutcomes().keys() == {"skipped", "deselected"}


def test_engram_without_guarantees_can_pass(run: Run) -> None:
    lines = """
shared = False
class double(Double):
    guarantees = EngramGuarantees(durable=False, text=False, vectors=False, rollback=False)
"""
    assert run(lines).parseoutcomes().keys() == {"passed", "skipped"}


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ("def test_merge(self): pass", "test_merge is replaced"),
        ("test_merge = None", "test_merge is replaced"),
        ("not_applicable = {'engram:magic': 'why'}", "names 'engram:magic', which does not exist"),
        ("not_applicable = {'engram:merge': ''}", "'engram:merge'? is not a reason"),
        ("recovery_s = 0", "recovery_s must be positive"),
    ],
    ids=["replaced", "deleted", "no requirement", "no reason", "no time"],
)
def test_incomplete_suite_fails(run: Run, lines: str, complaint: str) -> None:
    result = run(lines, "-k", "whole")
    assert result.parseoutcomes()["failed"] == 1
    result.stdout.fnmatch_lines([f"*{complaint}*"])


def test_store_that_cannot_start_skips_with_its_own_reason(run: Run) -> None:
    lines = """
def store(self):
    pytest.skip("no server is installed")
"""
    result = run(lines, "-k", "newest")
    result.stdout.fnmatch_lines(["*no server is installed"])
    assert result.parseoutcomes().keys() == {"skipped", "deselected"}
