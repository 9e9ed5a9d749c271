"""A correct Synapse meets every requirement, and for each there is a broken one that does not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.conformance import synapse_mutants_frames, synapse_mutants_groups, synapse_mutants_life
from tests.conformance.conftest import Violation
from tests.conformance.synapse_double import MUTANTS, Double, DurableDouble, under_test

from cosmo_testing import SynapseUnderTest
from cosmo_testing.conformance import leftovers
from cosmo_testing.conformance.mutants import Mutant
from cosmo_testing.synapses.checks import KIT, publishing

# Scaled up, a double takes as much longer as the checks do.
pytestmark = pytest.mark.timeout(120 * SynapseUnderTest.scale)

MODULES = (synapse_mutants_frames, synapse_mutants_groups, synapse_mutants_life)


@pytest.fixture
def tidy() -> Iterator[None]:
    """Clean up after a mutant."""
    yield
    MUTANTS.clean_up()


THREADED = ("synapse:thread-publish", "synapse:thread-elsewhere")
"""Requirements whose checks wait for a thread."""


@pytest.fixture
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the waits for threads of mutants that never end."""
    monkeypatch.setattr(publishing, "BLOCKED_S", 1.0)
    monkeypatch.setattr(leftovers, "LINGER_S", 0.05)


@pytest.mark.parametrize("requirement", KIT)
@pytest.mark.parametrize("double", [Double, DurableDouble])
async def test_correct_synapse_meets_requirement(double: type[Double], requirement: str) -> None:
    subject = under_test(double)
    reason = subject.exemption(KIT[requirement])
    if reason is not None:
        assert "durable" in reason
        return
    assert await KIT.violation(subject, requirement) is None


@pytest.mark.usefixtures("little_patience", "tidy")
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.broken.__name__)
def test_mutant_is_detected_with_its_reason(mutant: Mutant, violation: Violation) -> None:
    subject = under_test(mutant.broken)
    assert subject.exemption(KIT[mutant.requirement]) is None
    virtual = mutant.requirement not in THREADED
    error = violation(KIT, subject, mutant.requirement, virtual=virtual)
    assert error is not None, f"{mutant.requirement} did not catch it"
    assert error.requirement == mutant.requirement
    assert mutant.because in str(error)


def test_every_requirement_of_a_synapse_alone_is_broken_by_a_mutant() -> None:
    assert [id for id in MUTANTS.unbroken() if not id.startswith("synapse:dendrite-")] == []
    assert {mutant.broken.__module__ for mutant in MUTANTS} == {module.__name__ for module in MODULES}
