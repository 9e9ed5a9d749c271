"""What a running Neuron may ask about the TASK it runs for, without knowing the protocol."""

from __future__ import annotations

import time
from contextvars import ContextVar
from typing import Final

import attrs

from cosmo_core.protocol.signal import Signal

# The Signal itself is kept: most Neurons never ask, and setting is all they pay for.
_running: Final[ContextVar[tuple[Signal, str, float | None] | None]] = ContextVar(
    "cosmo_core_running", default=None
)


@attrs.frozen
class CurrentTask:
    """The TASK that a Neuron runs for.

    Attributes:
        id: Of the TASK.
        trace_id: Of the workflow it is part of.
        neuron: The id of the Neuron that was asked.
        deadline: From when on the answer is of no use, by `time.monotonic`; None if it always is of use.
    """

    id: str
    trace_id: str
    neuron: str
    deadline: float | None = None

    def time_left_s(self) -> float | None:
        """Return for how many seconds the answer is still of use; None for ever, 0 when it is too late."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())


def current_task() -> CurrentTask | None:
    """Return the TASK that the caller runs for; None when it is not called by a hosted Neuron.

    Tasks and threads that the Neuron starts with asyncio know it, too.
    """
    running = _running.get()
    if running is None:
        return None
    task, neuron, deadline = running
    return CurrentTask(task.id, task.trace_id, neuron, deadline)


begin: Final = _running.set
"""Notes the TASK, its Neuron's id and its deadline for the calling asyncio task, and what that starts."""
