"""The failure detector: ends a TASK that was not delivered, or whose worker sends no work heartbeats."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, NamedTuple

import attrs

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


class _LastHeartbeat(NamedTuple):
    """The last work heartbeat for a TASK.

    Attributes:
        tick: The tick at which it came.
        max_silent_ticks: The ticks that may pass without another one; None for no limit.
    """

    tick: int
    max_silent_ticks: int | None


@attrs.define(eq=False)
class FailureDetector:
    """Ends TASKs that get no answer, with an ERROR to the Pathway.

    Those are the TASKs that the Synapse could not deliver (P-5.18), and those of lost workers, which are also
    sent STOP, in case they still run.

    Time is counted in ticks of this process. While it sleeps or is blocked there are no ticks, so its own
    pauses do not count as silence of a worker.

    Args:
        pathways: The open Pathways.
        directory: The directory, which knows the heartbeat interval of each host.
        other: Called with every Signal that was not delivered and is not a TASK.
    """

    _pathways: PathwayRegistry
    _directory: Directory
    _other: Callable[[Signal, Undelivered], None]
    _takeover_s: float = attrs.field(default=0.0, init=False)
    _tick: int = attrs.field(default=0, init=False)
    # By TASK, for the unanswered ones that are older than a tick.
    _last_heartbeats: dict[str, _LastHeartbeat] = attrs.field(factory=dict, init=False)

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
            self.check()

    def receive(self, heartbeat: Signal) -> None:
        """Handle a work heartbeat from the inbox."""
        tasks = heartbeat.meta.get("tasks")
        if not isinstance(tasks, list):
            return
        for task_id in tasks:
            last = self._last_heartbeats.get(task_id) if isinstance(task_id, str) else None
            if last is not None:
                self._last_heartbeats[task_id] = _LastHeartbeat(self._tick, last.max_silent_ticks)

    async def refuse(self, heartbeat: Signal, reason: str) -> None:
        """Handle a work heartbeat that a middleware dropped: it still shows that the worker lives."""
        self.receive(heartbeat)

    def check(self) -> None:
        """Advance by one tick, and end the TASKs whose worker was silent for too long."""
        self._tick += 1
        before, self._last_heartbeats = self._last_heartbeats, {}
        new: dict[str, _LastHeartbeat] = {}
        for pathway in self._pathways.pathways():
            # An offer that is not awarded yet has no Neuron.
            if pathway.answer is not None or not pathway.neuron:
                continue
            last = before.get(pathway.task_id)
            if last is None:
                last = new.get(pathway.neuron)
                if last is None:
                    last = new[pathway.neuron] = self._initial(pathway.neuron)
            if last.max_silent_ticks is not None and self._tick - last.tick >= last.max_silent_ticks:
                self._end(pathway)
            else:
                self._last_heartbeats[pathway.task_id] = last

    def _initial(self, neuron: str) -> _LastHeartbeat:
        # The TASK was sent since the last tick.
        pulse_s = self._directory.pulse_s(neuron)
        if pulse_s is None:
            return _LastHeartbeat(self._tick - 1, None)
        silence_s = MAX_SILENT_INTERVALS * pulse_s + self._takeover_s
        return _LastHeartbeat(self._tick - 1, math.ceil(silence_s / TICK_S))

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
