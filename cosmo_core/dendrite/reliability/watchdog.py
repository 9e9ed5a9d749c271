"""The watchdog: notices when a Neuron blocks the event loop, from a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from time import monotonic
from typing import Any, Final, Protocol

from cosmo_core.dendrite.hosting.host import Host
from cosmo_core.dendrite.reliability.work_heartbeat import WorkHeartbeat

PERIOD_S: Final = 0.25
"""How often the watchdog looks. Each time costs the thread and the event loop one turn."""

PATIENCE: Final = 2
"""How often it looks in vain before the event loop counts as blocked: for half a second."""

PULSE_PERIODS: Final = 4
"""How many times it looks, while the event loop is blocked, between two signs of life."""

JOIN_S: Final = 1.0
"""For how long to wait for the thread when it is to end."""

logger = logging.getLogger("cosmo_core.dendrite")


class Guarded(Protocol):
    """What the watchdog needs of a Dendrite; both are called from its thread."""

    def neuron_of(self, work: asyncio.Task[Any]) -> str | None:
        """Return the id of the Neuron that an asyncio task runs, if it is one of this Dendrite."""
        ...

    def send_signs(self) -> None:
        """Send signs of life."""
        ...


class Watchdog:
    """Looks after one event loop, for all Dendrites on it, until the last one leaves.

    It asks the event loop for a turn, and warns if it does not get one.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._guarded: list[Guarded] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cosmo-watchdog", daemon=True)
        self._turned = True
        self._asked_at = 0.0
        self._turned_at = 0.0
        self._in_vain = 0
        self._culprit: str | None = None

    def add(self, guarded: Guarded) -> None:
        """Look after a Dendrite, too."""
        self._guarded.append(guarded)
        if not self._thread.is_alive():
            self._thread.start()

    def remove(self, guarded: Guarded) -> bool:
        """Look after a Dendrite no more; tell whether it was the last, and the watchdog has ended."""
        self._guarded.remove(guarded)
        if self._guarded:
            return False
        self._ended.set()
        self._thread.join(JOIN_S)
        return True

    # --- in the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        # One that is closed has Dendrites that were never stopped.
        while not self._ended.wait(PERIOD_S) and not self._loop.is_closed():
            if self._turned:
                if self._culprit is not None:
                    self._released(self._culprit)
                self._ask()
            elif self._loop.is_running():
                self._in_vain += 1
                if self._in_vain >= PATIENCE:
                    self._blocked()

    def _ask(self) -> None:
        self._in_vain = 0
        self._turned = False
        self._asked_at = monotonic()
        # It may be closed at this very moment.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._turn)

    def _turn(self) -> None:
        self._turned_at = monotonic()
        self._turned = True

    def _blocked(self) -> None:
        if self._culprit is None:
            self._culprit = self._who()
            logger.warning(
                "%s has blocked the event loop for %.1f s, and everything else in it waits. What computes"
                " long, or waits without `await`, belongs into a Neuron that is a plain `def`, which runs in"
                " a thread, or into `await asyncio.to_thread(…)`",
                self._culprit,
                monotonic() - self._asked_at,
            )
        if (self._in_vain - PATIENCE) % PULSE_PERIODS == 0:
            for guarded in list(self._guarded):
                self._send_signs(guarded)

    def _released(self, culprit: str) -> None:
        logger.warning("%s had blocked the event loop for %.1f s", culprit, self._turned_at - self._asked_at)
        self._culprit = None

    def _who(self) -> str:
        work = asyncio.current_task(self._loop)
        if work is None:
            return "A callback, which is no Neuron's,"
        for guarded in list(self._guarded):
            neuron = guarded.neuron_of(work)
            if neuron is not None:
                return f"Neuron {neuron!r}"
        return f"The asyncio task {work.get_name()!r}, which is no Neuron's,"

    def _send_signs(self, guarded: Guarded) -> None:
        try:
            guarded.send_signs()
        except Exception:
            logger.exception("no sign of life could be sent while the event loop is blocked")


_watchdogs: Final[dict[asyncio.AbstractEventLoop, Watchdog]] = {}
_lock: Final = threading.Lock()


class WatchdogOwner:
    """One Dendrite's place with the watchdog of its event loop, while a Neuron hosted there could block it.

    Args:
        host: Knows the Neurons.
        heartbeat: Sends signs of life.
    """

    def __init__(self, host: Host, heartbeat: WorkHeartbeat) -> None:
        self._host = host
        self.neuron_of = host.neuron_of
        self.send_signs = heartbeat.send_from_thread
        self._loop: asyncio.AbstractEventLoop | None = None

    def update(self) -> None:
        """Register with the watchdog if a hosted Neuron could block the event loop; otherwise unregister."""
        if any(axon.runs_in_loop for axon in self._host):
            self._join()
        else:
            self.close()

    def _join(self) -> None:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            with _lock:
                watchdog = _watchdogs.get(self._loop)
                if watchdog is None:
                    watchdog = _watchdogs[self._loop] = Watchdog(self._loop)
                watchdog.add(self)

    def close(self) -> None:
        """Be looked after no more. Doing it twice is not an error."""
        loop, self._loop = self._loop, None
        if loop is not None:
            with _lock:
                if _watchdogs[loop].remove(self):
                    del _watchdogs[loop]
