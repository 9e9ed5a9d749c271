"""Mutants: deliberately broken subjects, each with the requirement that must detect it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from cosmo_testing.conformance.kit import Kit

AnyType = TypeVar("AnyType", bound=type)


class Mutant(NamedTuple):
    """A broken class.

    Attributes:
        requirement: The id of the requirement that it breaks.
        because: A part of the error that the check must raise.
        broken: The class.
    """

    requirement: str
    because: str
    broken: type[Any]


class Mutants(list[Mutant]):
    """The mutants with which a kit is tested.

    Args:
        kit: The kit.

    Attributes:
        cleanups: Functions that undo the side effects of mutants; a mutant adds its own.
    """

    def __init__(self, kit: Kit) -> None:
        super().__init__()
        self.cleanups: list[Callable[[], object]] = []
        self._kit = kit

    def breaks(self, id: str, because: str) -> Callable[[AnyType], AnyType]:
        """Register a class as a mutant.

        Args:
            id: The requirement that it breaks.
            because: A part of the error that the check must raise.

        Raises:
            KeyError: The kit has no such requirement.
        """
        requirement = self._kit[id]

        def register(broken: AnyType) -> AnyType:
            self.append(Mutant(requirement.id, because, broken))
            return broken

        return register

    def clean_up(self) -> None:
        """Call all cleanups, the latest first."""
        while self.cleanups:
            self.cleanups.pop()()

    def unbroken(self) -> list[str]:
        """Return the ids of the requirements that no mutant breaks."""
        broken = {mutant.requirement for mutant in self}
        return [id for id in self._kit if id not in broken]
