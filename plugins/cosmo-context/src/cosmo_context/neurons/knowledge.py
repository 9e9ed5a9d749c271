"""The knowledge Neuron."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cosmo_context.data import marker
from cosmo_context.neuron import Stability
from cosmo_context.neurons.listing import ListNeuron


class KnowledgeNeuron(ListNeuron):
    """Quotes a knowledge base: ``knowledge_items``, mappings with ``source`` and ``content``."""

    key = "knowledge_items"
    tag = "knowledge"
    stability = Stability.SESSION
    importance = 60

    def __init__(self, name: str = "knowledge", *, priority: float = 20) -> None:
        super().__init__(name, priority=priority)

    def lines(self, items: Sequence[Any]) -> list[str]:
        """Return ``[source]: content`` of each."""
        data = marker()
        return [
            f"  [{data(item.get('source', 'unknown'))}]: {data(item.get('content', ''))}" for item in items
        ]
