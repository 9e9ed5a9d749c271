"""TASKs that come back from the Synapse: who follows one is told what became of it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import attrs

from cosmo_core.codec import decode
from cosmo_core.dendrite.local_errors import local_error

if TYPE_CHECKING:
    from cosmo_core.dendrite.following import Followed
    from cosmo_core.dendrite.view import View
    from cosmo_core.synapse import Undelivered

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
    """

    def __init__(self, followed: Followed, view: View) -> None:
        self._followed = followed
        self._view = view

    def take(self, frame: bytes, why: Undelivered) -> None:
        """Answer a TASK that was sent here, and for a Neuron, with ERROR; see P-5.18."""
        task = decode(frame)
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
