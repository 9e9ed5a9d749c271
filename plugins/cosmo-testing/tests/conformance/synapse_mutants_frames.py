"""Synapses that lose, repeat, change or misdirect frames."""

from __future__ import annotations

import threading
from itertools import count
from typing import Any

import msgspec
from tests.conformance.synapse_double import Consumer, Delivery, Double, breaks

from cosmo_core import FrameHandler, SynapseError, UndeliveredHandler
from cosmo_core.protocol.ids import is_token


class Spreading(Double):
    """One that can be broken where frames go out."""

    def deliveries_for(
        self, subject: str, frame: bytes, undelivered: UndeliveredHandler | None = None
    ) -> list[Delivery]:
        return self.bad_deliveries_for(subject, frame, undelivered)

    def bad_deliveries_for(
        self, subject: str, frame: bytes, undelivered: UndeliveredHandler | None
    ) -> list[Delivery]:
        return super().deliveries_for(subject, frame, undelivered)


@breaks("synapse:frame-once", "of 500 frames came within")
class DropsEverySeventh(Spreading):
    sent = 0

    def bad_deliveries_for(
        self, subject: str, frame: bytes, undelivered: UndeliveredHandler | None
    ) -> list[Delivery]:
        self.sent += 1
        return [] if self.sent % 7 == 0 else super().bad_deliveries_for(subject, frame, undelivered)


@breaks("synapse:frame-once", "500 frames were sent, and")
class RepeatsSome(Spreading):
    sent = 0

    def bad_deliveries_for(
        self, subject: str, frame: bytes, undelivered: UndeliveredHandler | None
    ) -> list[Delivery]:
        self.sent += 1
        if self.sent % 7 == 0:
            super().bad_deliveries_for(subject, frame, None)
        return super().bad_deliveries_for(subject, frame, undelivered)


@breaks("synapse:order", "was sent, b'0:")
class SendsSomeLater(Spreading):
    def bad_deliveries_for(
        self, subject: str, frame: bytes, undelivered: UndeliveredHandler | None
    ) -> list[Delivery]:
        if frame.endswith(b"5"):
            self.loop.call_soon(super().bad_deliveries_for, subject, frame, undelivered)
            return []
        return super().bad_deliveries_for(subject, frame, undelivered)

    async def publish(self, subject: str, frame: bytes, **options: Any) -> None:
        await super().publish(subject, frame, **options)
        if frame.endswith(b"6"):
            await self.turn()

    async def turn(self) -> None:
        turned = self.loop.create_future()
        self.loop.call_soon(turned.set_result, None)
        await turned


@breaks("synapse:isolation", "some of it from kit.")
class IgnoresCase(Spreading):
    def bad_deliveries_for(
        self, subject: str, frame: bytes, undelivered: UndeliveredHandler | None
    ) -> list[Delivery]:
        for other in {subject.lower(), subject.upper(), subject.swapcase()} - {subject}:
            super().bad_deliveries_for(other.replace("KIT", "kit"), frame, None)
        return super().bad_deliveries_for(subject, frame, undelivered)


@breaks("synapse:isolation", "some of it from kit.")
class ComparesPrefixes(Spreading):
    def bad_deliveries_for(
        self, subject: str, frame: bytes, undelivered: UndeliveredHandler | None
    ) -> list[Delivery]:
        head, *rest = subject.split(".")
        if rest and len(rest[0]) > 1:
            super().bad_deliveries_for(".".join([head, rest[0][:-1], *rest[1:]]), frame, None)
        return super().bad_deliveries_for(subject, frame, undelivered)


class Renaming(Double):
    """One that can be broken where patterns are entered."""

    def renamed(self, pattern: str) -> list[str]:
        return [pattern]

    def add(self, consumer: Consumer) -> None:
        for pattern in self.renamed(consumer.pattern):
            self.bus.table.add(pattern, consumer, consumer.group)

    def remove(self, consumer: Consumer) -> None:
        self.consumers.pop(consumer, None)
        for pattern in self.renamed(consumer.pattern):
            self.bus.table.remove(pattern, consumer, consumer.group)


@breaks("synapse:wildcards", "a.* matched a.a a.a.a")
class StarMatchesSeveral(Renaming):
    def renamed(self, pattern: str) -> list[str]:
        return [pattern.removesuffix("*") + ">" if pattern.endswith(".*") else pattern]


@breaks("synapse:wildcards", "a.> matched a a.a")
class ArrowMatchesNothing(Renaming):
    def renamed(self, pattern: str) -> list[str]:
        return [pattern, pattern.removesuffix(".>")] if pattern.endswith(".>") else [pattern]


@breaks("synapse:frame-bytes", "b'\\r\\n' was sent")
class TranslatesNewlines(Spreading):
    def bad_deliveries_for(
        self, subject: str, frame: bytes, undelivered: UndeliveredHandler | None
    ) -> list[Delivery]:
        return super().bad_deliveries_for(subject, frame.replace(b"\r\n", b"\n"), undelivered)


@breaks("synapse:frame-copy", "a handler was given a bytearray")
class HandsOverItsBuffer(Spreading):
    def bad_deliveries_for(
        self, subject: str, frame: bytes, undelivered: UndeliveredHandler | None
    ) -> list[Delivery]:
        buffer: Any = bytearray(frame)
        return super().bad_deliveries_for(subject, buffer, undelivered)


@breaks("synapse:frame-largest", "came")
class TruncatesLargeFrames(Spreading):
    def bad_deliveries_for(
        self, subject: str, frame: bytes, undelivered: UndeliveredHandler | None
    ) -> list[Delivery]:
        return super().bad_deliveries_for(subject, frame[:65536], undelivered)


@breaks("synapse:frame-too-large", "ended in None")
class AcceptsTooMuch(Double):
    guarantees = msgspec.structs.replace(Double.guarantees, max_frame=1000)

    async def publish(self, subject: str, frame: bytes, **options: Any) -> None:
        await super().publish(subject, frame[:1000], **options)


@breaks("synapse:frame-too-large", "a refused frame arrived")
class SendsWhatItRefuses(Double):
    async def publish(self, subject: str, frame: bytes, **options: Any) -> None:
        if len(frame) > self.guarantees.max_frame:
            self.deliveries_for(subject, frame)
        await super().publish(subject, frame, **options)


@breaks("synapse:malformed-subject", "the subject 'a b'")
class AcceptsAnySubject(Double):
    async def publish(self, subject: str, frame: bytes, **options: Any) -> None:
        if all(map(is_token, subject.replace(" ", "").split("."))):
            subject = subject.replace(" ", "")
        await super().publish(subject, frame, **options)


@breaks("synapse:malformed-subject", "ended in None")
class PublishesToPatterns(Double):
    async def publish(self, subject: str, frame: bytes, **options: Any) -> None:
        await super().publish(subject.replace("*", "x").replace(">", "x"), frame, **options)


@breaks("synapse:malformed-pattern", "ended in None")
class RepairsPatterns(Double):
    async def subscribe(
        self, pattern: str, handler: FrameHandler, *, queue_group: str | None = None
    ) -> Consumer:
        return await super().subscribe(pattern.strip(), handler, queue_group=queue_group)


@breaks("synapse:malformed-group", "the queue group '' ended in ValueError")
class RaisesWhatItLikes(Double):
    async def subscribe(
        self, pattern: str, handler: FrameHandler, *, queue_group: str | None = None
    ) -> Consumer:
        try:
            return await super().subscribe(pattern, handler, queue_group=queue_group)
        except SynapseError as error:
            raise ValueError(error) from None


@breaks("synapse:fan-out", "of 3 frames came")
class OneSubscriberPerSubject(Double):
    def add(self, consumer: Consumer) -> None:
        for other in self.bus.table.route(consumer.pattern).targets if "*" not in consumer.pattern else ():
            self.bus.table.remove(other.pattern, other)
        super().add(consumer)


@breaks("synapse:frame-strangers", "frames came within")
class ReadsFrames(Double):
    async def subscribe(
        self, pattern: str, handler: FrameHandler, *, queue_group: str | None = None
    ) -> Consumer:
        def handle(frame: bytes) -> Any:
            return handler(frame) if frame.isascii() else None

        return await super().subscribe(pattern, handle, queue_group=queue_group)


@breaks("synapse:publish-concurrent", "not those that were sent")
class OneBufferForAll(Double):
    async def publish(self, subject: str, frame: bytes, **options: Any) -> None:
        self.frame = frame
        turned = self.loop.create_future()
        self.loop.call_soon(turned.set_result, None)
        await turned
        await super().publish(subject, self.frame, **options)


@breaks("synapse:thread-publish", "waits for the event loop")
class ThreadsWaitForTheLoop(Double):
    def publish_from_thread(self, subject: str, frame: bytes) -> None:
        published = threading.Event()
        super().publish_from_thread(subject, frame)
        self.loop.call_soon_threadsafe(published.set)
        published.wait()


@breaks("synapse:thread-elsewhere", "0 of 1 frames came within")
class ThreadsGoThroughTheLoop(Double):
    def publish_from_thread(self, subject: str, frame: bytes) -> None:
        self.loop.call_soon_threadsafe(self.deliveries_for, subject, frame)


@breaks("synapse:model", "")
class LosesEveryThirdOfAPeer(Spreading):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.sent = count(1)

    def bad_deliveries_for(
        self, subject: str, frame: bytes, undelivered: UndeliveredHandler | None
    ) -> list[Delivery]:
        if subject.startswith("m.") and next(self.sent) % 3 == 0:
            return []
        return super().bad_deliveries_for(subject, frame, undelivered)
