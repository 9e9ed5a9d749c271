"""Who is hosted here, as others in the namespace see them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import attrs

from cosmo_core.protocol.signal import Directed


class Room(Protocol):
    """A part of a Dendrite that hosts somebody."""

    def residents(self) -> Sequence[Resident]:
        """Return who is attached, whether served yet or not."""
        ...

    def serves(self, id: str) -> bool:
        """Tell whether a resident is served."""
        ...

    def load(self, id: str) -> int:
        """Return how much a resident has to do; nothing for one that has left."""
        ...


@attrs.frozen
class Resident:
    """A Neuron or an Engram, as it is announced.

    Attributes:
        id: Its address.
        directed: What it is announced as.
        registration: What its REGISTER says.
        meta: What the meta of every announcement says of it.
        room: Where it is hosted.
    """

    id: str
    directed: Directed
    registration: dict[str, Any]
    meta: dict[str, Any]
    room: Room

    @property
    def served(self) -> bool:
        """Whether it is served."""
        return self.room.serves(self.id)

    @property
    def load(self) -> int:
        """How much it has to do."""
        return self.room.load(self.id)
