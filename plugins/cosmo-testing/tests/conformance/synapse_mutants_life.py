"""Synapses that connect, close or subscribe badly, or leave something behind."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import Any

import msgspec
from tests.conformance.synapse_double import MUTANTS, Consumer, Double, breaks

from cosmo_core import FrameHandler


@breaks("synapse:shape", "max_deliveries is 0")
class PromisesNonsense(Double):
    guarantees = msgspec.structs.replace(Double.guarantees, max_deliveries=0)


@breaks("synapse:connect-twice", "came")
class SubscribesAgainOnConnect(Double):
    async def connect(self) -> None:
        await super().connect()
        for consumer in list(self.consumers):
            await self.subscribe(consumer.pattern, consumer.handler)


@breaks("synapse:connect-again", "a handler from before close() got")
class ComesBackWithEverything(Double):
    async def close(self) -> None:
        before = list(self.consumers)
        await super().close()
        self.before = before

    async def connect(self) -> None:
        await super().connect()
        for consumer in getattr(self, "before", ()):
            self.add(consumer)
            MUTANTS.cleanups.append(lambda consumer=consumer: self.remove(consumer))  # type: ignore[misc]


@breaks("synapse:close-twice", "RuntimeError: closed already")
class ClosesOnce(Double):
    closed = False

    async def close(self) -> None:
        if self.closed:
            raise RuntimeError("closed already")
        self.closed = True
        await super().close()


@breaks("synapse:publish-closed", "ended in None")
class IgnoresPublishAfterClose(Double):
    async def publish(self, subject: str, frame: bytes, **options: Any) -> None:
        if self.connected:
            await super().publish(subject, frame, **options)


@breaks("synapse:subscribe-closed", "ended in None")
class SubscribesWhenClosed(Double):
    async def subscribe(
        self, pattern: str, handler: FrameHandler, *, queue_group: str | None = None
    ) -> Consumer:
        if self.connected:
            return await super().subscribe(pattern, handler, queue_group=queue_group)
        return Consumer(self, pattern, handler, queue_group)


@breaks("synapse:close-ends-deliveries", "after close() it got")
class DeliversAfterClose(Double):
    async def close(self) -> None:
        self.connected = False


@breaks("synapse:close-leaves-nothing", "tasks still run")
class LeavesATask(Double):
    async def connect(self) -> None:
        await super().connect()
        MUTANTS.cleanups.append(asyncio.ensure_future(asyncio.Event().wait()).cancel)


@breaks("synapse:close-leaves-nothing", "these are left")
class LeavesASocket(Double):
    async def connect(self) -> None:
        await super().connect()
        for end in socket.socketpair():
            MUTANTS.cleanups.append(end.close)


@breaks("synapse:close-leaves-nothing", "these are left")
class LeavesAThread(Double):
    async def connect(self) -> None:
        await super().connect()
        on_done = threading.Event()
        threading.Thread(target=on_done.wait, daemon=True).start()
        MUTANTS.cleanups.append(on_done.set)


@breaks("synapse:close-others", "frames came within")
class TakesEverybodyAlong(Double):
    async def close(self) -> None:
        for other in self.bus.synapses - {self}:
            for consumer in other.consumers:
                self.bus.table.remove(consumer.pattern, consumer, consumer.group)
        await super().close()


@breaks("synapse:secrets", "secrets[0] is in its repr")
class ShowsItself(Double):
    def __repr__(self) -> str:
        return f"<Double {self.password}>"


@breaks("synapse:cancel-publish", "that was cancelled still runs")
class SwallowsCancellation(Double):
    async def publish(self, subject: str, frame: bytes, **options: Any) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await super().publish(subject, frame, **options)


@breaks("synapse:cancel-subscribe", "although their subscribe was cancelled")
class KeepsWhatWasCancelled(Double):
    async def subscribe(
        self, pattern: str, handler: FrameHandler, *, queue_group: str | None = None
    ) -> Consumer:
        consumer = await super().subscribe(pattern, handler, queue_group=queue_group)
        for _ in range(3):
            turned = self.loop.create_future()
            self.loop.call_soon(turned.set_result, None)
            await turned
        return consumer


@breaks("synapse:subscribe-confirmed", "0 of 1 frames came")
class JoinsSlowly(Double):
    def add(self, consumer: Consumer) -> None:
        self.loop.call_later(0.01, super().add, consumer)


@breaks("synapse:subscribe-many", "tasks were left")
class ATaskForEach(Double):
    def add(self, consumer: Consumer) -> None:
        super().add(consumer)
        MUTANTS.cleanups.append(asyncio.ensure_future(asyncio.Event().wait()).cancel)


@breaks("synapse:subscribe-same", "of 2 frames came")
class OnePlacePerHandler(Double):
    def add(self, consumer: Consumer) -> None:
        if all(other.handler is not consumer.handler for other in self.consumers):
            super().add(consumer)


@breaks("synapse:unsubscribe", "after unsubscribe returned came")
class DeliversAfterUnsubscribe(Double):
    def remove(self, consumer: Consumer) -> None:
        MUTANTS.cleanups.append(lambda: super(DeliversAfterUnsubscribe, self).remove(consumer))


@breaks("synapse:unsubscribe-twice", "the Synapse raised KeyError")
class UnsubscribesOnce(Double):
    def remove(self, consumer: Consumer) -> None:
        if self.connected:
            del self.consumers[consumer]
        super().remove(consumer)


@breaks("synapse:unsubscribe-others", "0 of 1 frames came")
class UnsubscribesTheSubject(Double):
    def remove(self, consumer: Consumer) -> None:
        for other in list(self.consumers):
            if other.pattern == consumer.pattern:
                super().remove(other)


class CancelsItsWork(Consumer):
    async def unsubscribe(self) -> None:
        await super().unsubscribe()
        for work in self.working:
            work.cancel()


@breaks("synapse:unsubscribe-working", "frames were ever handled")
class CancelsWhatItWorksOn(Double):
    consumer_type = CancelsItsWork


class WaitsForItsWork(Consumer):
    async def unsubscribe(self) -> None:
        await super().unsubscribe()
        while self.working:
            await asyncio.wait(self.working)


@breaks("synapse:handler-unsubscribes", "of 1 frames came")
class UnsubscribeWaits(Double):
    consumer_type = WaitsForItsWork


@breaks("synapse:sever-recovers", "the recovery of")
class ForgetsItsSubscriptions(Double):
    def reconnect(self) -> None:
        self.link.set()


@breaks("synapse:restart-recovers", "the recovery of")
class NeverComesBack(Double):
    def sever(self) -> None:
        super().sever()
        self.connected = False


@breaks("synapse:sever-takeover", "no member finished [b'0', b'1', b'2']")
class LosesWhatIsSevered(Double):
    def requeue(self, consumer: Consumer) -> None:
        working, consumer.working = consumer.working, dict.fromkeys(consumer.working)
        for work in working:
            work.cancel()


@breaks("synapse:sever-takeover", "undelivered got ['lost'")
class GivesUpWhatIsSevered(Double):
    def requeue(self, consumer: Consumer) -> None:
        for delivery in consumer.working.values():
            if delivery is not None and delivery.undelivered is not None:
                delivery.undelivered(delivery.frame, "lost")
        super().requeue(consumer)
