"""The Pathway that observes a whole trace, whatever the addressee of its Signals."""

from __future__ import annotations

from cosmo_core.contracts.pathway import Pathway, PathwayOwner, any_of
from cosmo_core.errors import PathwayClosedError
from cosmo_core.protocol.signal import Signal
from cosmo_core.protocol.signal_type import SignalType


class ObservedPathway(Pathway):
    """Receives every Signal on a trace from the moment it opens, whatever its sender and addressee.

    It follows a workflow rather than one TASK, so only FINAL closes it (P-11.7): an ERROR ends the TASK that
    it answers, and the workflow may go on. Close it, or use it as ``async with``, where no FINAL will come.
    Its ``task_id`` and ``neuron`` are empty.
    """

    __slots__ = ()

    def __init__(self, owner: PathwayOwner, trace_id: str, buffer: int = 1024) -> None:
        super().__init__(owner, trace_id, "", "", buffer)

    def _may_come_after_answer(self, type: SignalType) -> bool:
        # A trace has many TASKs; a Signal that is delivered twice is filtered before.
        return True

    def _is_new(self, delta: Signal) -> bool:
        return True

    def _ends_with(self, type: SignalType) -> bool:
        return type is SignalType.FINAL

    @property
    def _name(self) -> str:
        return self.trace_id

    def _timeout_error(self, types: frozenset[SignalType], timeout_s: float | None) -> TimeoutError:
        return TimeoutError(f"no {any_of(types)} arrived on {self.trace_id} within {timeout_s} s")

    def _closed_error(self, types: frozenset[SignalType]) -> PathwayClosedError:
        return PathwayClosedError(f"the Pathway that observes {self.trace_id} closed before {any_of(types)}")

    def __repr__(self) -> str:
        return f"<ObservedPathway {'closed' if self.closed else 'open'} on {self.trace_id}>"
