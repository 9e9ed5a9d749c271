"""Synapses that connect, close or subscribe badly, or leave something behind."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import Any

import attrs
from tests.conformance.synapse_double import Double, Place
from tests.conformance.synapse_mutant import LEFT, breaks

from cosmo_core import FrameHandler


@breaks("synapse:shape", "max_deliveries is 0")
class PromisesNonsense(Double):
    guarantees = attrs.evolve(Double.guarantees, max_deliveries=0)


@breaks("synapse:connect-twice", "came")
class SubscribesAgainOnConnect(Double):
    async def connect(self) -> None:
        for place in self.places:
            self.add(place)
        await super().connect()


@breaks("synapse:connect-again", "a handler from before close() got")
class ComesBackWithEverything(Double):
    async def close(self) -> None:
        before = list(self.places)
        await super().close()
        self.before = before

    async def connect(self) -> None:
        await super().connect()
        for place in getattr(self, "before", ()):
            self.add(place)
            LEFT.append(lambda place=place: self.remove(place))  # type: ignore[misc]


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
    ) -> Place:
        if self.connected:
            return await super().subscribe(pattern, handler, queue_group=queue_group)
        return Place(self, pattern, handler, queue_group)


@breaks("synapse:close-ends-deliveries", "after close() it got")
class DeliversAfterClose(Double):
    async def close(self) -> None:
        self.connected = False


@breaks("synapse:close-leaves-nothing", "tasks still run")
class LeavesATask(Double):
    async def connect(self) -> None:
        await super().connect()
        LEFT.append(asyncio.ensure_future(asyncio.Event().wait()).cancel)


@breaks("synapse:close-leaves-nothing", "there is left")
class LeavesASocket(Double):
    async def connect(self) -> None:
        await super().connect()
        for end in socket.socketpair():
            LEFT.append(end.close)


@breaks("synapse:close-leaves-nothing", "there is left")
class LeavesAThread(Double):
    async def connect(self) -> None:
        await super().connect()
        ended = threading.Event()
        threading.Thread(target=ended.wait, daemon=True).start()
        LEFT.append(ended.set)


@breaks("synapse:close-others", "frames came within")
class TakesEverybodyAlong(Double):
    async def close(self) -> None:
        for other in self.bus.synapses - {self}:
            for place in other.places:
                self.bus.table.remove(place.pattern, place)
        await super().close()


@breaks("synapse:secrets", "secrets[0] is in its repr")
class ShowsItself(Double):
    def __repr__(self) -> str:
        return f"<Double {self.password}>"


@breaks("synapse:cancel-publish", "that was cancelled goes on")
class SwallowsCancellation(Double):
    async def publish(self, subject: str, frame: bytes, **options: Any) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await super().publish(subject, frame, **options)


@breaks("synapse:cancel-subscribe", "whose subscribe was cancelled")
class KeepsWhatWasCancelled(Double):
    async def subscribe(
        self, pattern: str, handler: FrameHandler, *, queue_group: str | None = None
    ) -> Place:
        place = await super().subscribe(pattern, handler, queue_group=queue_group)
        for _ in range(3):
            turned = self.loop.create_future()
            self.loop.call_soon(turned.set_result, None)
            await turned
        return place


@breaks("synapse:subscribe-confirmed", "0 of 1 frames came")
class JoinsSlowly(Double):
    def add(self, place: Place) -> None:
        self.loop.call_later(0.01, super().add, place)


@breaks("synapse:subscribe-many", "tasks were left")
class ATaskForEach(Double):
    def add(self, place: Place) -> None:
        super().add(place)
        LEFT.append(asyncio.ensure_future(asyncio.Event().wait()).cancel)


@breaks("synapse:subscribe-same", "of 2 frames came")
class OnePlacePerHandler(Double):
    def add(self, place: Place) -> None:
        if all(other.handler is not place.handler for other in self.places):
            super().add(place)


@breaks("synapse:unsubscribe", "after unsubscribe returned came")
class DeliversAfterUnsubscribe(Double):
    def remove(self, place: Place) -> None:
        self.loop.call_later(0.05, super().remove, place)
        LEFT.append(lambda: super(DeliversAfterUnsubscribe, self).remove(place))


@breaks("synapse:unsubscribe-twice", "the Synapse raised KeyError")
class UnsubscribesOnce(Double):
    def remove(self, place: Place) -> None:
        if self.connected:
            del self.places[place]
        super().remove(place)


@breaks("synapse:unsubscribe-others", "0 of 1 frames came")
class UnsubscribesTheSubject(Double):
    def remove(self, place: Place) -> None:
        for other in list(self.places):
            if other.pattern == place.pattern:
                super().remove(other)


class CancelsItsWork(Place):
    async def unsubscribe(self) -> None:
        await super().unsubscribe()
        for work in self.working:
            work.cancel()


@breaks("synapse:unsubscribe-working", "frames were ever handled")
class CancelsWhatItWorksOn(Double):
    place_type = CancelsItsWork


class WaitsForItsWork(Place):
    async def unsubscribe(self) -> None:
        await super().unsubscribe()
        while self.working:
            await asyncio.wait(self.working)


@breaks("synapse:handler-unsubscribes", "of 1 frames came")
class UnsubscribeWaits(Double):
    place_type = WaitsForItsWork


@breaks("synapse:sever-recovers", "the recovery of")
class ForgetsItsSubscriptions(Double):
    def reconnect(self) -> None:
        self.link.set()


@breaks("synapse:restart-recovers", "the recovery of")
class NeverComesBack(Double):
    def sever(self) -> None:
        super().sever()
        self.connected = False


@breaks("synapse:sever-takeover", "nobody finished [b'0', b'1', b'2']")
class LosesWhatIsSevered(Double):
    def lose(self, place: Place) -> None:
        working, place.working = place.working, dict.fromkeys(place.working)
        for work in working:
            work.cancel()


@breaks("synapse:sever-takeover", "undelivered is told ['lost'")
class GivesUpWhatIsSevered(Double):
    def lose(self, place: Place) -> None:
        for letter in place.working.values():
            if letter is not None and letter.tell is not None:
                letter.tell(letter.frame, "lost")
        super().lose(place)
