"""The context of a running TASK: its id, trace and deadline, for Neurons that know no protocol."""

from __future__ import annotations

import time
from contextvars import ContextVar
from typing import Final

import attrs

from cosmo_core.protocol.signal import Signal

# The Signal itself is stored, because setting it is all that most Neurons cost.
_running: Final[ContextVar[tuple[Signal, str, float | None] | None]] = ContextVar(
    "cosmo_core_running", default=None
)


@attrs.frozen
class CurrentTask:
    """The TASK that a Neuron runs for.

    Attributes:
        id: The id of the TASK.
        trace_id: The id of its trace.
        neuron: The id of the Neuron.
        deadline: The deadline of the answer, in seconds of `time.monotonic`; None without one.
    """

    id: str
    trace_id: str
    neuron: str
    deadline: float | None = None

    def time_left_s(self) -> float | None:
        """Return the seconds until the deadline, at least 0; None without a deadline."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())


def current_task() -> CurrentTask | None:
    """Return the TASK that the caller runs for; None outside of a hosted Neuron.

    It also works in asyncio tasks and threads that the Neuron starts with asyncio.
    """
    running = _running.get()
    if running is None:
        return None
    task, neuron, deadline = running
    return CurrentTask(task.id, task.trace_id, neuron, deadline)


set_current: Final = _running.set
"""Sets the TASK, its Neuron's id and its deadline for the calling asyncio task, and those it starts."""
