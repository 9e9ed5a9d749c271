"""A correct Synapse without a socket, and what the kit has to know about it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar

import attrs

from cosmo_core import (
    DeadLetter,
    FrameHandler,
    FrameTooLargeError,
    Guarantees,
    HeldFrame,
    SynapseClosedError,
    SynapseError,
    UndeliveredHandler,
)
from cosmo_core.protocol.ids import is_token
from cosmo_core.routing import SubjectTable
from cosmo_testing import SynapseUnderTest
from cosmo_testing.synapses.checks_subjects import matches

IN_FLIGHT = 64
PENDING = 16
PASSWORD = "hunter2-hunter2"


@attrs.define(eq=False)
class Letter:
    """A frame for a queue group."""

    subject: str
    frame: bytes
    group: str
    tell: UndeliveredHandler | None
    since: float = attrs.field(factory=lambda: asyncio.get_running_loop().time())
    deliveries: int = 0


class Place:
    """One subscription."""

    def __init__(self, synapse: Double, pattern: str, handler: FrameHandler, group: str | None) -> None:
        self.synapse = synapse
        self.pattern = pattern
        self.handler = handler
        self.group = group
        self.dropped = 0
        self.congested = False
        self.pending: deque[bytes] = deque()
        self.working: dict[asyncio.Future[None], Letter | None] = {}

    @property
    def has_room(self) -> bool:
        return len(self.working) < self.synapse.in_flight and not self.congested

    def offer(self, frame: bytes) -> None:
        if self.has_room:
            self.start(frame)
        else:
            self.hold(frame)

    def hold(self, frame: bytes) -> None:
        self.pending.append(frame)
        if len(self.pending) > PENDING:
            self.pending.popleft()
            self.dropped += 1

    def start(self, frame: bytes, letter: Letter | None = None) -> None:
        try:
            result = self.handler(frame)
        except Exception as error:  # noqa: BLE001 - whatever a handler raises is its own business
            self.synapse.ended(letter, error)
            return
        if result is None:
            self.synapse.ended(letter, None)
            return
        work = asyncio.ensure_future(result)
        self.working[work] = letter
        work.add_done_callback(self.finish)

    def finish(self, work: asyncio.Future[None]) -> None:
        error = asyncio.CancelledError() if work.cancelled() else work.exception()
        self.synapse.ended(self.working.pop(work, None), error)
        self.refill()

    def refill(self) -> None:
        while self.pending and self.has_room:
            self.start(self.pending.popleft())
        self.synapse.bus.retry()

    async def unsubscribe(self) -> None:
        self.synapse.remove(self)
        self.pending.clear()


class Bus:
    """What Synapses share."""

    def __init__(self) -> None:
        self.table: SubjectTable[Place] = SubjectTable()
        self.synapses: set[Double] = set()
        self.known: set[tuple[str, str]] = set()
        self.waiting: list[tuple[Double, Letter]] = []
        self.dead: list[DeadLetter] = []
        self.stored: set[str] = set()
        self.room = asyncio.Event()
        self.loop = asyncio.get_running_loop()

    def retry(self) -> None:
        self.room.set()
        waiting, self.waiting = self.waiting, []
        for synapse, letter in waiting:
            synapse.again(letter)


class Double:
    """A correct Synapse, in as few lines as that takes."""

    guarantees = Guarantees(delivery="at-least-once", takeover_s=0.5, max_deliveries=3, max_frame=100_000)
    in_flight = IN_FLIGHT
    place_type: type[Place] = Place

    def __init__(self, bus: Bus, password: str = "") -> None:
        self.bus = bus
        self.password = password
        self.connected = False
        self.link = asyncio.Event()
        self.places: dict[Place, None] = {}
        self.loop = asyncio.get_running_loop()

    def __repr__(self) -> str:
        return "<Double>"

    async def connect(self) -> None:
        self.connected = True
        self.link.set()
        self.bus.synapses.add(self)

    async def close(self) -> None:
        self.connected = False
        self.link.set()
        self.bus.synapses.discard(self)
        places = list(self.places)
        for place in places:
            await place.unsubscribe()
        for place in places:
            self.lose(place)
            for work in place.working:
                work.cancel()
            others = set(place.working) - {asyncio.current_task()}
            if others:
                await asyncio.wait(others)

    def check(self, what: str) -> None:
        if not self.connected:
            raise SynapseClosedError(f"cannot {what}: the Synapse is closed")

    # --- publishing ---------------------------------------------------------------------------------

    async def publish(
        self,
        subject: str,
        frame: bytes,
        *,
        undelivered: UndeliveredHandler | None = None,
        message_id: str | None = None,
    ) -> None:
        self.check("publish")
        if len(frame) > self.guarantees.max_frame:
            raise FrameTooLargeError(f"{len(frame)} bytes are too many")
        self.bus.table.route(subject)
        await self.link.wait()
        if self.guarantees.durable and message_id is not None:
            if message_id in self.bus.stored:
                return
            self.bus.stored.add(message_id)
        for letter in self.spread(subject, frame, undelivered):
            await self.place(letter)

    def spread(
        self, subject: str, frame: bytes, undelivered: UndeliveredHandler | None = None
    ) -> list[Letter]:
        route = self.bus.table.route(subject)
        for place in route.targets:
            place.offer(frame)
        groups = {group.name for group in route.groups}
        if self.guarantees.durable:
            groups |= {group for pattern, group in self.bus.known if matches(pattern, subject)}
        if not groups and not route.targets and undelivered is not None:
            undelivered(frame, "no_consumers")
        return [Letter(subject, frame, group, undelivered) for group in groups]

    async def place(self, letter: Letter) -> None:
        while not self.try_place(letter):
            if letter.tell is not None:
                letter.tell(letter.frame, "overloaded")
                return
            self.bus.room.clear()
            await self.bus.room.wait()

    def try_place(self, letter: Letter) -> bool:
        """Give a letter to a member with room, or tell of it if there is no member."""
        groups = self.bus.table.route(letter.subject).groups
        group = next((group for group in groups if group.name == letter.group), None)
        if group is None:
            self.abandon(letter)
            return True
        for _ in group.members:
            place = self.choose(group.members, group.pick())
            if place.has_room:
                letter.deliveries += 1
                place.start(self.handed(letter), letter)
                return True
        return False

    def handed(self, letter: Letter) -> bytes:
        return HeldFrame(letter.frame, self.loop.time() - letter.since)

    def choose(self, members: tuple[Place, ...], next_one: Place) -> Place:
        return next_one

    def abandon(self, letter: Letter) -> None:
        if self.guarantees.durable:
            self.bus.waiting.append((self, letter))
        elif letter.tell is not None:
            letter.tell(letter.frame, "lost" if letter.deliveries else "no_consumers")

    def publish_from_thread(self, subject: str, frame: bytes) -> None:
        def publish() -> None:
            for letter in self.spread(subject, frame):
                self.try_place(letter)

        self.bus.loop.call_soon_threadsafe(publish)

    # --- at least once ------------------------------------------------------------------------------

    def ended(self, letter: Letter | None, error: BaseException | None) -> None:
        if letter is None or error is None:
            return
        if letter.deliveries < self.guarantees.max_deliveries:
            self.again(letter)
            return
        self.bury(letter, error)
        if letter.tell is not None:
            letter.tell(letter.frame, "failed")

    def bury(self, letter: Letter, error: BaseException) -> None:
        self.bus.dead.append(
            DeadLetter(
                subject=letter.subject, frame=letter.frame, deliveries=letter.deliveries, reason=repr(error)
            )
        )

    def again(self, letter: Letter) -> None:
        if not self.try_place(letter):
            self.bus.waiting.append((self, letter))

    def lose(self, place: Place) -> None:
        """Give to others what a place has in work; how that ends is nobody's business any more."""
        letters = [letter for letter in place.working.values() if letter is not None]
        place.working = dict.fromkeys(place.working)
        for letter in letters:
            self.again(letter)

    async def dead_letters(self) -> list[DeadLetter]:
        return list(self.bus.dead)

    # --- subscribing --------------------------------------------------------------------------------

    async def subscribe(
        self, pattern: str, handler: FrameHandler, *, queue_group: str | None = None
    ) -> Place:
        self.check("subscribe")
        if queue_group is not None and not is_token(queue_group):
            raise SynapseError(f"{queue_group!r} is no name of a queue group")
        await self.link.wait()
        place = self.place_type(self, pattern, handler, queue_group)
        self.add(place)
        self.places[place] = None
        return place

    def add(self, place: Place) -> None:
        self.bus.table.add(place.pattern, place, place.group)
        if place.group is not None:
            self.bus.known.add((place.pattern, place.group))
        self.bus.retry()

    def remove(self, place: Place) -> None:
        self.places.pop(place, None)
        self.bus.table.remove(place.pattern, place)

    # --- faults -------------------------------------------------------------------------------------

    def sever(self) -> None:
        """Break the connection; it is made again soon."""
        self.link.clear()
        for place in self.places:
            self.bus.table.remove(place.pattern, place)
        for place in self.places:
            self.lose(place)
        self.loop.call_later(0.01, self.reconnect)

    def reconnect(self) -> None:
        if self.connected:
            for place in self.places:
                self.add(place)
        self.link.set()


class DurableDouble(Double):
    """One whose frames for a queue group wait while no member is there."""

    guarantees = attrs.evolve(Double.guarantees, durable=True)


class DoubleUnderTest(SynapseUnderTest):
    """Has everything that an author may supply."""

    double: type[Double] = Double
    room = IN_FLIGHT + PENDING
    secrets: ClassVar[tuple[str, ...]] = (PASSWORD,)

    @asynccontextmanager
    async def bus(self) -> AsyncIterator[None]:
        self._bus = Bus()
        yield

    async def connect(self) -> Double:
        synapse = self.double(self._bus, PASSWORD)
        await synapse.connect()
        return synapse

    async def inject(self, subject: str, raw: bytes) -> None:
        stranger = Double(self._bus)
        await stranger.connect()
        await stranger.publish(subject, raw)
        await stranger.close()

    async def sever(self, synapse: object) -> None:
        assert isinstance(synapse, Double)
        synapse.sever()

    async def restart(self) -> None:
        for synapse in list(self._bus.synapses):
            synapse.sever()

    @asynccontextmanager
    async def congest(self, synapse: object) -> AsyncIterator[None]:
        assert isinstance(synapse, Double)
        for place in synapse.places:
            place.congested = True
        yield
        for place in synapse.places:
            place.congested = False
            place.refill()


def under_test(double: type[Double]) -> DoubleUnderTest:
    """Make what the kit takes, of a double."""
    kind = type(f"{double.__name__}UnderTest", (DoubleUnderTest,), {"double": double})
    made = kind()
    assert isinstance(made, DoubleUnderTest)
    return made
