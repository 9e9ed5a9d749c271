"""Undeliverable Signals: callers that wait for an answer get an ERROR at once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

import attrs

from cosmo_core.contracts.delivery import Undelivered
from cosmo_core.dendrite.discovery.directory import Directory
from cosmo_core.dendrite.dispatch.pathway_registry import PathwayRegistry
from cosmo_core.protocol.signal import Signal, decode
from cosmo_core.protocol.signal_type import SignalType

logger = logging.getLogger("cosmo_core.dendrite")


@attrs.frozen
class _Outcome:
    """The ERROR for a TASK that was not delivered, and whether its Neuron counts as unreachable."""

    code: str
    message: str
    recoverable: bool = True
    unreachable: bool = False


_OUTCOMES: Final[dict[Undelivered, _Outcome]] = {
    "no_consumers": _Outcome(
        "NO_ROUTE",
        "Neuron {!r} has no host any more; host it again, and try again once wait_until_ready returns",
        unreachable=True,
    ),
    "overloaded": _Outcome(
        "OVERLOADED",
        "every host of Neuron {!r} is at its in-flight limit; try again later, or add hosts",
    ),
    "lost": _Outcome(
        "WORKER_LOST",
        "the only host of Neuron {!r} was lost while it had the TASK; try again once it is hosted again",
        unreachable=True,
    ),
    "failed": _Outcome(
        "WORKER_LOST",
        "no host of Neuron {!r} acknowledged the TASK within max_deliveries deliveries; it is now a dead"
        " letter of the Synapse: find the cause there before you send it again",
        recoverable=False,
    ),
}


class UndeliverableHandler:
    """Handles the Signals that this Dendrite sent and that the Synapse could not deliver.

    Args:
        pathways: The open Pathways; the one that follows a TASK gets an ERROR.
        directory: The directory in which a Neuron without hosts is marked.
        other: Called with every Signal that is not a TASK.
    """

    def __init__(
        self, pathways: PathwayRegistry, directory: Directory, other: Callable[[Signal, Undelivered], None]
    ) -> None:
        self._pathways = pathways
        self._directory = directory
        self._other = other

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
        outcome = _OUTCOMES[why]
        if outcome.unreachable:
            self._directory.mark_unreachable(neuron)
        message = outcome.message.format(neuron)
        pathway = self._pathways.find(task.trace_id, task.id)
        if pathway is None:
            logger.warning("TASK %s was not delivered, and no Pathway follows it: %s", task.id, message)
        else:
            pathway.deliver(pathway.local_error(outcome.code, message, recoverable=outcome.recoverable))
