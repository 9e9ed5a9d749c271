"""The skills Neuron."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cosmo_context.data import marker
from cosmo_context.neuron import Stability
from cosmo_context.neurons.listing import ListNeuron


class SkillNeuron(ListNeuron):
    """Describes the skills at hand: ``skills``, mappings with ``name``, ``description`` and ``active``."""

    key = "skills"
    tag = "available_skills"
    stability = Stability.STATIC
    importance = 70

    def __init__(self, name: str = "skill", *, priority: float = 40) -> None:
        super().__init__(name, priority=priority)

    def lines(self, items: Sequence[Any]) -> list[str]:
        """Return ``- name: description`` of each, and whether it is inactive."""
        data = marker()
        return [
            f"  - {data(skill.get('name', 'unnamed'))}: {data(skill.get('description', ''))}"
            f"{'' if skill.get('active', True) else ' [inactive]'}"
            for skill in items
        ]
