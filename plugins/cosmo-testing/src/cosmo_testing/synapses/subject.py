"""What the author of a Synapse tells the kit about it."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Final

import attrs

from cosmo_core.contracts.synapse import ThreadPublisher
from cosmo_testing.conformance.claims import asked_once
from cosmo_testing.conformance.subject import Subject
from cosmo_testing.synapses.requirements import REQUIREMENTS

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from cosmo_core.contracts.delivery import Guarantees
    from cosmo_core.contracts.synapse import Synapse
    from cosmo_testing.conformance.requirements import Requirements

SCALE_VARIABLE: Final = "COSMO_SYNAPSE_SCALE"
"""The environment variable by which the long checks grow: 50 makes 10,000 cancels and hostile frames."""

CASES: Final = 200
"""How many hostile frames and names are tried for each unit of the scale."""


@attrs.frozen
class Claims:
    """What a Synapse says of itself, which decides what is tested.

    Attributes:
        guarantees: What it promises.
        publishes_from_threads: Whether it is a `ThreadPublisher`.
    """

    guarantees: Guarantees
    publishes_from_threads: bool


class SynapseUnderTest(Subject, ABC):
    """A Synapse, a bus for it to run on, and what is claimed of it.

    What it guarantees is read from the Synapse, and tested. `sever`, `restart` and `congest` are optional:
    what needs one that is not supplied is skipped.

    Attributes:
        room: How many frames one subscription keeps at most: those its handler works on, those that wait for
            it, and those that wait for its queue group. A Synapse with small limits is tested faster.
        recovery_s: For how many seconds it may be out of order after `sever` or `restart`.
        secrets: What it was given and nobody may see.
        scale: How much longer the long checks are than in a quick run; by default what the environment
            variable ``COSMO_SYNAPSE_SCALE`` says, or 1.
        not_applicable: Why a requirement has no meaning for this Synapse.
        level: The kit's level that is claimed, as `Subject` explains it.
    """

    requirements: ClassVar[Requirements] = REQUIREMENTS
    room: ClassVar[int] = 2000
    recovery_s: ClassVar[float] = 2.0
    secrets: ClassVar[Sequence[str]] = ()
    scale: ClassVar[int] = int(os.environ.get(SCALE_VARIABLE, "1"))

    @property
    def cases(self) -> int:
        """How many hostile frames and names are tried at least; in a quick run Hypothesis decides alone."""
        return CASES * self.scale if self.scale > 1 else 0

    @abstractmethod
    def bus(self) -> AbstractAsyncContextManager[object]:
        """Run a new bus that nobody else is on; every check has its own."""

    @abstractmethod
    async def connect(self) -> Synapse:
        """Connect one more Synapse to the bus that runs; the kit closes it.

        For ``synapse:thread-elsewhere`` one is connected in another event loop, in another thread.
        """

    @abstractmethod
    async def inject(self, subject: str, raw: bytes) -> None:
        """Put bytes on a subject as a stranger would, past every check of the Synapses."""

    async def sever(self, synapse: Synapse) -> None:
        """Break the connection of a Synapse, as the network might. It may be made again at once."""
        raise NotImplementedError

    async def restart(self) -> None:
        """Let the server die without a word; return when it is back, at the same place."""
        raise NotImplementedError

    def congest(self, synapse: Synapse) -> AbstractAsyncContextManager[object]:
        """Let nothing through to a Synapse, inside the context, without breaking its connection."""
        raise NotImplementedError

    def claims(self) -> Claims:
        """What the Synapse says of itself. It is asked once for every class."""
        return asked_once(type(self), self._ask)

    async def _ask(self) -> Claims:
        async with self.bus():
            synapse = await self.connect()
            try:
                return Claims(synapse.guarantees, isinstance(synapse, ThreadPublisher))
            finally:
                await synapse.close()

    def exemption(self, requirement: str, fault: str | None = None) -> str | None:
        """Why a requirement is not checked; ``None`` when it is."""
        reason = super().exemption(requirement, fault)
        if reason is not None:
            return reason
        if requirement == "synapse:secrets" and not self.secrets:
            return "secrets = ()"
        for name in ("sever", "restart", "congest"):
            supplied = getattr(type(self), name) is not getattr(SynapseUnderTest, name)
            if requirement.startswith(f"synapse:{name}-") and not supplied:
                return f"{name}() is not supplied"
        claims = self.claims()
        return next((no for no, applies in _UNCLAIMED.get(requirement, {}).items() if applies(claims)), None)

    def contradictions(self) -> Iterator[str]:
        """What is missing from these claims, or does not fit together."""
        for name in ("room", "recovery_s", "scale"):
            if getattr(self, name) <= 0:
                yield f"{name} must be positive"
        yield from super().contradictions()


_Conditions = Mapping[str, Callable[[Claims], bool]]

_NO_GROUPS: Final[_Conditions] = {
    "guarantees.queue_groups is False": lambda claims: not claims.guarantees.queue_groups
}
_AT_MOST_ONCE: Final[_Conditions] = {
    'guarantees.delivery is "at-most-once"': lambda claims: claims.guarantees.delivery == "at-most-once",
    **_NO_GROUPS,
}
_NO_TAKEOVER: Final[_Conditions] = {
    "guarantees.takeover_s is None": lambda claims: claims.guarantees.takeover_s is None,
    **_NO_GROUPS,
}
_DURABLE: Final[_Conditions] = {
    "guarantees.durable is True": lambda claims: claims.guarantees.durable,
    **_NO_GROUPS,
}

_NOT_DURABLE: Final[_Conditions] = {
    "guarantees.durable is False": lambda claims: not claims.guarantees.durable,
    **_NO_GROUPS,
}
_NO_THREADS: Final[_Conditions] = {
    "it is no ThreadPublisher": lambda claims: not claims.publishes_from_threads
}

_UNCLAIMED: Final[Mapping[str, _Conditions]] = {
    **{id: _NO_GROUPS for id in REQUIREMENTS if id.startswith(("synapse:group-", "synapse:undelivered-"))},
    "synapse:malformed-group": _NO_GROUPS,
    "synapse:undelivered-nobody": _DURABLE,
    "synapse:order": {'guarantees.ordering is "none"': lambda claims: claims.guarantees.ordering == "none"},
    "synapse:again-failed": _AT_MOST_ONCE,
    "synapse:again-done": _AT_MOST_ONCE,
    "synapse:again-dead": _AT_MOST_ONCE,
    "synapse:again-held": _AT_MOST_ONCE,
    "synapse:again-closed": _NO_TAKEOVER,
    "synapse:again-lost": {**_NO_TAKEOVER, **_DURABLE},
    "synapse:sever-takeover": _NO_TAKEOVER,
    **{id: _NOT_DURABLE for id in REQUIREMENTS if id.startswith("synapse:durable-")},
    **{id: _NO_THREADS for id in REQUIREMENTS if id.startswith("synapse:thread-")},
}
