"""Synapses that break requirements on queue groups, handlers and undelivered frames."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from tests.conformance.synapse_double import Consumer, Delivery, Double, DurableDouble, breaks

from cosmo_core import DeadLetter, HeldFrame, UndeliveredHandler


@breaks("synapse:group-one", "went to the group")
class GivesToAll(Double):
    def add(self, consumer: Consumer) -> None:
        self.bus.table.add(consumer.pattern, consumer)


@breaks("synapse:group-fair", "the members got [300, 0, 0]")
class AlwaysTheFirst(Double):
    def choose(self, members: tuple[Consumer, ...], next_one: Consumer) -> Consumer:
        return members[0]


@breaks("synapse:group-beside-plain", "of 30 frames came within")
class GroupsFirst(Double):
    def deliveries_for(
        self, subject: str, frame: bytes, undelivered: UndeliveredHandler | None = None
    ) -> list[Delivery]:
        groups = self.bus.table.route(subject).groups
        if groups:
            return [Delivery(subject, frame, group.name, undelivered) for group in groups]
        return super().deliveries_for(subject, frame, undelivered)


@breaks("synapse:group-each", "of 30 frames came within")
class OneGroupOnly(Double):
    def deliveries_for(
        self, subject: str, frame: bytes, undelivered: UndeliveredHandler | None = None
    ) -> list[Delivery]:
        return super().deliveries_for(subject, frame, undelivered)[:1]


@breaks("synapse:group-patterns", "90 came, 30 different")
class OneGroupPerPattern(Double):
    def add(self, consumer: Consumer) -> None:
        if consumer.group is not None:
            suffix = consumer.pattern.replace(".", "_").replace("*", "s").replace(">", "a")
            consumer.group = f"{consumer.group}-{suffix}"
        super().add(consumer)


@breaks("synapse:group-leaving", "frames came within")
class RemembersMembers(Double):
    def remove(self, consumer: Consumer) -> None:
        if consumer.group is None:
            super().remove(consumer)


@breaks("synapse:group-holds-back", "of 170 frames were ever handled")
class DropsForFullGroups(Double):
    async def deliver(self, delivery: Delivery) -> None:
        if not self.try_deliver(delivery):
            await asyncio.Event().wait() if delivery.frame == b"169" else None


@breaks("synapse:group-holds-back", "frames were accepted, with a capacity of")
class TakesWithoutEnd(Double):
    async def deliver(self, delivery: Delivery) -> None:
        self.redeliver(delivery)


class Raising(Consumer):
    def start(self, frame: bytes, delivery: Delivery | None = None) -> None:
        result = self.handler(frame)
        if result is not None:
            self.working[asyncio.ensure_future(result)] = delivery


@breaks("synapse:handler-raises", "the Synapse raised RuntimeError")
class LetsHandlersRaise(Double):
    consumer_type = Raising


class InAThread(Consumer):
    def start(self, frame: bytes, delivery: Delivery | None = None) -> None:
        def call() -> None:
            async def work() -> None:
                result = self.handler(frame)
                if result is not None:
                    await result

            asyncio.run(work())

        thread = threading.Thread(target=call)
        thread.start()
        thread.join()


@breaks("synapse:handler-loop", "another event loop or thread")
class CallsHandlersInThreads(Double):
    consumer_type = InAThread


@breaks("synapse:handler-publishes", "of 1 frames came")
class OneAtATime(Double):
    async def publish(self, subject: str, frame: bytes, **options: Any) -> None:
        busy = asyncio.current_task() in [work for each in self.consumers for work in each.working]
        if busy:
            await asyncio.Event().wait()
        await super().publish(subject, frame, **options)


@breaks("synapse:slow-bounded", "the handler had")
class Unbounded(Double):
    in_flight = 10**9


class HoldsAll(Consumer):
    def hold(self, frame: bytes) -> None:
        self.pending.append(frame)


@breaks("synapse:slow-bounded", "frames were kept")
class KeepsAll(Double):
    consumer_type = HoldsAll


@breaks("synapse:slow-bounded", "publishing to a handler that is stuck did not end")
class WaitsForTheSlow(Double):
    async def publish(self, subject: str, frame: bytes, **options: Any) -> None:
        while any(not consumer.has_capacity for consumer in self.bus.table.route(subject).targets):
            self.bus.capacity.clear()
            await self.bus.capacity.wait()
        await super().publish(subject, frame, **options)


class Uncounted(Consumer):
    def hold(self, frame: bytes) -> None:
        super().hold(frame)
        self.dropped = 0


@breaks("synapse:slow-counted", "and 0 counted as dropped")
class DropsInSilence(Double):
    consumer_type = Uncounted


class Overcounted(Consumer):
    def hold(self, frame: bytes) -> None:
        super().hold(frame)
        self.dropped += 1


@breaks("synapse:slow-counted", "counted as dropped")
class CountsTooMuch(Double):
    consumer_type = Overcounted


@breaks("synapse:slow-others", "came")
class DropsForAll(Double):
    def deliveries_for(
        self, subject: str, frame: bytes, undelivered: UndeliveredHandler | None = None
    ) -> list[Delivery]:
        if any(not consumer.has_capacity for consumer in self.bus.table.route(subject).targets):
            return []
        return super().deliveries_for(subject, frame, undelivered)


@breaks("synapse:congest-others", "publishing beside a congested peer did not end")
class WaitsForTheCongested(WaitsForTheSlow):
    pass


@breaks("synapse:undelivered-no-consumers", "undelivered: 0 of 10")
class TellsNobody(Double):
    async def publish(self, subject: str, frame: bytes, **options: Any) -> None:
        await super().publish(subject, frame)


class Telling(Double):
    """One that can be broken where it tells."""

    def told(self, undelivered: UndeliveredHandler) -> UndeliveredHandler:
        return undelivered

    async def publish(
        self,
        subject: str,
        frame: bytes,
        *,
        undelivered: UndeliveredHandler | None = None,
        message_id: str | None = None,
    ) -> None:
        undelivered = None if undelivered is None else self.told(undelivered)
        await super().publish(subject, frame, undelivered=undelivered)


@breaks("synapse:undelivered-once", "were for a frame that had been reported")
class TellsTwice(Telling):
    def told(self, undelivered: UndeliveredHandler) -> UndeliveredHandler:
        def twice(frame: bytes, why: Any) -> None:
            undelivered(frame, why)
            undelivered(frame, why)

        return twice


@breaks("synapse:undelivered-once", "outside the event loop")
class TellsFromAThread(Telling):
    def told(self, undelivered: UndeliveredHandler) -> UndeliveredHandler:
        def elsewhere(frame: bytes, why: Any) -> None:
            thread = threading.Thread(target=undelivered, args=(frame, why))
            thread.start()
            thread.join()

        return elsewhere


@breaks("synapse:undelivered-silent", "all frames were handled")
class TellsThoughDelivered(Double):
    def on_done(self, delivery: Delivery | None, error: BaseException | None) -> None:
        if delivery is not None and delivery.undelivered is not None and error is None:
            delivery.undelivered(delivery.frame, "lost")
        super().on_done(delivery, error)


@breaks("synapse:undelivered-silent", "undelivered got ['no_consumers']")
class CountsOnlyGroups(Double):
    def deliveries_for(
        self, subject: str, frame: bytes, undelivered: UndeliveredHandler | None = None
    ) -> list[Delivery]:
        deliveries = super().deliveries_for(subject, frame, undelivered)
        if undelivered is not None and self.bus.table.route(subject).targets and not deliveries:
            undelivered(frame, "no_consumers")
        return deliveries


@breaks("synapse:undelivered-overloaded", "publish(undelivered=…) did not end")
class WaitsAllTheSame(Double):
    async def deliver(self, delivery: Delivery) -> None:
        while not self.try_deliver(delivery):
            self.bus.capacity.clear()
            await self.bus.capacity.wait()


@breaks("synapse:again-failed", "1 frames came")
class NeverAgain(Double):
    def on_done(self, delivery: Delivery | None, error: BaseException | None) -> None:
        """Whatever became of it."""


@breaks("synapse:again-dead", "the frame was delivered 30 times")
class AgainAndAgain(Double):
    def on_done(self, delivery: Delivery | None, error: BaseException | None) -> None:
        if delivery is not None and error is not None and delivery.deliveries < 30:
            self.redeliver(delivery)
        else:
            super().on_done(delivery, error)


@breaks("synapse:again-dead", "the frame is 0 times among the dead letters")
class BuriesNothing(Double):
    async def dead_letters(self) -> list[DeadLetter]:
        return []


@breaks("synapse:again-done", "another member got")
class NeverBelievesIt(Double):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.finished: list[Delivery] = []

    def on_done(self, delivery: Delivery | None, error: BaseException | None) -> None:
        if delivery is not None and error is None:
            self.finished.append(delivery)
        super().on_done(delivery, error)

    async def close(self) -> None:
        await super().close()
        for delivery in self.finished:
            self.redeliver(delivery)


@breaks("synapse:again-closed", "of 3 frames came within")
class ClosesWithItsWork(Double):
    def requeue(self, consumer: Consumer) -> None:
        consumer.working = dict.fromkeys(consumer.working)


@breaks("synapse:again-held", "reports 0.00 s")
class CountsFromTheLastTime(Double):
    def redeliver(self, delivery: Delivery) -> None:
        delivery.since = self.loop.time()
        super().redeliver(delivery)


@breaks("synapse:again-held", "a frame that was held for at most 0.3")
class CountsInMilliseconds(Double):
    def with_held_time(self, delivery: Delivery) -> bytes:
        return HeldFrame(delivery.frame, 1000 * (self.loop.time() - delivery.since))


@breaks("synapse:again-lost", "undelivered: 0 of 1 frames came")
class LosesInSilence(Double):
    def handle_no_member(self, delivery: Delivery) -> None:
        if not delivery.deliveries:
            super().handle_no_member(delivery)


@breaks("synapse:dendrite-round-trip", "WORKER_LOST")
class LosesAnswers(Double):
    async def publish(self, subject: str, frame: bytes, **options: Any) -> None:
        if "AGENT_OUTPUT" not in subject:
            await super().publish(subject, frame, **options)


@breaks("synapse:dendrite-backpressure", "deltas came, and")
class DropsForSlowReaders(Double):
    async def deliver(self, delivery: Delivery) -> None:
        if not self.try_deliver(delivery):
            self.bus.capacity.clear()
            await self.bus.capacity.wait()


@breaks("synapse:dendrite-backpressure", "nothing was read, and the Neuron streamed all")
class KeepsAllForSlowReaders(Double):
    async def deliver(self, delivery: Delivery) -> None:
        if not self.try_deliver(delivery):
            self.redeliver(delivery)


@breaks("synapse:dendrite-stop", "0 of 1 frames came")
class LosesGoodbyes(Double):
    async def publish(self, subject: str, frame: bytes, **options: Any) -> None:
        if "DEREGISTER" not in subject:
            await super().publish(subject, frame, **options)


@breaks("synapse:durable-waits", "of 10 frames came within")
class WaitsForNobody(DurableDouble):
    def handle_no_member(self, delivery: Delivery) -> None:
        """Drop the frame instead of keeping it."""


@breaks("synapse:durable-held", "reports 0.00 s")
class SaysNothingOfIt(DurableDouble):
    def with_held_time(self, delivery: Delivery) -> bytes:
        return delivery.frame


@breaks("synapse:durable-once", "1001 came")
class StoresEveryOne(DurableDouble):
    async def publish(
        self,
        subject: str,
        frame: bytes,
        *,
        undelivered: UndeliveredHandler | None = None,
        message_id: str | None = None,
    ) -> None:
        await super().publish(subject, frame, undelivered=undelivered)


@breaks("synapse:durable-once", "0 of 1 frames came within")
class StoresEqualFramesOnce(DurableDouble):
    async def publish(
        self,
        subject: str,
        frame: bytes,
        *,
        undelivered: UndeliveredHandler | None = None,
        message_id: str | None = None,
    ) -> None:
        await super().publish(subject, frame, undelivered=undelivered, message_id=message_id and repr(frame))
