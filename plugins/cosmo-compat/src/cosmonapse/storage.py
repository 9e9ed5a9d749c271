"""The registry store of a Dendrite: a view of the Neurons that it knows."""

from __future__ import annotations

from collections.abc import Callable

from cosmo_core import NeuronRecord

Find = Callable[[str | None], list[NeuronRecord]]
"""Returns the live Neurons that a Dendrite knows, or those that have a capability."""


class MemoryRegistryStore:
    """The live Neurons of the Dendrites that have it as ``registry_store``; without one it is empty."""

    def __init__(self) -> None:
        self._sources: list[Find] = []

    def add_source(self, find: Find) -> None:
        """Read from one more Dendrite."""
        self._sources.append(find)

    async def list(self, *, capability: str | None = None) -> list[NeuronRecord]:
        """Return the live Neurons, or those that have a capability, one record for each host."""
        found = [record for find in self._sources for record in find(capability)]
        return [*{(record.neuron_id, record.dendrite): record for record in found}.values()]

    async def get(self, neuron_id: str) -> NeuronRecord | None:
        """Return a live Neuron; None if it is not known."""
        return next((record for record in await self.list() if record.neuron_id == neuron_id), None)
