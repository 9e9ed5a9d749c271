"""The pytest class: what an author sees of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytest_plugins = ["pytester"]

SUITE = """
import pytest

from cosmo_testing import SourceConformance
from tests.conformance.double import Double, DoubleSource


class TestDouble(DoubleSource, SourceConformance):
    pass
"""

Run = Callable[..., pytest.RunResult]


def test_correct_source_passes_without_pytest_plugins(run: Run) -> None:
    result = run(apart=True)
    outcomes = result.parseoutcomes()
    assert outcomes.keys() == {"passed", "skipped"}
    assert outcomes["passed"] > 70


def test_a_skip_names_the_requirement_and_the_reason(run: Run) -> None:
    lines = 'not_applicable = {"source:retry-after": "no clock", "fault:cut": "no wire"}'
    result = run(lines, "-k", "retry or cut or stream_order")
    result.stdout.fnmatch_lines_random(
        [
            "*source:retry-after: no clock",
            "*source:failure-code: no wire",
            "*source:secret-logs: no wire",
            "*source:stream-order: streams = False",
        ]
    )
    assert result.parseoutcomes().keys() == {"skipped", "deselected"}


def test_a_failure_names_the_requirement_and_shows_what_the_source_raised(run: Run) -> None:
    lines = "class double(Double):\n    async def aclose(self):\n        raise OSError('it hangs')"
    result = run(lines, "-k", "aclose_idempotent")
    result.stdout.fnmatch_lines(
        [
            "*TestDouble.test_aclose_idempotent*",
            "*raise OSError('it hangs')*",
            "E*OSError: it hangs",
            "*async def check_aclose_idempotent*",
            "E*ConformanceError: source:aclose-idempotent: the source raised OSError: it hangs",
        ]
    )
    assert result.parseoutcomes()["failed"] == 1


def test_requirements_after_the_claimed_level_are_skipped(run: Run) -> None:
    result = run('level = "0.0"')
    assert result.parseoutcomes().keys() == {"skipped", "passed"}
    assert result.parseoutcomes()["passed"] == 1
    result.stdout.fnmatch_lines(["*source:output-json: not yet claimed: level is 0.0, and it is new in 0.1"])


def test_source_is_checked_with_its_own_faults(run: Run) -> None:
    lines = 'failures = {**DoubleSource.failures, "moody": None}'
    result = run(lines, "-k", "moody", "--collect-only", "-q")
    result.stdout.fnmatch_lines(["*test_failure_code?moody?", "*test_secret_logs?moody?"])


REPLACED = "def test_output_json(self): pass"


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        (REPLACED, "test_output_json is replaced"),
        ("test_output_json = None", "test_output_json is replaced"),
        (f"@pytest.mark.skip(reason='no time')\n{REPLACED}", "test_output_json is replaced"),
        (f"@pytest.mark.xfail\n{REPLACED}", "test_output_json is replaced"),
        ("not_applicable = {'source:magic': 'why'}", "names 'source:magic', which does not exist"),
        ("not_applicable = {'fault:magic': 'why'}", "names 'fault:magic', which does not exist"),
        ("not_applicable = {'fault:cut': ''}", "'fault:cut'? is not a reason"),
        ("failures = {}", "failures has no 'cut', and not_applicable has no reason under 'fault:cut'"),
    ],
    ids=["replaced", "deleted", "skipped", "no reason", "no requirement", "no fault", "empty", "undeclared"],
)
def test_incomplete_suite_fails(run: Run, lines: str, complaint: str) -> None:
    result = run(lines, "-k", "whole")
    assert result.parseoutcomes()["failed"] == 1
    result.stdout.fnmatch_lines([f"*{complaint}*"])


def test_unmet_requirement_can_be_marked_xfail(run: Run) -> None:
    lines = """
@pytest.mark.xfail(reason="the provider is slow")
def test_output_json(self):
    raise AssertionError
"""
    result = run(lines, "-k", "whole or output_json")
    result.assert_outcomes(passed=1, xfailed=1, deselected=result.parseoutcomes()["deselected"])


def test_missing_claims_are_named(run: Run, pytester: pytest.Pytester) -> None:
    run("", "--collect-only")
    pytester.makepyfile(
        test_double="""
        from cosmo_testing import SourceConformance

        class TestBare(SourceConformance):
            neuron = provider = input = None
        """
    )
    result = pytester.runpytest_inprocess("-k", "whole")
    result.stdout.fnmatch_lines(["*secrets is not set*", "*invalid_inputs is not set*"])
