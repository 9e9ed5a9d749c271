"""The failure detector: ends a TASK that was not delivered, or whose worker sends no work heartbeats."""

from __future__ import annotations

import asyncio
import math
import weakref
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from cosmo_core.contracts.boundary import logger
from cosmo_core.contracts.delivery import Guarantees, Undelivered, undelivered_message
from cosmo_core.contracts.pathway import Pathway
from cosmo_core.dendrite.discovery.directory import Directory
from cosmo_core.dendrite.dispatch.pathway_registry import PathwayRegistry
from cosmo_core.dendrite.life_cycle import Clock
from cosmo_core.protocol.signal import Signal, decode
from cosmo_core.protocol.signal_type import SignalType

TICK_S: Final = 0.5
"""Seconds between two checks."""

MAX_SILENT_INTERVALS: Final = 2.75
"""Heartbeat intervals of silence after which a worker is lost (P-5.19): two heartbeats missed, not three."""

_CODES: Final[dict[Undelivered, str]] = {
    "no_consumers": "NO_ROUTE",
    "overloaded": "OVERLOADED",
    "lost": "WORKER_LOST",
    "failed": "WORKER_LOST",
}


MAX_CHECKED: Final = 1_000
"""The number of TASKs that are checked in one turn of the event loop; the others are in the next turns."""

MAX_ENDED: Final = 25
"""The number of TASKs that are ended in one turn of the event loop."""

MAX_TICKS: Final = 60
"""The most ticks until a TASK is checked again. An answered one is removed within twice as many."""


class _Monitored(NamedTuple):
    """An unanswered TASK that is older than a tick.

    Attributes:
        task_id: The id of the TASK.
        pathway: Returns the Pathway that follows it.
        max_silent_ticks: The ticks that may pass without a work heartbeat; infinite if its host sends none.
    """

    task_id: str
    pathway: Callable[[], Pathway | None]
    max_silent_ticks: float


class FailureDetector:
    """Ends TASKs that get no answer, with an ERROR to the Pathway.

    Those are the TASKs that the Synapse could not deliver (P-5.18), and those of lost workers, which are also
    sent STOP, in case they still run.

    Time is counted in ticks of this process. While it sleeps or is blocked there are no ticks, so its own
    pauses do not count as silence of a worker.

    A tick looks at the TASKs that were sent since the last one, and at those whose worker would be lost now
    without the work heartbeats since they were looked at. So its work does not grow with all that are open.

    Args:
        pathways: The open Pathways.
        directory: The directory, which knows the heartbeat interval of each host.
        other: Called with every Signal that was not delivered and is not a TASK.
    """

    def __init__(
        self, pathways: PathwayRegistry, directory: Directory, other: Callable[[Signal, Undelivered], None]
    ) -> None:
        self._pathways = pathways
        self._directory = directory
        self._other = other
        self._takeover_s = 0.0
        self._tick = 0
        # The ticks of the last work heartbeats by TASK, for those that are monitored.
        self._last_heartbeats: dict[str, int] = {}
        # The monitored TASKs by the tick at which they are checked next.
        self._due: dict[float, list[_Monitored]] = {}

    async def run(self, clock: Clock, guarantees: Guarantees) -> None:
        """Check for lost workers every `TICK_S`, until cancelled.

        On a Synapse that redelivers to another worker, a takeover gets its time first. On a durable Synapse,
        which stores a TASK until there is a worker, no worker is ever lost.
        """
        if guarantees.durable:
            return
        self._takeover_s = guarantees.takeover_s or 0.0
        while True:
            await clock.sleep(TICK_S)
            for _ in self.check():
                await asyncio.sleep(0)

    def receive(self, heartbeat: Signal) -> None:
        """Handle a work heartbeat from the inbox."""
        tasks = heartbeat.meta.get("tasks")
        if not isinstance(tasks, list):
            return
        last, tick = self._last_heartbeats, self._tick
        for task_id in tasks:
            if isinstance(task_id, str) and task_id in last:
                last[task_id] = tick

    async def refuse(self, heartbeat: Signal, reason: str) -> None:
        """Handle a work heartbeat that a middleware dropped: it still shows that the worker lives."""
        self.receive(heartbeat)

    def check(self) -> Iterator[None]:
        """Advance by one tick, and end the TASKs whose worker was silent for too long.

        It is done when the iterator ends; between two steps the event loop may turn.
        """
        self._tick += 1
        yield from self._monitor(self._pathways.opened())
        tick, last, ended = self._tick, self._last_heartbeats, 0
        for checked, task in enumerate(self._due.pop(tick, ()), 1):
            task_id, ref, limit = task
            heard = last[task_id]
            lost = tick - heard >= limit
            # A TASK that its host named lately is not answered: most are checked no further.
            if lost or tick - heard >= MAX_TICKS:
                pathway = ref()
                if pathway is None or pathway.task_id != task_id or not _is_unanswered(pathway):
                    del last[task_id]
                elif lost:
                    del last[task_id]
                    self._end(pathway)
                    ended += 1
                # It must live no longer than its caller wants.
                del pathway
            if task_id in last:
                self._check_later(task, heard)
            if not checked % MAX_CHECKED or ended == MAX_ENDED:
                ended = 0
                yield

    def _monitor(self, opened: list[weakref.ref[Pathway]]) -> Iterator[None]:
        """Monitor the TASKs that were sent since the last tick."""
        limits: dict[str, float] = {}
        for count, ref in enumerate(opened, 1):
            pathway = ref()
            # An offer that is not awarded yet has no Neuron.
            if pathway is not None and _is_unanswered(pathway) and pathway.neuron:
                neuron, task_id = pathway.neuron, pathway.task_id
                if neuron not in limits:
                    limits[neuron] = self._max_silent_ticks(neuron)
                if task_id not in self._last_heartbeats:
                    self._last_heartbeats[task_id] = self._tick - 1
                    self._check_later(_Monitored(task_id, ref, limits[neuron]), self._tick - 1)
            del pathway
            if not count % MAX_CHECKED:
                yield

    def _max_silent_ticks(self, neuron: str) -> float:
        pulse_s = self._directory.pulse_s(neuron)
        if pulse_s is None:
            return math.inf
        return math.ceil((MAX_SILENT_INTERVALS * pulse_s + self._takeover_s) / TICK_S)

    def _check_later(self, task: _Monitored, heard: int) -> None:
        """Check a TASK again when it is lost unless its host names it, or after `MAX_TICKS`."""
        tick = min(heard + task.max_silent_ticks, self._tick + MAX_TICKS)
        self._due.setdefault(tick, []).append(task)

    def _end(self, pathway: Pathway) -> None:
        logger.debug("TASK %s for Neuron %r: its worker is lost", pathway.task_id, pathway.neuron)
        self._pathways.stop_task(pathway, "its worker sent no work heartbeat")
        message = (
            f"the host of Neuron {pathway.neuron!r} has stopped sending work heartbeats for the TASK; it"
            " was sent STOP, in case it still runs; try again"
        )
        pathway.deliver(pathway.local_error("WORKER_LOST", message))

    # --- undeliverable Signals ----------------------------------------------------------------------

    def handle_undelivered(self, frame: bytes, why: Undelivered) -> None:
        """Handle a frame of this Dendrite that the Synapse could not deliver."""
        signal = decode(frame)
        if signal.type is SignalType.TASK:
            self._end_undelivered(signal, why)
        else:
            self._other(signal, why)

    def _end_undelivered(self, task: Signal, why: Undelivered) -> None:
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


def _is_unanswered(pathway: Pathway) -> bool:
    return pathway.answer is None and not pathway.closed
