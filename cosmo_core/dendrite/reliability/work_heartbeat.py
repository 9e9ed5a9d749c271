"""Work heartbeats: HEARTBEAT Signals that name the TASKs a host works on, for the senders of the TASKs.

The watchdog finds an event loop that a Neuron blocks, names the Neuron in the log, and sends them meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from itertools import chain
from time import monotonic
from typing import Final

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


class WorkHeartbeat:
    """Sends the ids of the TASKs that run or wait here to their senders. Without TASKs nothing is sent.

    Args:
        link: The link to the Synapse.
        host: The host of the Neurons.
        name: The id of this Dendrite.
    """

    def __init__(self, link: Link, host: Host, name: str) -> None:
        self._link = link
        self._host = host
        self._name = name
        self._failing = False

    async def run(self, clock: Clock) -> None:
        """Send work heartbeats every `PULSE_S`, until cancelled."""
        while True:
            await clock.sleep(PULSE_S)
            for named in self._heartbeats():
                if named is not None:
                    await self._send(*named)
                # A turn of the event loop: thousands of TASKs are named in as many steps as Signals.
                await asyncio.sleep(0)

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
        for named in self._heartbeats():
            if named is not None:
                self._link.publish_from_thread(*named)

    def _heartbeats(self) -> Iterator[tuple[str, Signal] | None]:
        """Yield each HEARTBEAT with its subject, and None where `MAX_NAMED` TASKs more were looked at."""
        by_inbox: dict[str, list[Signal]] = {}
        # A TASK that is still in a middleware counts, too; it may be accepted meanwhile, so these are first.
        arriving = [signal for signal in list(self._link.in_middleware.values()) if signal.type in _WORK]
        for count, task in enumerate(chain(arriving, self._host.tasks()), 1):
            meta = task.meta
            inbox = meta["pulse_to"] if "pulse_to" in meta else meta.get("reply_to")
            if isinstance(inbox, str) and (inbox in by_inbox or is_token(inbox)):
                tasks = by_inbox.setdefault(inbox, [])
                tasks.append(task)
                if len(tasks) == MAX_NAMED:
                    yield self._heartbeat(inbox, by_inbox.pop(inbox))
            if not count % MAX_NAMED:
                yield None
        for inbox, tasks in by_inbox.items():
            yield self._heartbeat(inbox, tasks)

    def _heartbeat(self, inbox: str, tasks: list[Signal]) -> tuple[str, Signal]:
        neurons = {task.directed.id for task in tasks if task.directed and task.directed.id}
        ids = [task.id for task in tasks]
        meta = {"dendrite": self._name, "tasks": ids, "neurons": sorted(neurons)}
        heartbeat = Signal.new(SignalType.HEARTBEAT, {"status": "working"}, meta=meta)
        return self._link.subjects.inbox(heartbeat.type, inbox), heartbeat


# --- while the event loop is blocked ----------------------------------------------------------------

PERIOD_S: Final = 0.25
"""Seconds between two checks. A check costs one wake-up of the thread and one callback in the event loop."""

MISSES: Final = 2
"""The checks without a response after which the event loop counts as blocked: half a second."""

HEARTBEAT_CHECKS: Final = 4
"""The number of checks between two work heartbeats, while the event loop is blocked."""

JOIN_S: Final = 1.0
"""Seconds to wait for the thread to end."""


class Watchdog:
    """Watches one event loop for all Dendrites on it, until the last one is removed.

    It schedules a callback in the event loop, and warns if the callback does not run in time.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._owners: list[WatchdogOwner] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cosmo-watchdog", daemon=True)
        self._responded = True
        self._probed_at = 0.0
        self._responded_at = 0.0
        self._misses = 0
        self._culprit: str | None = None

    def add(self, owner: WatchdogOwner) -> None:
        """Watch for one more Dendrite."""
        self._owners.append(owner)
        if not self._thread.is_alive():
            self._thread.start()

    def remove(self, owner: WatchdogOwner) -> bool:
        """Stop watching for a Dendrite; tell whether it was the last one, and the watchdog has ended."""
        self._owners.remove(owner)
        if self._owners:
            return False
        self._ended.set()
        self._thread.join(JOIN_S)
        return True

    # --- in the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        # A closed event loop may still have Dendrites that were never stopped.
        while not self._ended.wait(PERIOD_S) and not self._loop.is_closed():
            if self._responded:
                if self._culprit is not None:
                    self._report_released(self._culprit)
                self._probe()
            elif self._loop.is_running():
                self._misses += 1
                if self._misses >= MISSES:
                    self._report_blocked()

    def _probe(self) -> None:
        self._misses = 0
        self._responded = False
        self._probed_at = monotonic()
        # The event loop may be closed at this moment.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._respond)

    def _respond(self) -> None:
        self._responded_at = monotonic()
        self._responded = True

    def _report_blocked(self) -> None:
        if self._culprit is None:
            self._culprit = self._find_culprit()
            logger.warning(
                "%s has blocked the event loop for %.1f s; nothing else runs in it meanwhile. Move long"
                " computation and blocking calls into a Neuron that is a plain `def`, which runs in a"
                " thread, or into `await asyncio.to_thread(…)`",
                self._culprit,
                monotonic() - self._probed_at,
            )
        if (self._misses - MISSES) % HEARTBEAT_CHECKS == 0:
            for owner in list(self._owners):
                self._send_heartbeats(owner)

    def _report_released(self, culprit: str) -> None:
        logger.warning(
            "%s had blocked the event loop for %.1f s", culprit, self._responded_at - self._probed_at
        )
        self._culprit = None

    def _find_culprit(self) -> str:
        work = asyncio.current_task(self._loop)
        if work is None:
            return "A callback that belongs to no Neuron"
        for owner in list(self._owners):
            neuron = owner.neuron_of(work)
            if neuron is not None:
                return f"Neuron {neuron!r}"
        return f"The asyncio task {work.get_name()!r}, which belongs to no Neuron,"

    def _send_heartbeats(self, owner: WatchdogOwner) -> None:
        try:
            owner.send_heartbeats()
        except Exception:
            logger.exception("no work heartbeat could be sent while the event loop is blocked")


_watchdogs: Final[dict[asyncio.AbstractEventLoop, Watchdog]] = {}
_lock: Final = threading.Lock()


class WatchdogOwner:
    """Registers a Dendrite with the watchdog of its event loop, while it hosts a Neuron that could block it.

    The watchdog calls ``neuron_of`` and ``send_heartbeats`` from its thread.

    Args:
        host: The host of the Neurons.
        heartbeat: Sends the work heartbeats.
    """

    def __init__(self, host: Host, heartbeat: WorkHeartbeat) -> None:
        self._host = host
        self.neuron_of = host.neuron_of
        self.send_heartbeats = heartbeat.send_from_thread
        self._loop: asyncio.AbstractEventLoop | None = None

    def update(self) -> None:
        """Register with the watchdog if a hosted Neuron could block the event loop; otherwise unregister."""
        if any(axon.runs_in_loop for axon in self._host):
            self._register()
        else:
            self.close()

    def _register(self) -> None:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            with _lock:
                watchdog = _watchdogs.get(self._loop)
                if watchdog is None:
                    watchdog = _watchdogs[self._loop] = Watchdog(self._loop)
                watchdog.add(self)

    def close(self) -> None:
        """Unregister. Calling it again has no effect."""
        loop, self._loop = self._loop, None
        if loop is not None:
            with _lock:
                if _watchdogs[loop].remove(self):
                    del _watchdogs[loop]
