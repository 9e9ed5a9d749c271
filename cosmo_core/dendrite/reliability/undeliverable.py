"""Undeliverable Signals: callers that wait for an answer get an ERROR at once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

import attrs

from cosmo_core.contracts.delivery import Undelivered, undelivered_message
from cosmo_core.dendrite.discovery.directory import Directory
from cosmo_core.dendrite.dispatch.pathway_registry import PathwayRegistry
from cosmo_core.protocol.signal import Signal, decode
from cosmo_core.protocol.signal_type import SignalType

logger = logging.getLogger("cosmo_core.dendrite")


_CODES: Final[dict[Undelivered, str]] = {
    "no_consumers": "NO_ROUTE",
    "overloaded": "OVERLOADED",
    "lost": "WORKER_LOST",
    "failed": "WORKER_LOST",
}


@attrs.frozen(eq=False)
class UndeliverableHandler:
    """Handles the Signals that this Dendrite sent and that the Synapse could not deliver.

    Args:
        pathways: The open Pathways; the one that follows a TASK gets an ERROR.
        directory: The directory in which a Neuron without hosts is marked.
        other: Called with every Signal that is not a TASK.
    """

    _pathways: PathwayRegistry
    _directory: Directory
    _other: Callable[[Signal, Undelivered], None]

    def handle(self, frame: bytes, why: Undelivered) -> None:
        """Handle one frame that was not delivered."""
        signal = decode(frame)
        if signal.type is SignalType.TASK:
            self._handle_task(signal, why)
        else:
            self._other(signal, why)

    def _handle_task(self, task: Signal, why: Undelivered) -> None:
        """Answer a TASK for a Neuron with ERROR; see P-5.18."""
        neuron = "" if task.directed is None else task.directed.id or ""
        if why in {"no_consumers", "lost"}:
            self._directory.mark_unreachable(neuron)
        message = undelivered_message(why, f"Neuron {neuron!r}", "TASK")
        pathway = self._pathways.find(task.trace_id, task.id)
        if pathway is None:
            logger.warning("TASK %s was not delivered, and no Pathway follows it: %s", task.id, message)
        else:
            pathway.deliver(pathway.local_error(_CODES[why], message, recoverable=why != "failed"))
