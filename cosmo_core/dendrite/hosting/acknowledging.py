"""Telling the Synapse when a TASK was answered, where another worker has it if this one is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from cosmo_core.protocol.signal import Signal

if TYPE_CHECKING:
    from cosmo_core.dendrite.hosting.neuron_runner import Hosted
    from cosmo_core.dendrite.reliability.redelivery import Outbox


class Acknowledging:
    """Takes the TASKs of one Neuron, and is done with each when it was answered (P-5.17).

    Args:
        hosted: Runs them, or has them wait.
        outbox: Answers those again that were answered already.
    """

    def __init__(self, hosted: Hosted, outbox: Outbox) -> None:
        hosted.ended = self._end
        self._hosted = hosted
        self._outbox = outbox
        # One for each delivery: the Synapse may give up on one, and wait for another.
        self._unanswered: dict[str, list[asyncio.Future[None]]] = {}

    def accept(self, task: Signal) -> Awaitable[None] | None:
        """Take a TASK as `Hosted.accept` does; the awaitable completes once it was answered.

        One that comes again while it runs or waits is done with together with the first; one that was
        answered before, once that answer was sent again (P-5.6).
        """
        refusal = self._hosted.accept(task)
        if refusal is not None:
            return refusal
        deliveries = self._unanswered.get(task.id)
        if deliveries is None:
            if not self._hosted.is_at_work(task.id):
                return self._outbox.repeat(task.id)
            deliveries = self._unanswered[task.id] = []
        # Not a coroutine: a Synapse would make a task of it, for every TASK.
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        deliveries.append(answered)
        return answered

    def _end(self, task_id: str) -> None:
        for answered in self._unanswered.pop(task_id, ()):
            if not answered.done():
                answered.set_result(None)
