"""Finding out that a worker is lost: it neither answers nor gives a sign of life."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from cosmo_core.contracts.clock import Clock
from cosmo_core.contracts.delivery import Guarantees
from cosmo_core.contracts.pathway import Pathway
from cosmo_core.dendrite.discovery.directory import Directory
from cosmo_core.dendrite.dispatch.dispatcher import Dispatcher
from cosmo_core.dendrite.dispatch.pathway_registry import PathwayRegistry
from cosmo_core.protocol.signal import Signal

TICK_S: Final = 0.5
"""How often a Dendrite looks after those who work for it."""

SILENT_PULSES: Final = 2.75
"""After how many missing signs of life a worker counts as lost (P-5.19): after two, and before a third."""


class _Sign(NamedTuple):
    """The last sign of life of who works on a TASK.

    Attributes:
        tick: When it came.
        patience: For how many ticks there need be no other; None for ever.
    """

    tick: int
    patience: int | None


class FailureDetector:
    """Ends TASKs whose worker is lost: stops them, in case it is not, and answers them with ERROR.

    Time is counted in ticks: those that this process sleeps through, or is too busy for, never come, and so
    are nobody's silence.

    Args:
        pathways: The open Pathways.
        directory: Says who gives signs of life, and how often.
        dispatcher: Stops what is lost.
    """

    def __init__(self, pathways: PathwayRegistry, directory: Directory, dispatcher: Dispatcher) -> None:
        self._pathways = pathways
        self._directory = directory
        self._dispatcher = dispatcher
        self._takeover_s = 0.0
        self._tick = 0
        # By TASK; of those that are older than a tick and not answered.
        self._signs: dict[str, _Sign] = {}

    async def watch(self, clock: Clock, guarantees: Guarantees) -> None:
        """Look every `TICK_S` who is lost, until cancelled.

        Where the Synapse has another worker take over, that one has the time which it needs. Where it keeps
        work until there is a worker, nobody is ever lost.
        """
        if guarantees.durable:
            return
        self._takeover_s = guarantees.takeover_s or 0.0
        while True:
            await clock.sleep(TICK_S)
            self.look()

    def receive(self, heartbeat: Signal) -> None:
        """Take a sign of life from the inbox."""
        tasks = heartbeat.meta.get("tasks")
        if not isinstance(tasks, list):
            return
        for task_id in tasks:
            sign = self._signs.get(task_id) if isinstance(task_id, str) else None
            if sign is not None:
                self._signs[task_id] = _Sign(self._tick, sign.patience)

    def look(self) -> None:
        """Let one tick pass, and end the TASKs whose worker was silent for too long."""
        self._tick += 1
        before, self._signs = self._signs, {}
        first_seen: dict[str, _Sign] = {}
        for pathway in self._pathways.pathways():
            # Without a Neuron nobody has the work yet.
            if pathway.answer is not None or not pathway.neuron:
                continue
            sign = before.get(pathway.task_id)
            if sign is None:
                sign = first_seen.get(pathway.neuron)
                if sign is None:
                    sign = first_seen[pathway.neuron] = self._first_sign(pathway.neuron)
            if sign.patience is not None and self._tick - sign.tick >= sign.patience:
                self._end(pathway)
            else:
                self._signs[pathway.task_id] = sign

    def _first_sign(self, neuron: str) -> _Sign:
        # It was sent since the last tick.
        pulse_s = self._directory.pulse_s(neuron)
        if pulse_s is None:
            return _Sign(self._tick - 1, None)
        return _Sign(self._tick - 1, math.ceil((SILENT_PULSES * pulse_s + self._takeover_s) / TICK_S))

    def _end(self, pathway: Pathway) -> None:
        self._dispatcher.stop_task(pathway, "its worker gave no sign of life")
        message = (
            f"no host of Neuron {pathway.neuron!r} gave a sign of life that it works on the TASK any more;"
            " it was told to stop, in case it does: try again"
        )
        pathway.deliver(pathway.local_error("WORKER_LOST", message))
