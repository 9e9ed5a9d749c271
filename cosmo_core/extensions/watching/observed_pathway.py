"""The Pathway that looks on: a whole workflow, whoever its Signals are for."""

from __future__ import annotations

from cosmo_core.contracts.pathway import Pathway, PathwayOwner, any_of
from cosmo_core.errors import PathwayClosedError
from cosmo_core.protocol.signal import Signal
from cosmo_core.protocol.signal_type import SignalType


class ObservedPathway(Pathway):
    """Sees every Signal on a trace, from the moment it is opened, whoever sent it and to whom.

    It follows a workflow rather than one TASK, so only FINAL closes it (P-11.7): an ERROR ends the TASK that
    it answers, and the workflow may go on. Close it, or use it as ``async with``, where no FINAL will come.
    Its ``task_id`` and ``neuron`` are empty.
    """

    __slots__ = ()

    def __init__(self, owner: PathwayOwner, trace_id: str, buffer: int = 1024) -> None:
        super().__init__(owner, trace_id, "", "", buffer)

    def _may_follow(self, type: SignalType) -> bool:
        # There are many TASKs on a trace, and each Signal of them is seen once anyway.
        return True

    def _is_new(self, delta: Signal) -> bool:
        return True

    def _ends_with(self, type: SignalType) -> bool:
        return type is SignalType.FINAL

    @property
    def _name(self) -> str:
        return self.trace_id

    def _timeout_error(self, types: frozenset[SignalType], timeout_s: float | None) -> TimeoutError:
        return TimeoutError(f"no {any_of(types)} was seen on {self.trace_id} within {timeout_s} s")

    def _closed_error(self, types: frozenset[SignalType]) -> PathwayClosedError:
        return PathwayClosedError(f"the Pathway that observes {self.trace_id} closed before {any_of(types)}")

    def __repr__(self) -> str:
        return f"<ObservedPathway {'closed' if self.closed else 'open'} on {self.trace_id}>"
