"""What a mutant is: a source that is broken in one way, and the requirement that must tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

from tests.conformance.double import Double, Streaming

AnyDouble = TypeVar("AnyDouble", bound=type[Double | Streaming])


class Mutant(NamedTuple):
    requirement: str
    because: str
    double: type[Double | Streaming]


MUTANTS: list[Mutant] = []


def breaks(requirement: str, because: str) -> Callable[[AnyDouble], AnyDouble]:
    """Say of a source which requirement it breaks, and what the check must say about it."""

    def register(double: AnyDouble) -> AnyDouble:
        MUTANTS.append(Mutant(requirement, because, double))
        return double

    return register
