"""Signs of life: a host says what it works on, to those who wait for it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Final

from cosmo_core.contracts.clock import Clock
from cosmo_core.dendrite.hosting.host import PULSE_S, Host
from cosmo_core.dendrite.transport.link import Link
from cosmo_core.errors import SynapseError
from cosmo_core.protocol.ids import is_token
from cosmo_core.protocol.signal import Signal
from cosmo_core.protocol.signal_type import SignalType

MAX_NAMED: Final = 1_000
"""How many TASKs one of them names; there are more Signals for more."""

_WORK: Final = frozenset({SignalType.TASK, SignalType.TASK_AWARDED})

logger = logging.getLogger("cosmo_core.dendrite")


class WorkHeartbeat:
    """Names to everybody who asked the TASKs that run or wait here. Where there are none, nothing is sent.

    Args:
        link: The way to the bus.
        host: Knows what runs and waits.
        name: What tells this Dendrite from others.
    """

    def __init__(self, link: Link, host: Host, *, name: str) -> None:
        self._link = link
        self._host = host
        self._name = name
        self._failing = False

    async def run(self, clock: Clock) -> None:
        """Send signs of life every `PULSE_S`, until cancelled."""
        while True:
            await clock.sleep(PULSE_S)
            for subject, sign in self._signs():
                await self._send(subject, sign)

    async def _send(self, subject: str, sign: Signal) -> None:
        try:
            await self._link.send(subject, sign)
        except SynapseError as error:
            # Once: a bus that is gone is gone for many seconds.
            if not self._failing:
                logger.warning("no sign of life could be sent: %s", error)
            self._failing = True
        except Exception:
            logger.exception("no sign of life could be sent: a middleware failed")
        else:
            self._failing = False

    def send_from_thread(self) -> None:
        """Send signs of life once, from another thread, as the event loop is blocked."""
        for subject, sign in self._signs():
            self._link.publish_from_thread(subject, sign)

    def _signs(self) -> Iterator[tuple[str, Signal]]:
        subjects = self._link.subjects
        for inbox, ids in self._by_asker().items():
            for start in range(0, len(ids), MAX_NAMED):
                meta = {"dendrite": self._name, "tasks": ids[start : start + MAX_NAMED]}
                sign = Signal.new(SignalType.HEARTBEAT, {"status": "working"}, meta=meta)
                yield subjects.inbox(sign.type, inbox), sign

    def _by_asker(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        # What a middleware still holds is here, too.
        arriving = [signal for signal in list(self._link.passing.values()) if signal.type in _WORK]
        for task in self._host.tasks() + arriving:
            inbox = task.meta.get("pulse_to", task.meta.get("reply_to"))
            if isinstance(inbox, str) and is_token(inbox):
                found.setdefault(inbox, []).append(task.id)
        return found
