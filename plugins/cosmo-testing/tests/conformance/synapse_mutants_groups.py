"""Synapses that are wrong about queue groups, slow or failing handlers, and who is told."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from tests.conformance.synapse_double import Double, DurableDouble, Letter, Place
from tests.conformance.synapse_mutant import breaks

from cosmo_core import DeadLetter, HeldFrame, UndeliveredHandler


@breaks("synapse:group-one", "went to the group")
class GivesToAll(Double):
    def add(self, place: Place) -> None:
        self.bus.table.add(place.pattern, place)


@breaks("synapse:group-fair", "the members got [300, 0, 0]")
class AlwaysTheFirst(Double):
    def choose(self, members: tuple[Place, ...], next_one: Place) -> Place:
        return members[0]


@breaks("synapse:group-beside-plain", "of 30 frames came within")
class GroupsFirst(Double):
    def spread(
        self, subject: str, frame: bytes, undelivered: UndeliveredHandler | None = None
    ) -> list[Letter]:
        groups = self.bus.table.route(subject).groups
        if groups:
            return [Letter(subject, frame, group.name, undelivered) for group in groups]
        return super().spread(subject, frame, undelivered)


@breaks("synapse:group-each", "of 30 frames came within")
class OneGroupOnly(Double):
    def spread(
        self, subject: str, frame: bytes, undelivered: UndeliveredHandler | None = None
    ) -> list[Letter]:
        return super().spread(subject, frame, undelivered)[:1]


@breaks("synapse:group-patterns", "90 came, 30 different")
class OneGroupPerPattern(Double):
    def add(self, place: Place) -> None:
        if place.group is not None:
            suffix = place.pattern.replace(".", "_").replace("*", "s").replace(">", "a")
            place.group = f"{place.group}-{suffix}"
        super().add(place)


@breaks("synapse:group-leaving", "frames came within")
class RemembersMembers(Double):
    def remove(self, place: Place) -> None:
        if place.group is None:
            super().remove(place)


@breaks("synapse:group-holds-back", "of 170 frames were ever handled")
class DropsForFullGroups(Double):
    async def place(self, letter: Letter) -> None:
        if not self.try_place(letter):
            await asyncio.Event().wait() if letter.frame == b"169" else None


@breaks("synapse:group-holds-back", "frames were taken, with room for")
class TakesWithoutEnd(Double):
    async def place(self, letter: Letter) -> None:
        self.again(letter)


class Raising(Place):
    def start(self, frame: bytes, letter: Letter | None = None) -> None:
        result = self.handler(frame)
        if result is not None:
            self.working[asyncio.ensure_future(result)] = letter


@breaks("synapse:handler-raises", "the Synapse raised RuntimeError")
class LetsHandlersRaise(Double):
    place_type = Raising


class InAThread(Place):
    def start(self, frame: bytes, letter: Letter | None = None) -> None:
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
    place_type = InAThread


@breaks("synapse:handler-publishes", "of 1 frames came")
class OneAtATime(Double):
    async def publish(self, subject: str, frame: bytes, **options: Any) -> None:
        busy = asyncio.current_task() in [work for each in self.places for work in each.working]
        if busy:
            await asyncio.Event().wait()
        await super().publish(subject, frame, **options)


@breaks("synapse:slow-bounded", "the handler worked on")
class Unbounded(Double):
    in_flight = 10**9


class HoldsAll(Place):
    def hold(self, frame: bytes) -> None:
        self.pending.append(frame)


@breaks("synapse:slow-bounded", "frames were kept")
class KeepsAll(Double):
    place_type = HoldsAll


@breaks("synapse:slow-bounded", "publishing to a handler that is stuck did not end")
class WaitsForTheSlow(Double):
    async def publish(self, subject: str, frame: bytes, **options: Any) -> None:
        while any(not place.has_room for place in self.bus.table.route(subject).targets):
            self.bus.room.clear()
            await self.bus.room.wait()
        await super().publish(subject, frame, **options)


class Uncounted(Place):
    def hold(self, frame: bytes) -> None:
        super().hold(frame)
        self.dropped = 0


@breaks("synapse:slow-counted", "and 0 counted as dropped")
class DropsInSilence(Double):
    place_type = Uncounted


class Overcounted(Place):
    def hold(self, frame: bytes) -> None:
        super().hold(frame)
        self.dropped += 1


@breaks("synapse:slow-counted", "counted as dropped")
class CountsTooMuch(Double):
    place_type = Overcounted


@breaks("synapse:slow-others", "came")
class DropsForAll(Double):
    def spread(
        self, subject: str, frame: bytes, undelivered: UndeliveredHandler | None = None
    ) -> list[Letter]:
        if any(not place.has_room for place in self.bus.table.route(subject).targets):
            return []
        return super().spread(subject, frame, undelivered)


@breaks("synapse:congest-others", "publishing beside a congested peer did not end")
class WaitsForTheCongested(WaitsForTheSlow):
    pass


@breaks("synapse:undelivered-nobody", "undelivered: 0 of 10")
class TellsNobody(Double):
    async def publish(self, subject: str, frame: bytes, **options: Any) -> None:
        await super().publish(subject, frame)


class Telling(Double):
    """One that can be broken where it tells."""

    def told(self, tell: UndeliveredHandler) -> UndeliveredHandler:
        return tell

    async def publish(
        self,
        subject: str,
        frame: bytes,
        *,
        undelivered: UndeliveredHandler | None = None,
        message_id: str | None = None,
    ) -> None:
        tell = None if undelivered is None else self.told(undelivered)
        await super().publish(subject, frame, undelivered=tell)


@breaks("synapse:undelivered-once", "were for a frame it had been told of")
class TellsTwice(Telling):
    def told(self, tell: UndeliveredHandler) -> UndeliveredHandler:
        def twice(frame: bytes, why: Any) -> None:
            tell(frame, why)
            tell(frame, why)

        return twice


@breaks("synapse:undelivered-once", "outside the event loop")
class TellsFromAThread(Telling):
    def told(self, tell: UndeliveredHandler) -> UndeliveredHandler:
        def elsewhere(frame: bytes, why: Any) -> None:
            thread = threading.Thread(target=tell, args=(frame, why))
            thread.start()
            thread.join()

        return elsewhere


@breaks("synapse:undelivered-silent", "all frames were handled")
class TellsThoughDelivered(Double):
    def ended(self, letter: Letter | None, error: BaseException | None) -> None:
        if letter is not None and letter.tell is not None and error is None:
            letter.tell(letter.frame, "lost")
        super().ended(letter, error)


@breaks("synapse:undelivered-silent", "it is told ['no_consumers']")
class CountsOnlyGroups(Double):
    def spread(
        self, subject: str, frame: bytes, undelivered: UndeliveredHandler | None = None
    ) -> list[Letter]:
        letters = super().spread(subject, frame, undelivered)
        if undelivered is not None and self.bus.table.route(subject).targets and not letters:
            undelivered(frame, "no_consumers")
        return letters


@breaks("synapse:undelivered-overloaded", "publish(undelivered=…) did not end")
class WaitsAllTheSame(Double):
    async def place(self, letter: Letter) -> None:
        while not self.try_place(letter):
            self.bus.room.clear()
            await self.bus.room.wait()


@breaks("synapse:again-failed", "1 frames came")
class NeverAgain(Double):
    def ended(self, letter: Letter | None, error: BaseException | None) -> None:
        """Whatever became of it."""


@breaks("synapse:again-dead", "it was given 30 times")
class AgainAndAgain(Double):
    def ended(self, letter: Letter | None, error: BaseException | None) -> None:
        if letter is not None and error is not None and letter.deliveries < 30:
            self.again(letter)
        else:
            super().ended(letter, error)


@breaks("synapse:again-dead", "it is 0 times among the dead letters")
class BuriesNothing(Double):
    async def dead_letters(self) -> list[DeadLetter]:
        return []


@breaks("synapse:again-done", "another member got")
class NeverBelievesIt(Double):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.finished: list[Letter] = []

    def ended(self, letter: Letter | None, error: BaseException | None) -> None:
        if letter is not None and error is None:
            self.finished.append(letter)
        super().ended(letter, error)

    async def close(self) -> None:
        await super().close()
        for letter in self.finished:
            self.again(letter)


@breaks("synapse:again-closed", "of 3 frames came within")
class ClosesWithItsWork(Double):
    def lose(self, place: Place) -> None:
        place.working = dict.fromkeys(place.working)


@breaks("synapse:again-held", "says that it was for 0.00 s")
class CountsFromTheLastTime(Double):
    def again(self, letter: Letter) -> None:
        letter.since = self.loop.time()
        super().again(letter)


@breaks("synapse:again-held", "a frame that was held for 0.3")
class CountsInMilliseconds(Double):
    def handed(self, letter: Letter) -> bytes:
        return HeldFrame(letter.frame, 1000 * (self.loop.time() - letter.since))


@breaks("synapse:again-lost", "undelivered: 0 of 1 frames came")
class LosesInSilence(Double):
    def abandon(self, letter: Letter) -> None:
        if not letter.deliveries:
            super().abandon(letter)


@breaks("synapse:dendrite-round-trip", "did not end within")
class LosesAnswers(Double):
    async def publish(self, subject: str, frame: bytes, **options: Any) -> None:
        if "AGENT_OUTPUT" not in subject:
            await super().publish(subject, frame, **options)


@breaks("synapse:dendrite-stop", "0 of 1 frames came")
class LosesGoodbyes(Double):
    async def publish(self, subject: str, frame: bytes, **options: Any) -> None:
        if "DEREGISTER" not in subject:
            await super().publish(subject, frame, **options)


@breaks("synapse:durable-waits", "of 10 frames came within")
class WaitsForNobody(DurableDouble):
    def abandon(self, letter: Letter) -> None:
        """Nobody is there."""


@breaks("synapse:durable-held", "says that it was for 0.00 s")
class SaysNothingOfIt(DurableDouble):
    def handed(self, letter: Letter) -> bytes:
        return letter.frame


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
