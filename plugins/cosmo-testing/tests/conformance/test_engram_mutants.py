"""A correct Engram meets every requirement, and for each there is a broken one that does not."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from tests.conformance import (
    engram_mutants_crowds,
    engram_mutants_life,
    engram_mutants_queries,
    engram_mutants_undoing,
    engram_mutants_writes,
)
from tests.conformance.conftest import Violation
from tests.conformance.engram_double import MUTANTS, Double, under_test

from cosmo_core.contracts.engram import Findings, Query
from cosmo_testing import EngramUnderTest
from cosmo_testing.conformance import leftovers
from cosmo_testing.conformance.mutants import Mutant
from cosmo_testing.engrams.checks import KIT

# Scaled up, a double takes as much longer as the checks do.
pytestmark = pytest.mark.timeout(120 * EngramUnderTest.scale)

MODULES = (
    engram_mutants_crowds,
    engram_mutants_life,
    engram_mutants_queries,
    engram_mutants_undoing,
    engram_mutants_writes,
)


SEARCH = 10
"""The scale at which random steps are certain to show a mutant; the search ends with the first that do."""


@pytest.fixture
def tidy() -> Iterator[None]:
    """Clean up after a mutant."""
    yield
    MUTANTS.clean_up()


@pytest.fixture
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the waits for threads of mutants that never end."""
    monkeypatch.setattr(leftovers, "LINGER_S", 0.05)


@pytest.mark.parametrize("requirement", KIT)
async def test_correct_engram_meets_requirement(requirement: str) -> None:
    subject = under_test(Double)
    assert subject.exemption(KIT[requirement]) is None
    assert await KIT.violation(subject, requirement) is None


class AnswersInAnyOrder(Double):
    """One whose concurrent reads may end in another order than they began, as on two connections."""

    reads = 0

    async def recall(self, query: Query) -> Findings:
        with self.call():
            findings = self.found(query)
            self.reads += 1
            for _ in range(40 if self.reads % 3 else 0):
                await asyncio.sleep(0)
            return findings


async def test_reads_at_once_may_end_in_any_order() -> None:
    assert await KIT.violation(under_test(AnswersInAnyOrder), "engram:concurrent-readers") is None


@pytest.mark.usefixtures("little_patience", "tidy")
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.broken.__name__)
def test_mutant_is_detected_with_its_reason(mutant: Mutant, violation: Violation) -> None:
    subject = under_test(mutant.broken)
    if mutant.requirement == "engram:model":
        type(subject).scale = SEARCH
    assert subject.exemption(KIT[mutant.requirement]) is None
    error = violation(KIT, subject, mutant.requirement)
    assert error is not None, f"{mutant.requirement} did not catch it"
    assert error.requirement == mutant.requirement
    assert mutant.because in str(error)


async def test_state_machine_error_lists_its_steps() -> None:
    subject = under_test(engram_mutants_undoing.SwapsNeighboursWhenUndoing)
    type(subject).scale = SEARCH
    error = await KIT.violation(subject, "engram:model")
    assert "\nstate = Machine()\nstate.write(" in str(error)


def test_every_requirement_is_broken_by_a_mutant() -> None:
    assert MUTANTS.unbroken() == []
    assert {mutant.broken.__module__ for mutant in MUTANTS} == {module.__name__ for module in MODULES}
