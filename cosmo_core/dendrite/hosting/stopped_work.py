"""Work that was stopped before it arrived: whole traces, and single TASKs."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple

from cosmo_core.protocol.ids import SeenIds, new_event
from cosmo_core.protocol.signal import Signal

MAX_STOPPED: Final = 1_000
"""The number of stopped traces that are stored; beyond it the oldest is removed."""


class _Stop(NamedTuple):
    """The latest STOP of a trace.

    Attributes:
        id: Its id.
        sender: The inbox of its sender.
        received: An id that this process made when it arrived.
    """

    id: str
    sender: object
    received: str


class StoppedWork:
    """The recently stopped traces and TASKs, each kind in a window of its own.

    A TASK that was made after the STOP of its trace runs. Ids of one sender are ordered by time. The clock of
    another sender may be ahead, so its STOP counts as made when it arrived, at the latest.

    Attributes:
        any: Whether anything was stopped; tested for every TASK.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.any = False
        self._traces: OrderedDict[str, _Stop] = OrderedDict()
        self._tasks = SeenIds(clock)
        self._stops = SeenIds(clock)

    def add(self, stop: Signal) -> bool:
        """Record a STOP; tell whether it is new. A bus may deliver it twice, and an earlier one later."""
        self.any = True
        if stop.parent_id is not None:
            return self._tasks.add(stop.parent_id)
        if not self._stops.add(stop.id):
            return False
        known = self._traces.get(stop.trace_id)
        if known is None or known.sender != _sender(stop) or known.id < stop.id:
            self._traces[stop.trace_id] = _Stop(stop.id, _sender(stop), new_event()[0])
        self._traces.move_to_end(stop.trace_id)
        if len(self._traces) > MAX_STOPPED:
            self._traces.popitem(last=False)
        return True

    def _limit(self, signal: Signal) -> str:
        """Return the id before which Signals of this sender on this trace are stopped."""
        stop = self._traces.get(signal.trace_id)
        if stop is None:
            return ""
        return stop.id if stop.sender == _sender(signal) else min(stop.id, stop.received)

    def names(self, task: Signal) -> bool:
        """Tell whether a STOP named a TASK."""
        return task.id in self._tasks

    def covers(self, task: Signal) -> bool:
        """Tell whether a TASK was made before its trace was stopped."""
        return task.id < self._limit(task)

    def covers_cause(self, signal: Signal) -> bool:
        """Tell whether the cause of a Signal was made before its trace was stopped.

        Stopped work may run on for a moment; a Signal that it sends then is newer than the STOP.
        """
        return (signal.parent_id or signal.id) < self._limit(signal)


def _sender(signal: Signal) -> object:
    # A Pathway with back-pressure has an inbox of its own for the answers.
    return signal.meta.get("pulse_to", signal.meta.get("reply_to"))
