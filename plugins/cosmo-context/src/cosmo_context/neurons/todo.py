"""The todo Neuron."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cosmo_context.data import marker
from cosmo_context.neurons.listing import ListNeuron


class TodoNeuron(ListNeuron):
    """Lists what is to be done: ``todos``, mappings with ``item`` and ``done``."""

    key = "todos"
    tag = "todo_list"
    importance = 90

    def __init__(self, name: str = "todo", *, priority: float = 2) -> None:
        super().__init__(name, priority=priority)

    def lines(self, items: Sequence[Any]) -> list[str]:
        """Return each after a box, which is ticked when it is done."""
        data = marker()
        return [
            f"  [{'x' if todo.get('done', False) else ' '}] {data(todo.get('item', ''))}" for todo in items
        ]
