"""The context of a running TASK: its id, trace and deadline, for Neurons that know no protocol."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final, TypeVar, cast

import msgspec

from cosmo_core.contracts.options import WorkOptions

A = TypeVar("A")
R = TypeVar("R")
W = TypeVar("W", bound=WorkOptions)

Running = list[Any]
"""The Signal of a TASK, the id of its Neuron, and the deadline, which is None from the answer on."""

# The Signal itself is stored, because setting it is all that most Neurons cost.
_running: Final[ContextVar[Running | None]] = ContextVar("cosmo_core_running", default=None)


class CurrentTask(msgspec.Struct, frozen=True):
    """The TASK that a Neuron runs for.

    Attributes:
        id: The id of the TASK.
        trace_id: The id of its trace.
        neuron: The id of the Neuron.
        deadline: The deadline of the answer, in seconds of `time.monotonic`; None without one, and after the
            answer.
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

running_task: Final = _running.get
"""Returns what `set_current` set; None outside of a hosted Neuron."""


def outside_task(call: Callable[[A], R], argument: A) -> R:
    """Make a call that does not belong to the TASK that the caller runs for.

    A Synapse inside this process delivers in the sender's context, which may be that of a Neuron; the
    handlers of the receiver must not inherit its TASK.
    """
    token = _running.set(None)
    try:
        return call(argument)
    finally:
        _running.reset(token)


# --- work that a Neuron starts (P-5.21) -------------------------------------------------------------


def with_cause(options: W) -> W:
    """Return the options of work, on the trace of the TASK that the caller runs for and with it as parent.

    Options that are given stay, and on a trace of its own the work has no parent. Outside of a hosted Neuron
    nothing changes.
    """
    running = _running.get()
    if running is None or options.get("trace_id") not in {None, running[0].trace_id}:
        return options
    task = running[0]
    caused = {**options, "trace_id": task.trace_id, "parent_id": options.get("parent_id") or task.id}
    return cast("W", caused)


def within_task(seconds: float | None) -> float | None:
    """Return a time limit (None for none), at most the time left to the TASK that the caller runs for.

    Work that goes on after the answer has no time limit from its TASK.
    """
    task = current_task()
    left = None if task is None else task.time_left_s()
    return seconds if left is None else left if seconds is None else min(seconds, left)
