"""The announcer of a Dendrite's entities; it also records the announcements of others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator, Sequence
from functools import partial
from typing import Any, Final, Protocol

import msgspec

from cosmo_core.contracts.boundary import logged_failures, logger
from cosmo_core.dendrite.discovery.directory import Directory
from cosmo_core.dendrite.life_cycle import Clock
from cosmo_core.dendrite.transport.link import Link
from cosmo_core.errors import SynapseError
from cosmo_core.protocol.payloads import without_none
from cosmo_core.protocol.signal import Directed, Signal
from cosmo_core.protocol.signal_type import SignalType

SLICE: Final = 8
"""The number of announcements between two turns of the event loop."""

BATCHED_FROM: Final = 16
"""The number of entities from which on a host announces many of them in one REGISTER (P-4.20)."""

MAX_BATCH: Final = 32
"""The number of entities in one REGISTER."""

MAX_BATCH_CAPABILITIES: Final = 2_000
"""The number of capabilities from which on no further entity is added to a REGISTER: frames stay small."""

_DRAINING: Final = {"status": "draining"}


class EntityHost(Protocol):
    """A part of a Dendrite that hosts Neurons, Engrams, or other entities that are announced."""

    def entities(self) -> Sequence[HostedEntity]:
        """Return the attached entities, whether they are served yet or not."""

    def serves(self, id: str) -> bool:
        """Tell whether an entity is served."""

    def load(self, id: str) -> int:
        """Return the number of requests that an entity works on; 0 if it is not attached."""


class HostedEntity(msgspec.Struct, frozen=True):
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
    details: dict[str, Any] = {}

    @property
    def shared(self) -> tuple[str, dict[str, Any]]:
        """What entities in one REGISTER have in common."""
        return self.registration["role"], self.meta

    @property
    def key(self) -> tuple[str, str]:
        """Its role and its id: a Neuron and an Engram may have the same id."""
        return self.registration["role"], self.id


class Announcer:
    """Announces the entities of one Dendrite, answers DISCOVER, and fills the directories.

    Args:
        link: The link to the Synapse.
        inbox: The id of this Dendrite; answers to its DISCOVER arrive there.
        directories: The directories to fill.
        hosts: The hosts of the entities; read again for every announcement.
        clock: The clock of the heartbeats.
        heartbeat_s: Seconds between two announcements.
        discovery_s: Seconds in which the hosts answer DISCOVER.

    Attributes:
        listens: Whether it receives the announcements of others. A Dendrite that only works does so once it
            looks for others; until then, its directories know what it hosts itself.
    """

    def __init__(
        self,
        link: Link,
        inbox: str,
        directories: Sequence[Directory],
        hosts: Sequence[EntityHost],
        clock: Clock,
        heartbeat_s: float,
        discovery_s: float,
    ) -> None:
        self._link = link
        self._inbox = inbox
        self._directories = directories
        self._hosts = hosts
        self._clock = clock
        self._heartbeat_s = heartbeat_s
        self._discovery_s = discovery_s
        self.listens = False
        # The time of the event loop from which on the directories know all others.
        self._complete_at = 0.0
        self._lock = asyncio.Lock()
        self._beats = 0
        self._draining = False
        # The entities that accept no new work, and are hosted until their running work ends.
        self._withdrawn: dict[tuple[str, str], HostedEntity] = {}

    async def start(self, listen: bool) -> None:
        """Answer DISCOVER, and send REGISTER for each entity; with ``listen``, listen to others as well."""
        if listen:
            await self._subscribe()
        await self._link.listen(self._link.subjects.broadcast(SignalType.DISCOVER), self._answer_discover)
        for part, pause in self._parts(self._entities()):
            await self._announce(part, SignalType.REGISTER)
            if pause:
                await asyncio.sleep(0)
        if listen:
            await self._send_discover({})

    async def listen(self) -> None:
        """Begin to receive the announcements of others, and send DISCOVER, unless that was done before."""
        if self.listens:
            return
        async with self._lock:
            if not self.listens:
                await self._subscribe()
                self._complete_at = asyncio.get_running_loop().time() + self._discovery_s
                await self._send_discover({})

    async def complete(self) -> None:
        """Listen; if that has just begun, return after the hosts had the time to answer."""
        await self.listen()
        left_s = self._complete_at - asyncio.get_running_loop().time()
        if left_s > 0:
            await asyncio.sleep(left_s)

    async def _subscribe(self) -> None:
        types = (SignalType.REGISTER, SignalType.HEARTBEAT, SignalType.DEREGISTER)
        subjects = map(self._link.subjects.broadcast, types)
        await self._link.listen_all(*(partial(self._link.listen, each, self.receive) for each in subjects))
        self.listens = True

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
                for _ in iter(directory.sweep, False):
                    await asyncio.sleep(0)
            if self._draining:
                # Or others would take this host for gone while its last work runs.
                await self._announce_all(SignalType.HEARTBEAT, _DRAINING)
            elif len(self._entities()) < BATCHED_FROM:
                await self._announce_all(SignalType.REGISTER)
                await self._announce_all(SignalType.HEARTBEAT, {"status": "ok"})
            else:
                await self._announce_all(SignalType.REGISTER, most=MAX_BATCH)
                self._beats += 1
                if self._beats % 2:
                    # A receiver that ignores the others of a batch must not take them for gone.
                    await self._announce_all(SignalType.REGISTER)
            for count, (key, entity) in enumerate(list(self._withdrawn.items()), 1):
                # It may have been deregistered while the others were announced.
                if key in self._withdrawn:
                    await self._try_announce([entity], SignalType.HEARTBEAT, _DRAINING)
                if count % SLICE == 0:
                    await asyncio.sleep(0)

    async def discover(self, criteria: dict[str, Any]) -> None:
        """Listen, and send DISCOVER with the payload ``criteria``; an empty one matches every entity."""
        await self.listen()
        await self._send_discover(criteria)

    async def _send_discover(self, criteria: dict[str, Any]) -> None:
        meta = {"reply_to": self._inbox, "batches": True}
        signal = Signal.new(SignalType.DISCOVER, criteria, meta=meta)
        await self._link.send(self._link.subjects.broadcast(SignalType.DISCOVER), signal)

    # --- one entity, while the Dendrite runs --------------------------------------------------------

    async def register(self, entity: HostedEntity) -> None:
        """Send REGISTER for an entity that was added."""
        # It may have been detached meanwhile.
        if not self._draining and self._is_announced(entity):
            await self._announce([entity], SignalType.REGISTER)

    async def withdraw(self, entity: HostedEntity) -> None:
        """Announce that an entity drains, and stop announcing it."""
        self._withdrawn[entity.key] = entity
        await self._announce([entity], SignalType.HEARTBEAT, _DRAINING)

    async def deregister(self, entity: HostedEntity, reason: str | None) -> None:
        """Send DEREGISTER for an entity that was withdrawn and has ended."""
        self._withdrawn.pop(entity.key, None)
        await self._announce([entity], SignalType.DEREGISTER, without_none(reason=reason))

    # --- all entities, when the Dendrite stops ------------------------------------------------------

    async def withdraw_all(self) -> None:
        """Announce that every entity drains, and stop answering DISCOVER."""
        self._draining = True
        await self._announce_all(SignalType.HEARTBEAT, _DRAINING)

    async def deregister_all(self, reason: str | None) -> None:
        """Send DEREGISTER for every entity."""
        await self._announce_all(SignalType.DEREGISTER, without_none(reason=reason))

    async def _announce_all(
        self, type: SignalType, payload: dict[str, Any] | None = None, most: int = 1
    ) -> None:
        for part, pause in self._parts(self._entities(), most):
            if not await self._try_announce(part, type, payload):
                return
            if pause:
                await asyncio.sleep(0)

    async def _try_announce(
        self, entities: Sequence[HostedEntity], type: SignalType, payload: dict[str, Any] | None
    ) -> bool:
        """Announce entities in one Signal; tell whether the bus can be reached for the next one."""
        try:
            await self._announce(entities, type, payload)
        except SynapseError as error:
            # The records of others expire. A lost bus must not end work that does not need it.
            logger.warning("%s could not be sent: %s", type.value, error)
            return False
        except Exception:
            logger.exception("%s of %r could not be sent: a middleware failed", type.value, entities[0].id)
        return True

    def _parts(
        self, entities: Sequence[HostedEntity], most: int = 1
    ) -> Iterator[tuple[list[HostedEntity], bool]]:
        """Yield the entities of each announcement, and whether the event loop gets a turn after it.

        It yields the entities that are still announced then: they may be withdrawn in such a turn.
        """
        draining, part, capabilities, sent = self._draining, list[HostedEntity](), 0, 0
        for entity in entities:
            full = len(part) >= most or capabilities >= MAX_BATCH_CAPABILITIES
            if part and (full or entity.shared != part[0].shared):
                sent += 1
                yield part, most > 1 or sent % SLICE == 0
                part, capabilities = [], 0
            if self._draining is not draining:
                return
            if self._is_announced(entity):
                part.append(entity)
                capabilities += len(entity.directed.capabilities)
        if part:
            yield part, most > 1 or (sent + 1) % SLICE == 0

    def _entities(self) -> list[HostedEntity]:
        entities: list[HostedEntity] = []
        for host in self._hosts:
            with logged_failures("%r could not tell what it hosts, and is not announced", host):
                entities.extend(host.entities())
        return entities

    def _is_announced(self, entity: HostedEntity) -> bool:
        served = False
        with logged_failures("%r could not tell whether it serves %r", entity.host, entity.id):
            served = entity.host.serves(entity.id)
        return served and entity.key not in self._withdrawn

    async def _announce(
        self, entities: Sequence[HostedEntity], type: SignalType, payload: dict[str, Any] | None = None
    ) -> None:
        content = self._registration(entities) if payload is None else payload
        signal = Signal.new(type, content, directed=entities[0].directed, meta=self._meta(entities[0]))
        await self._link.send(self._link.subjects.broadcast(type), signal)
        if not self.listens:
            self.receive(signal)

    def _registration(self, entities: Sequence[HostedEntity]) -> dict[str, Any]:
        """Return the payload of a REGISTER for the first entity, which announces the others too (P-4.19)."""
        first, *others = entities
        described = [
            without_none(
                id=each.id,
                capabilities=each.registration["capabilities"],
                version=each.registration.get("version"),
                load=self._load(each),
            )
            for each in others
        ]
        return {**first.registration, "others": described} if others else first.registration

    def _meta(self, entity: HostedEntity) -> dict[str, Any]:
        return {
            **entity.meta,
            "role": entity.registration["role"],
            "dendrite": self._inbox,
            "heartbeat_s": self._heartbeat_s,
            "load": self._load(entity),
        }

    def _load(self, entity: HostedEntity) -> int:
        load = 0
        with logged_failures("%r could not tell the load of %r", entity.host, entity.id):
            load = entity.host.load(entity.id)
        return load  # noqa: RET504 - a return inside would make this unreachable for mypy

    # --- answering DISCOVER -------------------------------------------------------------------------

    def _answer_discover(self, discover: Signal) -> Awaitable[None] | None:
        neuron, wanted = discover.payload.get("neuron"), set(discover.payload.get("capabilities") or ())
        matching = [
            entity
            for entity in self._entities()
            if (neuron is None or neuron == entity.id)
            and (not wanted or wanted.issubset(entity.directed.capabilities))
        ]
        return self._register_with(matching, discover) if matching and not self._draining else None

    async def _register_with(self, entities: Sequence[HostedEntity], discover: Signal) -> None:
        subject = self._link.subjects.reply(SignalType.REGISTER, discover.meta.get("reply_to"))
        # Of all Neurons at once, they could be many times larger than the request.
        detailed = discover.payload.get("details") and discover.payload.get("neuron") is not None
        batched = discover.meta.get("batches") is True and len(entities) >= BATCHED_FROM
        for part, pause in self._parts(entities, MAX_BATCH if batched else 1):
            registration = self._registration(part)
            answer = discover.reply(
                SignalType.REGISTER,
                {**registration, **part[0].details} if detailed else registration,
                directed=part[0].directed,
                meta=self._meta(part[0]),
            )
            await self._link.send(subject, answer)
            if pause:
                await asyncio.sleep(0)
