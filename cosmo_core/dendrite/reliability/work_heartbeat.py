"""Work heartbeats: HEARTBEAT Signals that name the TASKs a host works on, for the senders of the TASKs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import attrs

from cosmo_core.contracts.boundary import logger
from cosmo_core.dendrite.hosting.host import PULSE_S, Host
from cosmo_core.dendrite.life_cycle import Clock
from cosmo_core.dendrite.transport.link import Link
from cosmo_core.errors import SynapseError
from cosmo_core.protocol.ids import is_token
from cosmo_core.protocol.signal import Signal
from cosmo_core.protocol.signal_type import SignalType

MAX_NAMED: Final = 1_000
"""The number of TASKs in one HEARTBEAT; further ones go into further Signals."""

_WORK: Final = frozenset({SignalType.TASK, SignalType.TASK_AWARDED})


@attrs.define(eq=False)
class WorkHeartbeat:
    """Sends the ids of the TASKs that run or wait here to their senders. Without TASKs nothing is sent.

    Args:
        link: The link to the Synapse.
        host: The host of the Neurons.
        name: The id of this Dendrite.
    """

    _link: Link
    _host: Host
    _name: str
    _failing: bool = attrs.field(default=False, init=False)

    async def run(self, clock: Clock) -> None:
        """Send work heartbeats every `PULSE_S`, until cancelled."""
        while True:
            await clock.sleep(PULSE_S)
            for subject, heartbeat in self._heartbeats():
                await self._send(subject, heartbeat)

    async def _send(self, subject: str, heartbeat: Signal) -> None:
        try:
            await self._link.send(subject, heartbeat)
        except SynapseError as error:
            # Logged once: an outage lasts many heartbeats.
            if not self._failing:
                logger.warning("no work heartbeat could be sent: %s", error)
            self._failing = True
        except Exception:
            logger.exception("no work heartbeat could be sent: a middleware failed")
        else:
            self._failing = False

    def send_from_thread(self) -> None:
        """Send work heartbeats once, from the watchdog's thread, while the event loop is blocked."""
        for subject, heartbeat in self._heartbeats():
            self._link.publish_from_thread(subject, heartbeat)

    def _heartbeats(self) -> Iterator[tuple[str, Signal]]:
        subjects = self._link.subjects
        for inbox, tasks in self._tasks_by_inbox().items():
            for start in range(0, len(tasks), MAX_NAMED):
                named = tasks[start : start + MAX_NAMED]
                neurons = {task.directed.id for task in named if task.directed and task.directed.id}
                ids = [task.id for task in named]
                meta = {"dendrite": self._name, "tasks": ids, "neurons": sorted(neurons)}
                heartbeat = Signal.new(SignalType.HEARTBEAT, {"status": "working"}, meta=meta)
                yield subjects.inbox(heartbeat.type, inbox), heartbeat

    def _tasks_by_inbox(self) -> dict[str, list[Signal]]:
        found: dict[str, list[Signal]] = {}
        # A TASK that is still in a middleware counts, too.
        arriving = [signal for signal in list(self._link.in_middleware.values()) if signal.type in _WORK]
        for task in self._host.tasks() + arriving:
            inbox = task.meta.get("pulse_to", task.meta.get("reply_to"))
            if isinstance(inbox, str) and is_token(inbox):
                found.setdefault(inbox, []).append(task)
        return found
