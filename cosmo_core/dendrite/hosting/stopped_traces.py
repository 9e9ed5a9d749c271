"""Traces that were stopped, for what a bus brings after their STOP."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from cosmo_core.protocol.signal import Signal

MAX_STOPPED: Final = 1_000
"""How many stopped traces are remembered; then the oldest is forgotten."""


class StoppedTraces(OrderedDict[str, str]):
    """Remembers which traces were stopped, and by which STOP. Empty, and false, while none was.

    What is dispatched on a trace after it was stopped runs: ids tell the order.
    """

    def add(self, stop: Signal) -> None:
        """Remember a STOP of a whole trace."""
        # A bus may bring an earlier one later.
        self[stop.trace_id] = max(stop.id, self.get(stop.trace_id, ""))
        self.move_to_end(stop.trace_id)
        if len(self) > MAX_STOPPED:
            self.popitem(last=False)

    def covers(self, task: Signal) -> bool:
        """Tell whether a TASK was made before its trace was stopped."""
        return task.id < self.get(task.trace_id, "")

    def covers_cause(self, signal: Signal) -> bool:
        """Tell whether what caused a Signal was made before its trace was stopped.

        Work that is stopped may go on for a moment, and what it sends then is younger than the STOP.
        """
        return (signal.parent_id or signal.id) < self.get(signal.trace_id, "")
