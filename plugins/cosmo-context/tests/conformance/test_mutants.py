"""Every mutant is detected by the requirement that it breaks."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.conformance.mutants import MUTANTS, Waiting

from cosmo_context import Neuron
from cosmo_context.testing.checks import KIT
from cosmo_testing.conformance.mutants import Mutant

Complain = Callable[[Callable[[], Neuron], str], str | None]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.broken.__name__)
def test_mutant_is_detected_with_its_reason(mutant: Mutant, complaint: Complain) -> None:
    assert mutant.because in str(complaint(mutant.broken, mutant.requirement))


@pytest.mark.parametrize("requirement", [id for id in KIT if id != "context:entry-point"])
def test_neuron_that_waits_and_can_be_cancelled_passes(requirement: str, complaint: Complain) -> None:
    assert complaint(Waiting, requirement) is None


def test_every_requirement_is_broken_by_a_mutant() -> None:
    assert MUTANTS.unbroken() == []
