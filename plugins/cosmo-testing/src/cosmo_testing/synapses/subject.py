"""The Synapse under test, as its author describes it to the kit."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import ClassVar, Final

import attrs

from cosmo_core.arguments import satisfies
from cosmo_core.contracts.delivery import Guarantees
from cosmo_core.contracts.synapse import Synapse, ThreadPublisher
from cosmo_testing.conformance.kit import Condition, Subject, asked_once, claimed, supplied

SCALE_VARIABLE: Final = "COSMO_SYNAPSE_SCALE"
"""The environment variable that scales the long checks: 50 means 10,000 cancels and hostile frames."""

CASES: Final = 200
"""The number of hostile frames and names for each unit of the scale."""


@attrs.frozen
class Claims:
    """The claims of a Synapse, which decide which requirements apply.

    Attributes:
        guarantees: Its guarantees.
        publishes_from_threads: Whether it is a `ThreadPublisher`.
    """

    guarantees: Guarantees
    publishes_from_threads: bool


class SynapseUnderTest(Subject, ABC):
    """A Synapse, its bus, and its claims. Authors derive their test class from it.

    The guarantees are read from the Synapse, and tested. `sever`, `restart` and `congest` are optional: a
    requirement that needs a missing one is skipped.

    Attributes:
        capacity: The largest number of frames that one subscription keeps: in its handler, waiting for it,
            and waiting for its queue group. A Synapse with small limits is tested faster.
        recovery_s: Seconds that it may need to recover from `sever` or `restart`.
        secrets: The secrets that it was given.
        scale: The factor by which the long checks grow; by default the environment variable
            ``COSMO_SYNAPSE_SCALE``, or 1.
        not_applicable: Requirements without meaning for this Synapse, each with a reason.
        level: The claimed level of the kit; see `Subject`.
    """

    kind: ClassVar[str] = "Synapse"
    capacity: ClassVar[int] = 2000
    recovery_s: ClassVar[float] = 2.0
    secrets: ClassVar[Sequence[str]] = ()
    scale: ClassVar[int] = int(os.environ.get(SCALE_VARIABLE, "1"))

    @property
    def cases(self) -> int:
        """The least number of hostile frames and names; 0, in a quick run, leaves it to Hypothesis."""
        return CASES * self.scale if self.scale > 1 else 0

    @abstractmethod
    def bus(self) -> AbstractAsyncContextManager[object]:
        """Run a new, empty bus inside the context; each check has its own."""

    @abstractmethod
    async def connect(self) -> Synapse:
        """Connect another Synapse to the running bus; the kit closes it.

        ``synapse:thread-elsewhere`` calls it in another event loop, in another thread.
        """

    @abstractmethod
    async def inject(self, subject: str, raw: bytes) -> None:
        """Publish bytes on a subject as a foreign program would, without the checks of a Synapse."""

    async def sever(self, synapse: Synapse) -> None:
        """Break the connection of a Synapse, as a network fault does. It may reconnect at once."""
        raise NotImplementedError

    async def restart(self) -> None:
        """Kill the server; return when it runs again, at the same address."""
        raise NotImplementedError

    def congest(self, synapse: Synapse) -> AbstractAsyncContextManager[object]:
        """Inside the context, deliver nothing to a Synapse, without breaking its connection."""
        raise NotImplementedError

    def claims(self) -> Claims:
        """Return the claims of the Synapse, which are read once for each class."""
        return asked_once(type(self), self._ask)

    async def _ask(self) -> Claims:
        async with self.bus():
            synapse = await self.connect()
            try:
                return Claims(synapse.guarantees, satisfies(synapse, ThreadPublisher))
            finally:
                await synapse.close()

    def contradictions(self) -> Iterator[str]:
        """Yield what is missing from the claims, or inconsistent in them."""
        for name in ("capacity", "recovery_s", "scale"):
            if getattr(self, name) <= 0:
                yield f"{name} must be positive"
        yield from super().contradictions()


def _claimed(reason: str, holds: Callable[[Claims], bool]) -> Condition:
    """Return a condition on what the Synapse claims; ``reason`` is the claim that fails it."""

    def condition(subject: SynapseUnderTest) -> str | None:
        return None if holds(subject.claims()) else reason

    return condition


SECRETS: Final = claimed("secrets")
SEVER: Final = supplied(SynapseUnderTest, "sever")
RESTART: Final = supplied(SynapseUnderTest, "restart")
CONGEST: Final = supplied(SynapseUnderTest, "congest")
QUEUE_GROUPS: Final = _claimed("guarantees.queue_groups is False", lambda it: it.guarantees.queue_groups)
ORDERED: Final = _claimed('guarantees.ordering is "none"', lambda it: it.guarantees.ordering != "none")
AT_LEAST_ONCE: Final = _claimed(
    'guarantees.delivery is "at-most-once"', lambda it: it.guarantees.delivery == "at-least-once"
)
TAKEOVER: Final = _claimed("guarantees.takeover_s is None", lambda it: it.guarantees.takeover_s is not None)
DURABLE: Final = _claimed("guarantees.durable is False", lambda it: it.guarantees.durable)
NOT_DURABLE: Final = _claimed("guarantees.durable is True", lambda it: not it.guarantees.durable)
THREADS: Final = _claimed("it is not a ThreadPublisher", lambda it: it.publishes_from_threads)
