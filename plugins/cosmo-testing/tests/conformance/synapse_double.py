"""A correct Synapse inside the process, and its claims."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar

import attrs
import msgspec

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
from cosmo_testing.conformance.mutants import Mutants
from cosmo_testing.synapses.checks import KIT
from cosmo_testing.synapses.checks.subjects import matches

IN_FLIGHT = 64
PENDING = 16
PASSWORD = "hunter2-hunter2"


@attrs.define(eq=False)
class Delivery:
    """A frame for a queue group."""

    subject: str
    frame: bytes
    group: str
    undelivered: UndeliveredHandler | None
    since: float = attrs.field(factory=lambda: asyncio.get_running_loop().time())
    deliveries: int = 0


class Consumer:
    """One subscription."""

    def __init__(self, synapse: Double, pattern: str, handler: FrameHandler, group: str | None) -> None:
        self.synapse = synapse
        self.pattern = pattern
        self.handler = handler
        self.group = group
        self.dropped = 0
        self.congested = False
        self.pending: deque[bytes] = deque()
        self.working: dict[asyncio.Future[None], Delivery | None] = {}

    @property
    def has_capacity(self) -> bool:
        return len(self.working) < self.synapse.in_flight and not self.congested

    def offer(self, frame: bytes) -> None:
        if self.has_capacity:
            self.start(frame)
        else:
            self.hold(frame)

    def hold(self, frame: bytes) -> None:
        self.pending.append(frame)
        if len(self.pending) > PENDING:
            self.pending.popleft()
            self.dropped += 1

    def start(self, frame: bytes, delivery: Delivery | None = None) -> None:
        try:
            result = self.handler(frame)
        except Exception as error:  # noqa: BLE001 - whatever a handler raises is its own business
            self.synapse.on_done(delivery, error)
            return
        if result is None:
            self.synapse.on_done(delivery, None)
            return
        work = asyncio.ensure_future(result)
        self.working[work] = delivery
        work.add_done_callback(self.finish)

    def finish(self, work: asyncio.Future[None]) -> None:
        error = asyncio.CancelledError() if work.cancelled() else work.exception()
        self.synapse.on_done(self.working.pop(work, None), error)
        self.refill()

    def refill(self) -> None:
        while self.pending and self.has_capacity:
            self.start(self.pending.popleft())
        self.synapse.bus.retry()

    async def unsubscribe(self) -> None:
        self.synapse.remove(self)
        self.pending.clear()


class Bus:
    """The state that Synapses share."""

    def __init__(self) -> None:
        self.table: SubjectTable[Consumer] = SubjectTable()
        self.synapses: set[Double] = set()
        self.known: set[tuple[str, str]] = set()
        self.waiting: list[tuple[Double, Delivery]] = []
        self.dead: list[DeadLetter] = []
        self.stored: set[str] = set()
        self.capacity = asyncio.Event()
        self.loop = asyncio.get_running_loop()

    def retry(self) -> None:
        self.capacity.set()
        waiting, self.waiting = self.waiting, []
        for synapse, delivery in waiting:
            synapse.redeliver(delivery)


class Double:
    """A correct Synapse, in as few lines as that takes."""

    guarantees = Guarantees(delivery="at-least-once", takeover_s=0.5, max_deliveries=3, max_frame=100_000)
    in_flight = IN_FLIGHT
    consumer_type: type[Consumer] = Consumer

    def __init__(self, bus: Bus, password: str = "") -> None:
        self.bus = bus
        self.password = password
        self.connected = False
        self.link = asyncio.Event()
        self.consumers: dict[Consumer, None] = {}
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
        consumers = list(self.consumers)
        for consumer in consumers:
            await consumer.unsubscribe()
        for consumer in consumers:
            self.requeue(consumer)
            for work in consumer.working:
                work.cancel()
            others = set(consumer.working) - {asyncio.current_task()}
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
        for delivery in self.deliveries_for(subject, frame, undelivered):
            await self.deliver(delivery)

    def deliveries_for(
        self, subject: str, frame: bytes, undelivered: UndeliveredHandler | None = None
    ) -> list[Delivery]:
        route = self.bus.table.route(subject)
        for consumer in route.targets:
            consumer.offer(frame)
        groups = {group.name for group in route.groups}
        if self.guarantees.durable:
            groups |= {group for pattern, group in self.bus.known if matches(pattern, subject)}
        if not groups and not route.targets and undelivered is not None:
            undelivered(frame, "no_consumers")
        return [Delivery(subject, frame, group, undelivered) for group in groups]

    async def deliver(self, delivery: Delivery) -> None:
        while not self.try_deliver(delivery):
            if delivery.undelivered is not None:
                delivery.undelivered(delivery.frame, "overloaded")
                return
            self.bus.capacity.clear()
            await self.bus.capacity.wait()

    def try_deliver(self, delivery: Delivery) -> bool:
        """Deliver to a member with free capacity; return False if every member is full."""
        groups = self.bus.table.route(delivery.subject).groups
        group = next((group for group in groups if group.name == delivery.group), None)
        if group is None:
            self.handle_no_member(delivery)
            return True
        for _ in group.members:
            consumer = self.choose(group.members, group.pick())
            if consumer.has_capacity:
                delivery.deliveries += 1
                consumer.start(self.with_held_time(delivery), delivery)
                return True
        return False

    def with_held_time(self, delivery: Delivery) -> bytes:
        return HeldFrame(delivery.frame, self.loop.time() - delivery.since)

    def choose(self, members: tuple[Consumer, ...], next_one: Consumer) -> Consumer:
        return next_one

    def handle_no_member(self, delivery: Delivery) -> None:
        if self.guarantees.durable:
            self.bus.waiting.append((self, delivery))
        elif delivery.undelivered is not None:
            delivery.undelivered(delivery.frame, "lost" if delivery.deliveries else "no_consumers")

    def publish_from_thread(self, subject: str, frame: bytes) -> None:
        def publish() -> None:
            for delivery in self.deliveries_for(subject, frame):
                self.try_deliver(delivery)

        self.bus.loop.call_soon_threadsafe(publish)

    # --- at least once ------------------------------------------------------------------------------

    def on_done(self, delivery: Delivery | None, error: BaseException | None) -> None:
        if delivery is None or error is None:
            return
        if delivery.deliveries < self.guarantees.max_deliveries:
            self.redeliver(delivery)
            return
        self.add_dead_letter(delivery, error)
        if delivery.undelivered is not None:
            delivery.undelivered(delivery.frame, "failed")

    def add_dead_letter(self, delivery: Delivery, error: BaseException) -> None:
        self.bus.dead.append(
            DeadLetter(
                subject=delivery.subject,
                frame=delivery.frame,
                deliveries=delivery.deliveries,
                reason=repr(error),
            )
        )

    def redeliver(self, delivery: Delivery) -> None:
        if not self.try_deliver(delivery):
            self.bus.waiting.append((self, delivery))

    def requeue(self, consumer: Consumer) -> None:
        """Redeliver the unacknowledged frames of a consumer to others, and ignore its outcome."""
        deliveries = [delivery for delivery in consumer.working.values() if delivery is not None]
        consumer.working = dict.fromkeys(consumer.working)
        for delivery in deliveries:
            self.redeliver(delivery)

    async def dead_letters(self) -> list[DeadLetter]:
        return list(self.bus.dead)

    # --- subscribing --------------------------------------------------------------------------------

    async def subscribe(
        self, pattern: str, handler: FrameHandler, *, queue_group: str | None = None
    ) -> Consumer:
        self.check("subscribe")
        if queue_group is not None and not is_token(queue_group):
            raise SynapseError(f"{queue_group!r} is not a valid queue group")
        await self.link.wait()
        consumer = self.consumer_type(self, pattern, handler, queue_group)
        self.add(consumer)
        self.consumers[consumer] = None
        return consumer

    def add(self, consumer: Consumer) -> None:
        self.bus.table.add(consumer.pattern, consumer, consumer.group)
        if consumer.group is not None:
            self.bus.known.add((consumer.pattern, consumer.group))
        self.bus.retry()

    def remove(self, consumer: Consumer) -> None:
        self.consumers.pop(consumer, None)
        self.bus.table.remove(consumer.pattern, consumer, consumer.group)

    # --- faults -------------------------------------------------------------------------------------

    def sever(self) -> None:
        """Break the connection, and reconnect soon."""
        self.link.clear()
        for consumer in self.consumers:
            self.bus.table.remove(consumer.pattern, consumer, consumer.group)
        for consumer in self.consumers:
            self.requeue(consumer)
        self.loop.call_later(0.01, self.reconnect)

    def reconnect(self) -> None:
        if self.connected:
            for consumer in self.consumers:
                self.add(consumer)
        self.link.set()


class DurableDouble(Double):
    """A double that keeps frames of a queue group while it has no member."""

    guarantees = msgspec.structs.replace(Double.guarantees, durable=True)


class DoubleUnderTest(SynapseUnderTest):
    """A subject with every optional method."""

    double: type[Double] = Double
    capacity = IN_FLIGHT + PENDING
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
        for consumer in synapse.consumers:
            consumer.congested = True
        yield
        for consumer in synapse.consumers:
            consumer.congested = False
            consumer.refill()


def under_test(double: type[Double]) -> DoubleUnderTest:
    """Make the subject of a double."""
    kind = type(f"{double.__name__}UnderTest", (DoubleUnderTest,), {"double": double})
    made = kind()
    assert isinstance(made, DoubleUnderTest)
    return made


MUTANTS = Mutants(KIT)
breaks = MUTANTS.breaks
