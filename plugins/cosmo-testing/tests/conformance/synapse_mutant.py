"""What a mutant is: a Synapse that is broken in one way, and the requirement that must tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

from tests.conformance.synapse_double import Double

AnyDouble = TypeVar("AnyDouble", bound=type[Double])


class Mutant(NamedTuple):
    requirement: str
    because: str
    double: type[Double]


MUTANTS: list[Mutant] = []
LEFT: list[Callable[[], object]] = []
"""What undoes what a mutant left behind."""


def breaks(requirement: str, because: str) -> Callable[[AnyDouble], AnyDouble]:
    """Say of a Synapse which requirement it breaks, and what the check must say about it."""

    def register(double: AnyDouble) -> AnyDouble:
        MUTANTS.append(Mutant(requirement, because, double))
        return double

    return register
