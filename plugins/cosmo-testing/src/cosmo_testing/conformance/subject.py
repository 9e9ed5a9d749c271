"""What the author of anything tells a kit about it."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from cosmo_testing.conformance.requirements import Requirements


class Subject:
    """What is under test, and what is claimed of it. A kit derives from it what its checks take.

    Attributes:
        requirements: What the kit requires; the kit sets it.
        not_applicable: Why a requirement has no meaning here.
        level: The kit's level that is claimed. What came later is skipped, so that a new release of the
            kit fails nobody's tests.
    """

    requirements: ClassVar[Requirements]
    not_applicable: ClassVar[Mapping[str, str]] = MappingProxyType({})
    level: ClassVar[str] = "0.1"

    def faults(self) -> Iterable[str]:
        """Return the names of all that may go wrong around it, each once: by default, none."""
        return ()

    def exemption(self, requirement: str, fault: str | None = None) -> str | None:
        """Why a requirement is not checked, or not with this fault; ``None`` when it is."""
        required = self.requirements[requirement]
        if not required.is_claimed_by(self.level):
            return f"not yet claimed: level is {self.level}, and it is new in {required.since}"
        return self.not_applicable.get(requirement)

    def exemptible(self) -> Iterable[str]:
        """Return all that ``not_applicable`` may name: by default, the requirements."""
        return self.requirements

    def contradictions(self) -> Iterator[str]:
        """What is missing from these claims, or does not fit together."""
        known = {*self.exemptible()}
        for id, reason in self.not_applicable.items():
            if id not in known:
                yield f"not_applicable names {id!r}, which does not exist"
            if not reason:
                yield f"not_applicable[{id!r}] is no reason"
