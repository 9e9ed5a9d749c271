"""What the author of an Engram tells the kit about it."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Final

from cosmo_testing.conformance.claims import asked_once
from cosmo_testing.conformance.subject import Subject
from cosmo_testing.engrams.requirements import REQUIREMENTS

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from cosmo_core.contracts.engram import Engram, EngramGuarantees
    from cosmo_testing.conformance.requirements import Requirements

SCALE_VARIABLE: Final = "COSMO_ENGRAM_SCALE"
"""The environment variable by which the long checks grow."""

CASES: Final = 200
"""How many arbitrary entries and texts are tried for each unit of the scale."""


class EngramUnderTest(Subject, ABC):
    """An Engram, a store for it to keep things in, and what is claimed of it.

    What it guarantees is read from the Engram, and tested. `break_connection` and `damage` are optional: what
    needs one that is not supplied is skipped.

    Attributes:
        shared: Whether several Engrams can have the store open at once.
        recovery_s: For how many seconds it may be out of order after `break_connection`.
        secrets: What it was given and nobody may see.
        scale: How much longer the long checks are than in a quick run; by default what the environment
            variable ``COSMO_ENGRAM_SCALE`` says, or 1.
        not_applicable: Why a requirement has no meaning for this Engram.
        level: The kit's level that is claimed, as `Subject` explains it.
    """

    requirements: ClassVar[Requirements] = REQUIREMENTS
    shared: ClassVar[bool] = True
    recovery_s: ClassVar[float] = 5.0
    secrets: ClassVar[Sequence[str]] = ()
    scale: ClassVar[int] = int(os.environ.get(SCALE_VARIABLE, "1"))

    @property
    def cases(self) -> int:
        """How many entries and texts are tried at least; in a quick run Hypothesis decides alone."""
        return CASES * self.scale if self.scale > 1 else 0

    @abstractmethod
    def store(self) -> AbstractAsyncContextManager[object]:
        """Have an empty, throw-away store inside the context; every check has its own."""

    @abstractmethod
    async def open(self, *, keeps_writes: int | None = None) -> Engram:
        """Return an Engram that is connected to the store that is there; the kit closes it.

        Called again, it opens the same store again: when all others are closed, or, where Engrams can share
        it, at once.

        Args:
            keeps_writes: How many of the latest writes it is to know; by default as many as it likes, but
                a thousand at least, as the checks make as many.
        """

    async def break_connection(self, engram: Engram) -> None:
        """Cut an Engram off from its store, as the network might. It may connect again at once."""
        raise NotImplementedError

    async def damage(self) -> None:
        """Make the store unusable, under the Engrams that are open: whatever they are asked next fails."""
        raise NotImplementedError

    def claims(self) -> EngramGuarantees:
        """What the Engram guarantees. It is asked once for every class."""
        return asked_once(type(self), self._ask)

    async def _ask(self) -> EngramGuarantees:
        async with self.store():
            engram = await self.open()
            try:
                return engram.guarantees
            finally:
                await engram.close()

    def exemption(self, requirement: str, fault: str | None = None) -> str | None:
        """Why a requirement is not checked; ``None`` when it is."""
        reason = super().exemption(requirement, fault)
        if reason is not None:
            return reason
        if requirement == "engram:secrets" and not self.secrets:
            return "secrets = ()"
        if requirement.startswith("engram:shared-") and not self.shared:
            return "shared = False"
        for prefix, name in _SUPPLIED.items():
            supplied = getattr(type(self), name) is not getattr(EngramUnderTest, name)
            if requirement.startswith(prefix) and not supplied:
                return f"{name}() is not supplied"
        claims = self.claims()
        return next((no for no, applies in _unclaimed(requirement).items() if applies(claims)), None)

    def contradictions(self) -> Iterator[str]:
        """What is missing from these claims, or does not fit together."""
        for name in ("recovery_s", "scale"):
            if getattr(self, name) <= 0:
                yield f"{name} must be positive"
        yield from super().contradictions()


_SUPPLIED: Final = {"engram:break-": "break_connection", "engram:damage-": "damage"}

_Conditions = Mapping[str, Callable[["EngramGuarantees"], bool]]

_NO_ROLLBACK: Final[_Conditions] = {"guarantees.rollback is False": lambda claims: not claims.rollback}

_UNCLAIMED: Final[Mapping[str, _Conditions]] = {
    "engram:text-": {"guarantees.text is False": lambda claims: not claims.text},
    "engram:vector-": {"guarantees.vectors is False": lambda claims: not claims.vectors},
    "engram:vector-words": {"guarantees.text is False": lambda claims: not claims.text},
    "engram:rollback-": _NO_ROLLBACK,
    "engram:commit-": _NO_ROLLBACK,
    "engram:reopen-": {"guarantees.durable is False": lambda claims: not claims.durable},
    "engram:reopen-rollback": _NO_ROLLBACK,
    "engram:shared-rollback": _NO_ROLLBACK,
}


def _unclaimed(requirement: str) -> _Conditions:
    """What excuses an Engram from a requirement, by the beginning of its id."""
    excuses: dict[str, Callable[[EngramGuarantees], bool]] = {}
    for prefix, conditions in _UNCLAIMED.items():
        if requirement.startswith(prefix):
            excuses.update(conditions)
    return excuses
