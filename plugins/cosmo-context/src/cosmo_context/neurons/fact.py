"""The facts Neuron."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cosmo_context.data import marker
from cosmo_context.neurons.listing import ListNeuron


class FactNeuron(ListNeuron):
    """Lists extracted facts: ``facts``, texts."""

    key = "facts"
    tag = "facts"
    importance = 40

    def __init__(self, name: str = "fact", *, priority: float = 50) -> None:
        super().__init__(name, priority=priority)

    def lines(self, items: Sequence[Any]) -> list[str]:
        """Return each after a dash."""
        data = marker()
        return [f"  - {data(fact)}" for fact in items]
