"""Traces that were stopped, for TASKs that a bus brings after their STOP."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from cosmo_core.signal import Signal

MAX_STOPPED: Final = 1_000
"""How many stopped traces are remembered; then the oldest is forgotten."""


class StoppedTraces:
    """Remembers which traces were stopped, and when. True as soon as there is one.

    What is dispatched on a trace after it was stopped runs: ids tell the order (P-9.5).
    """

    def __init__(self) -> None:
        self._stops: OrderedDict[str, str] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._stops)

    def add(self, stop: Signal) -> None:
        """Remember a STOP of a whole trace."""
        self._stops[stop.trace_id] = stop.id
        self._stops.move_to_end(stop.trace_id)
        if len(self._stops) > MAX_STOPPED:
            self._stops.popitem(last=False)

    def covers(self, task: Signal) -> bool:
        """Tell whether a TASK was made before its trace was stopped."""
        return task.id < self._stops.get(task.trace_id, "")
