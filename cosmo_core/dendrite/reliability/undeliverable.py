"""What comes back from the Synapse: who waits for an answer is told what became of the question."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import attrs

from cosmo_core.dendrite.reliability.local_errors import local_error
from cosmo_core.protocol.codec import decode
from cosmo_core.protocol.signal import Signal
from cosmo_core.protocol.signal_type import SignalType

if TYPE_CHECKING:
    from cosmo_core.contracts.synapse import Undelivered
    from cosmo_core.dendrite.discovery.directory import View
    from cosmo_core.dendrite.dispatch.pathway_registry import Followed

logger = logging.getLogger("cosmo_core.dendrite")


@attrs.frozen
class _Fate:
    """What is told of a TASK that was not delivered, and whether its Neuron counts as gone."""

    code: str
    message: str
    recoverable: bool = True
    gone: bool = False


_FATES: Final[dict[Undelivered, _Fate]] = {
    "nobody": _Fate(
        "NO_ROUTE",
        "Neuron {!r} is hosted nowhere any more; host it again, and try again once wait_until_ready returns",
        gone=True,
    ),
    "overloaded": _Fate(
        "OVERLOADED",
        "no host of Neuron {!r} has room for another TASK; try again later, or host it more often",
    ),
    "lost": _Fate(
        "WORKER_LOST",
        "the host of Neuron {!r} was lost while it had the TASK, and there is no other; try again once it is"
        " hosted again",
        gone=True,
    ),
    "failed": _Fate(
        "WORKER_LOST",
        "no host of Neuron {!r} was ever done with the TASK, as often as it was given to one; it is among the"
        " dead letters of the Synapse: find out there what is wrong with it before it is sent again",
        recoverable=False,
    ),
}


class Returned:
    """Takes back what the Synapse could not deliver.

    Args:
        followed: The Pathways that are open.
        view: Where a Neuron is forgotten that is hosted nowhere.
        requests: Who is told of what was for an Engram.
    """

    def __init__(
        self, followed: Followed, view: View, requests: Callable[[Signal, Undelivered], None]
    ) -> None:
        self._followed = followed
        self._view = view
        self._requests = requests

    def take(self, frame: bytes, why: Undelivered) -> None:
        """Say of a Signal that was sent here, and was not delivered, what became of it."""
        signal = decode(frame)
        if signal.type is SignalType.TASK:
            self._take_task(signal, why)
        else:
            self._requests(signal, why)

    def _take_task(self, task: Signal, why: Undelivered) -> None:
        """Answer a TASK for a Neuron with ERROR; see P-5.18."""
        neuron = "" if task.directed is None else task.directed.id or ""
        fate = _FATES[why]
        if fate.gone:
            self._view.forget(neuron)
        message = fate.message.format(neuron)
        pathway = self._followed.find(task.trace_id, task.id)
        if pathway is None:
            logger.warning("%s, which nobody follows, was not delivered: %s", task.id, message)
        else:
            pathway.deliver(local_error(pathway, fate.code, message, recoverable=fate.recoverable))
