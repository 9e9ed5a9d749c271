"""The Engram under test, as its author describes it to the kit."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import ClassVar, Final

from cosmo_core.contracts.engram import Engram, EngramGuarantees
from cosmo_testing.conformance.kit import Condition, Subject, asked_once, claimed, supplied

SCALE_VARIABLE: Final = "COSMO_ENGRAM_SCALE"
"""The environment variable that scales the long checks."""

CASES: Final = 200
"""The number of generated entries and texts for each unit of the scale."""


class EngramUnderTest(Subject, ABC):
    """An Engram, its store, and its claims. Authors derive their test class from it.

    The guarantees are read from the Engram, and tested. `break_connection` and `damage` are optional: a
    requirement that needs a missing one is skipped.

    Attributes:
        shared: Whether several Engrams can open the store at the same time.
        recovery_s: Seconds that it may need to recover from `break_connection`.
        secrets: The secrets that it was given.
        scale: The factor by which the long checks grow; by default the environment variable
            ``COSMO_ENGRAM_SCALE``, or 1.
        not_applicable: Requirements without meaning for this Engram, each with a reason.
        level: The claimed level of the kit; see `Subject`.
    """

    kind: ClassVar[str] = "Engram"
    shared: ClassVar[bool] = True
    recovery_s: ClassVar[float] = 5.0
    secrets: ClassVar[Sequence[str]] = ()
    scale: ClassVar[int] = int(os.environ.get(SCALE_VARIABLE, "1"))

    @property
    def cases(self) -> int:
        """The least number of entries and texts; 0, in a quick run, leaves it to Hypothesis."""
        return CASES * self.scale if self.scale > 1 else 0

    @abstractmethod
    def store(self) -> AbstractAsyncContextManager[object]:
        """Provide an empty, temporary store inside the context; each check has its own."""

    @abstractmethod
    async def open(self, *, keeps_writes: int | None = None) -> Engram:
        """Return an Engram that is connected to the current store; the kit closes it.

        A second call opens the same store again: after all other Engrams are closed or, if ``shared`` is
        true, at any time.

        Args:
            keeps_writes: The number of latest writes that it remembers; by default any number of at least a
                thousand, as the checks make that many.
        """

    async def break_connection(self, engram: Engram) -> None:
        """Break the connection of an Engram to its store, as a network fault does. It may reconnect."""
        raise NotImplementedError

    async def damage(self) -> None:
        """Make the store unusable while Engrams are open: their next calls fail."""
        raise NotImplementedError

    def claims(self) -> EngramGuarantees:
        """Return the guarantees of the Engram, which are read once for each class."""
        return asked_once(type(self), self._ask)

    async def _ask(self) -> EngramGuarantees:
        async with self.store():
            engram = await self.open()
            try:
                return engram.guarantees
            finally:
                await engram.close()

    def contradictions(self) -> Iterator[str]:
        """Yield what is missing from the claims, or inconsistent in them."""
        for name in ("recovery_s", "scale"):
            if getattr(self, name) <= 0:
                yield f"{name} must be positive"
        yield from super().contradictions()


def _guaranteed(name: str) -> Condition:
    """Return the condition that the Engram gives a guarantee."""

    def condition(subject: EngramUnderTest) -> str | None:
        return None if getattr(subject.claims(), name) else f"guarantees.{name} is False"

    return condition


SECRETS: Final = claimed("secrets")
SHARED: Final = claimed("shared")
BREAK_CONNECTION: Final = supplied(EngramUnderTest, "break_connection")
DAMAGE: Final = supplied(EngramUnderTest, "damage")
TEXT: Final = _guaranteed("text")
VECTORS: Final = _guaranteed("vectors")
ROLLBACK: Final = _guaranteed("rollback")
DURABLE: Final = _guaranteed("durable")
