"""The task Neuron."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cosmo_context.context import Context
from cosmo_context.data import data
from cosmo_context.neuron import REQUIRED, StateNeuron
from cosmo_context.neurons.listing import as_list


class TaskNeuron(StateNeuron):
    """Tells the task: its id, and ``task_input``, ``task_output`` and ``subtasks`` (texts, the plan)."""

    importance = REQUIRED

    def __init__(self, name: str = "task", *, priority: float = 1) -> None:
        super().__init__(name, priority=priority)

    def fragment(self, ctx: Context, **kwargs: Any) -> str:
        """Tell it between two tags; never empty."""
        return "\n".join(("<task_info>", *self._lines(ctx), "</task_info>"))

    def _lines(self, ctx: Context) -> Iterator[str]:
        yield f"Task ID: {data(ctx.task_id)}"
        if task_input := ctx.state.get("task_input"):
            yield f"Input: {data(task_input)}"
        if task_output := ctx.state.get("task_output"):
            yield f"Output: {data(task_output)}"
        if subtasks := ctx.state.get("subtasks"):
            yield "Plan:"
            for number, step in enumerate(as_list(self.name, "subtasks", subtasks), 1):
                yield f"  <step{number}>{data(step)}</step{number}>"
