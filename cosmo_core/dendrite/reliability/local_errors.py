"""ERRORs that a Dendrite makes for itself: it knows what ended a TASK, and nobody else could say so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cosmo_core.protocol.signal import Signal, address
from cosmo_core.protocol.signal_type import SignalType

if TYPE_CHECKING:
    from cosmo_core.contracts.pathway import Pathway


def local_error(pathway: Pathway, code: str, message: str, *, recoverable: bool = True) -> Signal:
    """Return the ERROR that answers the TASK which ``pathway`` follows, as its host would direct it."""
    return Signal.new(
        SignalType.ERROR,
        {"code": code, "message": message, "recoverable": recoverable},
        trace_id=pathway.trace_id,
        parent_id=pathway.task_id,
        directed=address(pathway.neuron),
    )
