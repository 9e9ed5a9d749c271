"""The bus that Synapses of one process meet on."""

from __future__ import annotations

import weakref
from typing import Final

from cosmo_core.routing import SubjectTable
from cosmo_synapse_memory.subscription import MemorySubscription


class MemoryBus:
    """Who subscribes to what. Synapses made with the same bus reach each other."""

    def __init__(self) -> None:
        self.table: SubjectTable[MemorySubscription] = SubjectTable()


_named: Final[weakref.WeakValueDictionary[str, MemoryBus]] = weakref.WeakValueDictionary()


def named_bus(name: str) -> MemoryBus:
    """Return the bus of this name; it lives as long as a Synapse is on it."""
    bus = _named.get(name)
    if bus is None:
        bus = _named[name] = MemoryBus()
    return bus
