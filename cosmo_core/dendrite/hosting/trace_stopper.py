"""Stopping whole traces, and hearing of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from cosmo_core.dendrite.discovery.announcer import Announcer
from cosmo_core.dendrite.transport.link import Link
from cosmo_core.protocol.payloads import without_none
from cosmo_core.protocol.signal import Signal
from cosmo_core.protocol.signal_type import SignalType


class TraceStopper:
    """Stops traces for one Dendrite.

    Args:
        link: The way to the bus.
        announcer: Knows which Dendrites host something to stop or to roll back.
        inbox: Where the acknowledgements come to.
        discovery_s: For how long to listen when nobody is known.
    """

    def __init__(self, link: Link, announcer: Announcer, *, inbox: str, discovery_s: float) -> None:
        self._link = link
        self._announcer = announcer
        self._inbox = inbox
        self._discovery_s = discovery_s
        # By the id of the STOP; gone when its caller is.
        self._waiting: dict[str, Callable[[Signal], None]] = {}

    async def stop(
        self, trace_id: str, *, reason: str | None, rollback: bool, timeout_s: float
    ) -> list[Signal]:
        """Tell everybody to stop what runs on a trace; see `Dendrite.stop_trace`."""
        payload = without_none(rollback=rollback, reason=reason)
        stop = Signal.new(SignalType.STOP, payload, trace_id=trace_id, meta={"reply_to": self._inbox})
        acknowledged: dict[str, Signal] = {}
        missing = self._announcer.dendrites()
        if not missing:
            timeout_s = min(timeout_s, self._discovery_s)
        done = asyncio.Event()

        def take(stopped: Signal) -> None:
            host = str(stopped.meta.get("dendrite", stopped.id))
            acknowledged[host] = stopped
            missing.discard(host)
            if not missing:
                done.set()

        self._waiting[stop.id] = take
        try:
            await self._link.send_or_raise(self._link.subjects.broadcast(SignalType.STOP), stop)
            # Who does not answer in time is not in the list: that is the answer.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await done.wait()
        finally:
            del self._waiting[stop.id]
        return list(acknowledged.values())

    def receive(self, stopped: Signal) -> None:
        """Take a STOPPED from the inbox."""
        waiting = self._waiting.get(stopped.parent_id or "")
        if waiting is not None:
            waiting(stopped)
