"""A correct Synapse meets every requirement, and for each there is a broken one that does not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.conformance import synapse_mutants_frames, synapse_mutants_groups, synapse_mutants_life
from tests.conformance.synapse_double import Double, DurableDouble, under_test
from tests.conformance.synapse_mutant import LEFT, MUTANTS, Mutant

from cosmo_testing import SynapseUnderTest
from cosmo_testing.conformance import leftovers, steps
from cosmo_testing.synapses import checks_connection, checks_interrupted, checks_threads
from cosmo_testing.synapses.checks import violation
from cosmo_testing.synapses.requirements import REQUIREMENTS

# Scaled up, a double takes as much longer as the checks do.
pytestmark = pytest.mark.timeout(120 * SynapseUnderTest.scale)

MODULES = (synapse_mutants_frames, synapse_mutants_groups, synapse_mutants_life)


@pytest.fixture
def tidy() -> Iterator[None]:
    """What a mutant leaves behind is gone before the next test."""
    yield
    while LEFT:
        LEFT.pop()()


@pytest.fixture
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up soon on those who are known to keep one waiting."""
    monkeypatch.setattr(steps, "PATIENCE_S", 0.5)
    monkeypatch.setattr(checks_connection, "LINGER_S", 0.05)
    monkeypatch.setattr(checks_interrupted, "STUCK_S", 0.1)
    monkeypatch.setattr(checks_threads, "BLOCKED_S", 0.1)
    monkeypatch.setattr(leftovers, "LINGER_S", 0.05)


@pytest.mark.parametrize("requirement", REQUIREMENTS)
@pytest.mark.parametrize("double", [Double, DurableDouble])
async def test_a_correct_synapse_meets_every_requirement(double: type[Double], requirement: str) -> None:
    subject = under_test(double)
    reason = subject.exemption(requirement)
    if reason is not None:
        assert "durable" in reason
        return
    assert await violation(subject, requirement) is None


@pytest.mark.usefixtures("little_patience", "tidy")
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.double.__name__)
async def test_a_mutant_is_caught_and_the_reason_is_given(mutant: Mutant) -> None:
    subject = under_test(mutant.double)
    assert subject.exemption(mutant.requirement) is None
    error = await violation(subject, mutant.requirement)
    assert error is not None, f"{mutant.requirement} did not catch it"
    assert error.requirement == mutant.requirement
    assert mutant.because in str(error)


def test_every_requirement_of_a_synapse_alone_is_broken_by_a_mutant() -> None:
    alone = {id for id in REQUIREMENTS if not id.startswith("synapse:dendrite-")}
    assert {mutant.requirement for mutant in MUTANTS} >= alone
    assert {mutant.double.__module__ for mutant in MUTANTS} == {module.__name__ for module in MODULES}
