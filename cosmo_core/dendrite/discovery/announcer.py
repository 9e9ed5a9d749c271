"""Announces who is hosted here, answers who asks for them, and listens to the announcements of others."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, Any

from cosmo_core.errors import SynapseError
from cosmo_core.protocol.payloads import given
from cosmo_core.protocol.signal import Signal
from cosmo_core.protocol.signal_type import SignalType

if TYPE_CHECKING:
    from cosmo_core.contracts.clock import Clock
    from cosmo_core.dendrite.discovery.directory import View
    from cosmo_core.dendrite.discovery.hosted_entity import Resident, Room
    from cosmo_core.dendrite.transport.link import Link

logger = logging.getLogger("cosmo_core.dendrite")


class Presence:
    """Speaks for the Neurons and Engrams of one Dendrite, and listens to those of all others.

    Args:
        link: The way to the bus.
        views: Where announcements are kept.
        inbox: What tells this Dendrite from others; answers to its DISCOVER come there.
        rooms: Where somebody is hosted; read anew at every announcement.
        clock: Says when to announce it again.
        heartbeat_s: Seconds between announcements.
    """

    def __init__(
        self,
        link: Link,
        views: Sequence[View],
        *,
        inbox: str,
        rooms: Sequence[Room],
        clock: Clock,
        heartbeat_s: float,
    ) -> None:
        self._link = link
        self._views = views
        self._inbox = inbox
        self._rooms = rooms
        self._clock = clock
        self._heartbeat_s = heartbeat_s
        self._draining = False
        # Still hosted, to finish what runs.
        self._leaving: set[str] = set()

    async def start(self) -> None:
        """Listen, announce who is hosted here, and ask who else is there."""
        everyone = self._link.subjects.everyone
        for type in (SignalType.REGISTER, SignalType.HEARTBEAT, SignalType.DEREGISTER):
            await self._link.listen(everyone(type), self.take)
        await self._link.listen(everyone(SignalType.DISCOVER), self._answer)
        await self._announce(SignalType.REGISTER)
        await self.discover({})

    def take(self, signal: Signal) -> None:
        """Read a REGISTER, HEARTBEAT or DEREGISTER."""
        for view in self._views:
            view.take(signal)

    async def introduce(self, resident: Resident) -> None:
        """Announce one that came while the Dendrite runs."""
        if not self._draining:
            await self._announce_one(resident, SignalType.REGISTER)

    async def retire(self, resident: Resident) -> None:
        """Say that one takes no more work, while the Dendrite runs on, and announce it no more."""
        self._leaving.add(resident.id)
        await self._announce_one(resident, SignalType.HEARTBEAT, {"status": "draining"})

    async def dismiss(self, resident: Resident, reason: str | None) -> None:
        """Say that one is gone, while the Dendrite runs on."""
        self._leaving.discard(resident.id)
        await self._announce_one(resident, SignalType.DEREGISTER, given(reason=reason))

    async def leave(self, reason: str | None) -> None:
        """Say that whoever was hosted here is gone."""
        await self._try_announce(SignalType.DEREGISTER, given(reason=reason))

    async def drain(self) -> None:
        """Say that whoever is hosted here takes no more work, and keep quiet when asked."""
        self._draining = True
        await self._try_announce(SignalType.HEARTBEAT, {"status": "draining"})

    async def beat(self) -> None:
        """Announce who is hosted here and forget who fell silent, at every heartbeat, until cancelled."""
        while True:
            await self._clock.sleep(self._heartbeat_s)
            for view in self._views:
                view.sweep()
            if self._draining:
                continue
            await self._try_announce(SignalType.REGISTER)
            await self._try_announce(SignalType.HEARTBEAT, {"status": "ok"})

    async def discover(self, wish: dict[str, Any]) -> None:
        """Ask who is there, or who fits the payload of a DISCOVER."""
        signal = Signal.new(SignalType.DISCOVER, wish, meta={"reply_to": self._inbox})
        await self._link.send(self._link.subjects.everyone(SignalType.DISCOVER), signal)

    async def _try_announce(self, type: SignalType, payload: dict[str, Any] | None = None) -> None:
        try:
            await self._announce(type, payload)
        except SynapseError as error:
            # Others notice the silence; here, a bus that is gone must not stop what does not need it.
            logger.warning("%s not announced: %s", type.value, error)
        except Exception:
            logger.exception("%s not announced: a middleware failed", type.value)

    def _answer(self, discover: Signal) -> Awaitable[None] | None:
        wanted = set(discover.payload.get("capabilities") or ())
        asked = [
            resident
            for resident in self._announced()
            if discover.payload.get("neuron") in {None, resident.id}
            and wanted.issubset(resident.directed.capabilities)
        ]
        return self._introduce(asked, discover) if asked and not self._draining else None

    async def _introduce(self, residents: Sequence[Resident], discover: Signal) -> None:
        subject = self._link.subjects.reply(SignalType.REGISTER, discover.meta.get("reply_to"))
        for resident in residents:
            if self._draining or not self._announces(resident):
                continue
            answer = discover.reply(
                SignalType.REGISTER,
                resident.registration,
                directed=resident.directed,
                meta=self._meta(resident),
            )
            await self._link.send(subject, answer)

    async def _announce(self, type: SignalType, payload: dict[str, Any] | None = None) -> None:
        for resident in self._announced():
            # They come and go while each of the others is announced.
            if self._announces(resident):
                await self._announce_one(resident, type, payload)

    def _announced(self) -> list[Resident]:
        return [
            resident for room in self._rooms for resident in room.residents() if self._announces(resident)
        ]

    def _announces(self, resident: Resident) -> bool:
        return resident.id not in self._leaving and resident.served

    async def _announce_one(
        self, resident: Resident, type: SignalType, payload: dict[str, Any] | None = None
    ) -> None:
        content = resident.registration if payload is None else payload
        signal = Signal.new(type, content, directed=resident.directed, meta=self._meta(resident))
        await self._link.send(self._link.subjects.everyone(type), signal)

    def _meta(self, resident: Resident) -> dict[str, Any]:
        return {
            **resident.meta,
            "dendrite": self._inbox,
            "heartbeat_s": self._heartbeat_s,
            "load": resident.load,
        }
