"""The workspace Neuron."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cosmo_context.data import Mark, marker
from cosmo_context.neuron import Stability
from cosmo_context.neurons.listing import ListNeuron


class WorkspaceNeuron(ListNeuron):
    """Lists artifacts: ``workspace_artifacts``, mappings with ``name``, ``type`` and ``size`` in bytes."""

    key = "workspace_artifacts"
    tag = "workspace"
    stability = Stability.SESSION
    importance = 50

    def __init__(self, name: str = "workspace", *, priority: float = 30) -> None:
        super().__init__(name, priority=priority)

    def lines(self, items: Sequence[Any]) -> list[str]:
        """Return ``name [type]`` of each, and its size if it is known."""
        data = marker()
        return [
            f"  {data(artifact.get('name', 'unnamed'))} [{data(artifact.get('type', 'file'))}]"
            f"{_size(artifact.get('size'), data)}"
            for artifact in items
        ]


def _size(size: object, data: Mark) -> str:
    return "" if size is None else f" ({data(size)} bytes)"
