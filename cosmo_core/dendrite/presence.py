"""Announces the Neurons hosted here, answers who asks for them, and finds those hosted elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, Any, Final

from cosmo_core.dendrite.pulse import PULSE_S
from cosmo_core.dendrite.view import View
from cosmo_core.errors import LifecycleError, SynapseError
from cosmo_core.payloads import given
from cosmo_core.signal import Signal
from cosmo_core.signal_type import SignalType

if TYPE_CHECKING:
    from cosmo_core.axon import Axon
    from cosmo_core.dendrite.clock import Clock
    from cosmo_core.dendrite.hosting import Host
    from cosmo_core.dendrite.link import Link

STALL_TURNS: Final = 10
"""How often the event loop may turn, after the time for an answer is up, to bring one that is there."""

logger = logging.getLogger("cosmo_core.dendrite")


class Presence:
    """Speaks for the Neurons of one Dendrite, and listens to those of all others in the namespace.

    Args:
        link: The way to the bus.
        view: Where announcements are kept.
        inbox: What tells this Dendrite from others; answers to its DISCOVER come there.
        host: What is hosted here; read anew at every announcement.
        clock: Says when to announce it again.
        heartbeat_s: Seconds between announcements.
        discovery_s: For how long an unknown Neuron is asked for before there is no route.
    """

    def __init__(
        self,
        link: Link,
        view: View,
        *,
        inbox: str,
        host: Host,
        clock: Clock,
        heartbeat_s: float,
        discovery_s: float,
    ) -> None:
        self._link = link
        self._view = view
        self._inbox = inbox
        self._host = host
        self._clock = clock
        self._heartbeat_s = heartbeat_s
        self._discovery_s = discovery_s
        self._draining = False
        self._left = False
        # Still hosted, to finish what runs.
        self._leaving: set[str] = set()

    async def start(self) -> None:
        """Listen, announce what is hosted here, and ask who else is there."""
        everyone = self._link.subjects.everyone
        for type in (SignalType.REGISTER, SignalType.HEARTBEAT, SignalType.DEREGISTER):
            await self._link.listen(everyone(type), self._view.take)
        await self._link.listen(everyone(SignalType.DISCOVER), self._answer)
        await self._announce(SignalType.REGISTER)
        await self._discover({})

    async def introduce(self, axon: Axon) -> None:
        """Announce an Axon that came while the Dendrite runs."""
        if not self._draining:
            await self._announce_one(axon, SignalType.REGISTER)

    async def retire(self, axon: Axon) -> None:
        """Say that an Axon takes no more work, while the Dendrite runs on, and announce it no more."""
        self._leaving.add(axon.neuron_id)
        await self._announce_one(axon, SignalType.HEARTBEAT, {"status": "draining"})

    async def dismiss(self, axon: Axon, reason: str | None) -> None:
        """Say that an Axon is gone, while the Dendrite runs on."""
        self._leaving.discard(axon.neuron_id)
        await self._announce_one(axon, SignalType.DEREGISTER, given(reason=reason))

    async def leave(self, reason: str | None) -> None:
        """Say that what was hosted here is gone, and let nobody wait for others any more."""
        await self._try_announce(SignalType.DEREGISTER, given(reason=reason))
        self._left = True
        self._view.wake()

    async def drain(self) -> None:
        """Say that what is hosted here takes no more work, and keep quiet when asked."""
        self._draining = True
        await self._try_announce(SignalType.HEARTBEAT, {"status": "draining"})

    async def beat(self) -> None:
        """Announce what is hosted here and forget who fell silent, at every heartbeat, until cancelled."""
        while True:
            await self._clock.sleep(self._heartbeat_s)
            self._view.sweep()
            if self._draining:
                continue
            await self._try_announce(SignalType.REGISTER)
            await self._try_announce(SignalType.HEARTBEAT, {"status": "ok"})

    async def _try_announce(self, type: SignalType, payload: dict[str, Any] | None = None) -> None:
        try:
            await self._announce(type, payload)
        except SynapseError as error:
            # Others notice the silence; here, a bus that is gone must not stop what does not need it.
            logger.warning("%s not announced: %s", type.value, error)
        except Exception:
            logger.exception("%s not announced: a middleware failed", type.value)

    async def wait_until_ready(
        self, neuron: str | None, capabilities: Sequence[str], timeout_s: float
    ) -> None:
        """Return when there is a Neuron that can take such a TASK; see `Dendrite.wait_until_ready`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._discover(_wish(neuron, capabilities))
                while self._view.find(neuron, capabilities) is None:
                    await self._change()
        except TimeoutError:
            reason = self._view.no_route(neuron, capabilities)
            raise TimeoutError(f"not ready within {timeout_s} s: {reason}") from None

    async def route(self, neuron: str | None, capabilities: Sequence[str]) -> str:
        """Return the id of a live Neuron: the one named, or one that has all the capabilities.

        One that is not known is asked for, in case its announcement was missed.

        Raises:
            NoRouteError: There is none; the error names those that are known.
        """
        found = self._view.find(neuron, capabilities)
        if found is not None:
            return found
        await self._discover(_wish(neuron, capabilities))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._discovery_s):
                while self._view.find(neuron, capabilities) is None:
                    await self._change()
        # A process that stalled has answers waiting that it did not come to read.
        for _ in range(STALL_TURNS):
            if (found := self._view.find(neuron, capabilities)) is not None:
                return found
            await asyncio.sleep(0)
        raise self._view.no_route(neuron, capabilities)

    async def _change(self) -> None:
        if not self._left:
            await self._view.changed()
        if self._left:
            raise LifecycleError("the Dendrite stopped while it waited for a Neuron")

    async def _discover(self, wish: dict[str, Any]) -> None:
        signal = Signal.new(SignalType.DISCOVER, wish, meta={"reply_to": self._inbox})
        await self._link.send(self._link.subjects.everyone(SignalType.DISCOVER), signal)

    def _answer(self, discover: Signal) -> Awaitable[None] | None:
        wanted = set(discover.payload.get("capabilities") or ())
        asked = [
            axon
            for axon in self._announced()
            if discover.payload.get("neuron") in {None, axon.neuron_id} and wanted.issubset(axon.capabilities)
        ]
        return self._introduce(asked, discover) if asked and not self._draining else None

    async def _introduce(self, axons: Sequence[Axon], discover: Signal) -> None:
        subject = self._link.subjects.reply(SignalType.REGISTER, discover.meta.get("reply_to"))
        for axon in axons:
            if self._draining or not self._announces(axon):
                continue
            answer = discover.reply(
                SignalType.REGISTER, _registration(axon), directed=axon.directed, meta=self._meta(axon)
            )
            await self._link.send(subject, answer)

    async def _announce(self, type: SignalType, payload: dict[str, Any] | None = None) -> None:
        for axon in self._announced():
            # Axons come and go while each of the others is announced.
            if self._announces(axon):
                await self._announce_one(axon, type, payload)

    def _announced(self) -> list[Axon]:
        return [axon for axon in self._host if self._announces(axon)]

    def _announces(self, axon: Axon) -> bool:
        return axon.neuron_id not in self._leaving and self._host.serves(axon.neuron_id)

    async def _announce_one(
        self, axon: Axon, type: SignalType, payload: dict[str, Any] | None = None
    ) -> None:
        content = _registration(axon) if payload is None else payload
        signal = Signal.new(type, content, directed=axon.directed, meta=self._meta(axon))
        await self._link.send(self._link.subjects.everyone(type), signal)

    def _meta(self, axon: Axon) -> dict[str, Any]:
        return {
            "dendrite": self._inbox,
            "heartbeat_s": self._heartbeat_s,
            "pulse_s": PULSE_S,
            "load": self._host.load(axon.neuron_id),
        }


def _registration(axon: Axon) -> dict[str, Any]:
    return given(role="neuron", capabilities=list(axon.capabilities), version=axon.version)


def _wish(neuron: str | None, capabilities: Sequence[str]) -> dict[str, Any]:
    return given(neuron=neuron, capabilities=list(capabilities) or None)
