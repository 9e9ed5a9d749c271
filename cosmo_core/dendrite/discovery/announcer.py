"""The announcer of a Dendrite's entities; it also records the announcements of others."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any, Final, Protocol

import attrs

from cosmo_core.contracts.boundary import logged_failures, logger
from cosmo_core.dendrite.discovery.directory import Directory
from cosmo_core.dendrite.life_cycle import Clock
from cosmo_core.dendrite.transport.link import Link
from cosmo_core.errors import SynapseError
from cosmo_core.protocol.payloads import without_none
from cosmo_core.protocol.signal import Directed, Signal
from cosmo_core.protocol.signal_type import SignalType

_DRAINING: Final = {"status": "draining"}


class EntityHost(Protocol):
    """A part of a Dendrite that hosts Neurons, Engrams, or other entities that are announced."""

    def entities(self) -> Sequence[HostedEntity]:
        """Return the attached entities, whether they are served yet or not."""

    def serves(self, id: str) -> bool:
        """Tell whether an entity is served."""

    def load(self, id: str) -> int:
        """Return the number of requests that an entity works on; 0 if it is not attached."""


@attrs.frozen
class HostedEntity:
    """The announcement of a Neuron or an Engram.

    Attributes:
        id: Its address.
        directed: The ``directed`` field of its announcements.
        registration: The payload of its REGISTER.
        meta: The part of every announcement's ``meta`` that describes it.
        host: The host that serves it.
        details: The part of its REGISTER that is sent only on request (P-4.17).
    """

    id: str
    directed: Directed
    registration: dict[str, Any]
    meta: dict[str, Any]
    host: EntityHost
    details: dict[str, Any] = attrs.field(factory=dict)

    @property
    def key(self) -> tuple[str, str]:
        """Its role and its id: a Neuron and an Engram may have the same id."""
        return self.registration["role"], self.id


@attrs.define(eq=False)
class Announcer:
    """Announces the entities of one Dendrite, answers DISCOVER, and fills the directories.

    Args:
        link: The link to the Synapse.
        inbox: The id of this Dendrite; answers to its DISCOVER arrive there.
        directories: The directories to fill.
        hosts: The hosts of the entities; read again for every announcement.
        clock: The clock of the heartbeats.
        heartbeat_s: Seconds between two announcements.
    """

    _link: Link
    _inbox: str
    _directories: Sequence[Directory]
    _hosts: Sequence[EntityHost]
    _clock: Clock
    _heartbeat_s: float
    _draining: bool = attrs.field(default=False, init=False)
    # The entities that accept no new work, and are hosted until their running work ends.
    _withdrawn: dict[tuple[str, str], HostedEntity] = attrs.field(factory=dict, init=False)

    async def start(self) -> None:
        """Subscribe to announcements, send REGISTER for each entity, and send DISCOVER."""
        broadcast = self._link.subjects.broadcast
        for type in (SignalType.REGISTER, SignalType.HEARTBEAT, SignalType.DEREGISTER):
            await self._link.listen(broadcast(type), self.receive)
        await self._link.listen(broadcast(SignalType.DISCOVER), self._answer_discover)
        for entity in self._announced():
            await self._announce(entity, SignalType.REGISTER)
        await self.discover({})

    def receive(self, signal: Signal) -> None:
        """Record a REGISTER, HEARTBEAT or DEREGISTER."""
        for directory in self._directories:
            directory.receive(signal)

    def dendrites(self) -> set[str]:
        """Return the ids of the Dendrites that host an entity; draining ones count."""
        return set[str]().union(*(directory.dendrites() for directory in self._directories))

    async def run(self) -> None:
        """Announce the entities and sweep the directories at every heartbeat, until cancelled."""
        while True:
            await self._clock.sleep(self._heartbeat_s)
            for directory in self._directories:
                directory.sweep()
            if self._draining:
                # Or others would take this host for gone while its last work runs.
                await self._announce_all(SignalType.HEARTBEAT, _DRAINING)
            else:
                await self._announce_all(SignalType.REGISTER)
                await self._announce_all(SignalType.HEARTBEAT, {"status": "ok"})
            for entity in list(self._withdrawn.values()):
                await self._try_announce(entity, SignalType.HEARTBEAT, _DRAINING)

    async def discover(self, criteria: dict[str, Any]) -> None:
        """Send DISCOVER with the payload ``criteria``; an empty one matches every entity."""
        signal = Signal.new(SignalType.DISCOVER, criteria, meta={"reply_to": self._inbox})
        await self._link.send(self._link.subjects.broadcast(SignalType.DISCOVER), signal)

    # --- one entity, while the Dendrite runs --------------------------------------------------------

    async def register(self, entity: HostedEntity) -> None:
        """Send REGISTER for an entity that was added."""
        # It may have been detached meanwhile.
        if not self._draining and self._is_announced(entity):
            await self._announce(entity, SignalType.REGISTER)

    async def withdraw(self, entity: HostedEntity) -> None:
        """Announce that an entity drains, and stop announcing it."""
        self._withdrawn[entity.key] = entity
        await self._announce(entity, SignalType.HEARTBEAT, _DRAINING)

    async def deregister(self, entity: HostedEntity, reason: str | None) -> None:
        """Send DEREGISTER for an entity that was withdrawn and has ended."""
        self._withdrawn.pop(entity.key, None)
        await self._announce(entity, SignalType.DEREGISTER, without_none(reason=reason))

    # --- all entities, when the Dendrite stops ------------------------------------------------------

    async def withdraw_all(self) -> None:
        """Announce that every entity drains, and stop answering DISCOVER."""
        self._draining = True
        await self._announce_all(SignalType.HEARTBEAT, _DRAINING)

    async def deregister_all(self, reason: str | None) -> None:
        """Send DEREGISTER for every entity."""
        await self._announce_all(SignalType.DEREGISTER, without_none(reason=reason))

    async def _announce_all(self, type: SignalType, payload: dict[str, Any] | None = None) -> None:
        for entity in self._announced():
            # It may have been detached while the others were announced.
            if self._is_announced(entity) and not await self._try_announce(entity, type, payload):
                return

    async def _try_announce(
        self, entity: HostedEntity, type: SignalType, payload: dict[str, Any] | None
    ) -> bool:
        """Announce an entity; tell whether the bus can be reached for the next one."""
        try:
            await self._announce(entity, type, payload)
        except SynapseError as error:
            # The records of others expire. A lost bus must not end work that does not need it.
            logger.warning("%s could not be sent: %s", type.value, error)
            return False
        except Exception:
            logger.exception("%s of %r could not be sent: a middleware failed", type.value, entity.id)
        return True

    def _announced(self) -> list[HostedEntity]:
        entities: list[HostedEntity] = []
        for host in self._hosts:
            with logged_failures("%r could not tell what it hosts, and is not announced", host):
                entities.extend(host.entities())
        return [entity for entity in entities if self._is_announced(entity)]

    def _is_announced(self, entity: HostedEntity) -> bool:
        served = False
        with logged_failures("%r could not tell whether it serves %r", entity.host, entity.id):
            served = entity.host.serves(entity.id)
        return served and entity.key not in self._withdrawn

    async def _announce(
        self, entity: HostedEntity, type: SignalType, payload: dict[str, Any] | None = None
    ) -> None:
        content = entity.registration if payload is None else payload
        signal = Signal.new(type, content, directed=entity.directed, meta=self._meta(entity))
        await self._link.send(self._link.subjects.broadcast(type), signal)

    # --- answering DISCOVER -------------------------------------------------------------------------

    def _answer_discover(self, discover: Signal) -> Awaitable[None] | None:
        wanted = set(discover.payload.get("capabilities") or ())
        matching = [
            entity
            for entity in self._announced()
            if discover.payload.get("neuron") in {None, entity.id}
            and wanted.issubset(entity.directed.capabilities)
        ]
        return self._register_with(matching, discover) if matching and not self._draining else None

    async def _register_with(self, entities: Sequence[HostedEntity], discover: Signal) -> None:
        subject = self._link.subjects.reply(SignalType.REGISTER, discover.meta.get("reply_to"))
        # Of all Neurons at once, they could be many times larger than the request.
        detailed = discover.payload.get("details") and discover.payload.get("neuron") is not None
        for entity in entities:
            if self._draining or not self._is_announced(entity):
                continue
            answer = discover.reply(
                SignalType.REGISTER,
                {**entity.registration, **entity.details} if detailed else entity.registration,
                directed=entity.directed,
                meta=self._meta(entity),
            )
            await self._link.send(subject, answer)

    def _meta(self, entity: HostedEntity) -> dict[str, Any]:
        load = 0
        with logged_failures("%r could not tell the load of %r", entity.host, entity.id):
            load = entity.host.load(entity.id)
        return {
            **entity.meta,
            "role": entity.registration["role"],
            "dendrite": self._inbox,
            "heartbeat_s": self._heartbeat_s,
            "load": load,
        }
