"""The entities Neuron."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cosmo_context.data import marker
from cosmo_context.neurons.listing import ListNeuron


class EntityNeuron(ListNeuron):
    """Lists named entities: ``entities``, mappings with ``name`` and ``type``."""

    key = "entities"
    tag = "entities"
    importance = 30

    def __init__(self, name: str = "entity", *, priority: float = 60) -> None:
        super().__init__(name, priority=priority)

    def lines(self, items: Sequence[Any]) -> list[str]:
        """Return ``name (type)`` of each."""
        data = marker()
        return [
            f"  {data(entity.get('name', 'unknown'))} ({data(entity.get('type', 'unknown'))})"
            for entity in items
        ]
