"""The pytest class for Synapses: what an author sees of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cosmo_testing.synapses.checks import KIT

pytest_plugins = ["pytester"]

SUITE = """
import pytest

from cosmo_core import Guarantees
from cosmo_testing import SynapseConformance, SynapseUnderTest
from tests.conformance.synapse_double import Double, DoubleUnderTest


class TestDouble(DoubleUnderTest, SynapseConformance):
    pass
"""

Run = Callable[..., pytest.RunResult]


def test_correct_synapse_passes_without_pytest_plugins(run: Run) -> None:
    outcomes = run(apart=True).parseoutcomes()
    assert outcomes.keys() == {"passed", "skipped"}
    assert outcomes["passed"] > 70
    assert outcomes["skipped"] == len([id for id in KIT if id.startswith("synapse:durable-")])


def test_missing_optional_method_skips_with_that_reason(run: Run) -> None:
    lines = """
sever = SynapseUnderTest.sever
restart = SynapseUnderTest.restart
congest = SynapseUnderTest.congest
secrets = ()
"""
    result = run(lines, "-k", "sever or restart or congest or secrets")
    result.stdout.fnmatch_lines_random(
        [
            "*synapse:sever-recovers: sever() is not supplied",
            "*synapse:sever-takeover: sever() is not supplied",
            "*synapse:restart-recovers: restart() is not supplied",
            "*synapse:congest-others: congest() is not supplied",
            "*synapse:secrets: secrets = ()",
        ]
    )
    assert result.parseoutcomes().keys() == {"skipped", "deselected"}


def test_missing_guarantee_skips_with_that_reason(run: Run) -> None:
    lines = """
class double(Double):
    guarantees = Guarantees(queue_groups=False, ordering="none")
"""
    result = run(lines, "-k", "group or test_order or undelivered or test_again or durable")
    result.stdout.fnmatch_lines_random(
        [
            '*synapse:order: guarantees.ordering is "none"',
            "*synapse:group-one: guarantees.queue_groups is False",
            "*synapse:undelivered-once: guarantees.queue_groups is False",
            '*synapse:again-failed: guarantees.delivery is "at-most-once"',
            "*synapse:again-closed: guarantees.takeover_s is None",
            "*synapse:durable-waits: guarantees.durable is False",
        ]
    )
    assert result.parseoutcomes().keys() == {"skipped", "deselected"}


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ("def test_order(self): pass", "test_order is replaced"),
        ("test_order = None", "test_order is replaced"),
        ("not_applicable = {'synapse:magic': 'why'}", "names 'synapse:magic', which does not exist"),
        ("not_applicable = {'synapse:order': ''}", "'synapse:order'? is not a reason"),
        ("capacity = 0", "capacity must be positive"),
    ],
    ids=["replaced", "deleted", "no requirement", "no reason", "no capacity"],
)
def test_incomplete_suite_fails(run: Run, lines: str, complaint: str) -> None:
    result = run(lines, "-k", "whole")
    assert result.parseoutcomes()["failed"] == 1
    result.stdout.fnmatch_lines([f"*{complaint}*"])


def test_bus_that_cannot_start_skips_with_its_own_reason(run: Run) -> None:
    lines = """
def bus(self):
    pytest.skip("no server is installed")
"""
    result = run(lines, "-k", "order")
    result.stdout.fnmatch_lines(["*no server is installed"])
    assert result.parseoutcomes().keys() == {"skipped", "deselected"}
