"""Stopping whole traces: sends STOP and collects the STOPPED of each Dendrite."""

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
        link: The link to the Synapse.
        announcer: Returns the Dendrites that host Neurons or Engrams.
        inbox: The inbox for the acknowledgements.
        discovery_s: Seconds to wait for acknowledgements when no Dendrite is known.
    """

    def __init__(self, link: Link, announcer: Announcer, *, inbox: str, discovery_s: float) -> None:
        self._link = link
        self._announcer = announcer
        self._inbox = inbox
        self._discovery_s = discovery_s
        # By the id of the STOP.
        self._collectors: dict[str, Callable[[Signal], None]] = {}

    async def stop(
        self, trace_id: str, *, reason: str | None, rollback: bool, timeout_s: float
    ) -> list[Signal]:
        """Stop a trace in every Dendrite; see `Dendrite.stop_trace`."""
        payload = without_none(rollback=rollback, reason=reason)
        stop = Signal.new(SignalType.STOP, payload, trace_id=trace_id, meta={"reply_to": self._inbox})
        acknowledged: dict[str, Signal] = {}
        expected = self._announcer.dendrites()
        if not expected:
            timeout_s = min(timeout_s, self._discovery_s)
        done = asyncio.Event()

        def collect(stopped: Signal) -> None:
            host = str(stopped.meta.get("dendrite", stopped.id))
            acknowledged[host] = stopped
            expected.discard(host)
            if not expected:
                done.set()

        self._collectors[stop.id] = collect
        try:
            await self._link.send_or_raise(self._link.subjects.broadcast(SignalType.STOP), stop)
            # A Dendrite that does not answer in time is missing from the result.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await done.wait()
        finally:
            del self._collectors[stop.id]
        return list(acknowledged.values())

    def receive(self, stopped: Signal) -> None:
        """Handle a STOPPED from the inbox."""
        collect = self._collectors.get(stopped.parent_id or "")
        if collect is not None:
            collect(stopped)
