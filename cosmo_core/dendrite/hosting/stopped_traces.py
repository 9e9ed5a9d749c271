"""The recently stopped traces: a TASK that arrives after the STOP of its trace is refused."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from cosmo_core.protocol.signal import Signal

MAX_STOPPED: Final = 1_000
"""The number of stopped traces that are stored; beyond it the oldest is removed."""


class StoppedTraces(OrderedDict[str, str]):
    """The id of the latest STOP by trace. It is empty, and false, until a trace is stopped.

    A TASK that was made after the STOP runs: ids are ordered by time.
    """

    def add(self, stop: Signal) -> None:
        """Record the STOP of a whole trace."""
        # A bus may deliver an earlier STOP later.
        self[stop.trace_id] = max(stop.id, self.get(stop.trace_id, ""))
        self.move_to_end(stop.trace_id)
        if len(self) > MAX_STOPPED:
            self.popitem(last=False)

    def covers(self, task: Signal) -> bool:
        """Tell whether a TASK was made before its trace was stopped."""
        return task.id < self.get(task.trace_id, "")

    def covers_cause(self, signal: Signal) -> bool:
        """Tell whether the cause of a Signal was made before its trace was stopped.

        Stopped work may run on for a moment; a Signal that it sends then is newer than the STOP.
        """
        return (signal.parent_id or signal.id) < self.get(signal.trace_id, "")
