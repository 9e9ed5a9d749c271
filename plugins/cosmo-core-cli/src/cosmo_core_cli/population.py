"""Who is there: the Neurons and Engrams of a namespace, as one Dendrite sees them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

import attrs

from cosmo_core import SignalType
from cosmo_core_cli.printing import columns
from cosmo_core_cli.words import one_line

if TYPE_CHECKING:
    from cosmo_core import Dendrite, NeuronRecord

QUIET_S: Final = 0.25
"""When nobody has announced itself for so many seconds, all have who are there."""

LONGEST_S: Final = 2.0
"""For how many seconds announcements are waited for at most."""


@attrs.frozen
class Population:
    """Who is there at one moment.

    Attributes:
        namespace: Where.
        neurons: As programs read it; the load is that of all replicas.
        engrams: Likewise.
    """

    namespace: str
    neurons: Sequence[dict[str, Any]]
    engrams: Sequence[dict[str, Any]]

    @classmethod
    def seen_by(cls, dendrite: Dendrite) -> Population:
        """Take down whom a Dendrite sees."""
        neurons = groupby(dendrite.find_neurons(), lambda record: record.neuron_id)
        engrams = groupby(
            dendrite.find_engrams(), lambda record: {"id": record.engram_id, "kind": record.kind}
        )
        return cls(
            dendrite.namespace,
            [_neuron(id, list(replicas)) for id, replicas in neurons],
            [{**engram, "hosts": [record.dendrite for record in hosts]} for engram, hosts in engrams],
        )

    def as_json(self) -> dict[str, Any]:
        """Return it as programs read it."""
        return attrs.asdict(self)

    def __str__(self) -> str:
        tables = []
        if self.neurons:
            headings = ("NEURON", "CAPABILITIES", "VERSION", "LOAD", "REPLICAS")
            tables.append(columns(headings, [_row(neuron) for neuron in self.neurons]))
        if self.engrams:
            rows = [(engram["id"], engram["kind"], str(len(engram["hosts"]))) for engram in self.engrams]
            tables.append(columns(("ENGRAM", "KIND", "HOSTS"), rows))
        return "\n\n".join(tables) or f"nobody is in namespace {self.namespace!r}"


async def settled(dendrite: Dendrite) -> None:
    """Return when those who are there have announced themselves to a Dendrite that has just started."""
    heard = asyncio.Event()
    async with await dendrite.watch(SignalType.REGISTER, lambda _: heard.set()):
        with suppress(TimeoutError):
            async with asyncio.timeout(LONGEST_S):
                while True:
                    heard.clear()
                    async with asyncio.timeout(QUIET_S):
                        await heard.wait()


def _neuron(id: str, replicas: Sequence[NeuronRecord]) -> dict[str, Any]:
    # Which replica gets a TASK is decided by the bus: only what all can do is promised.
    common = set.intersection(*(set(replica.capabilities) for replica in replicas))
    return {
        "id": id,
        "capabilities": sorted(common),
        "versions": sorted({replica.version for replica in replicas if replica.version is not None}),
        "load": sum(replica.load for replica in replicas),
        "hosts": [replica.dendrite for replica in replicas],
    }


def _row(neuron: dict[str, Any]) -> tuple[str, ...]:
    return (
        neuron["id"],
        ", ".join(neuron["capabilities"]) or "-",
        one_line(", ".join(neuron["versions"])) or "-",
        str(neuron["load"]),
        str(len(neuron["hosts"])),
    )
