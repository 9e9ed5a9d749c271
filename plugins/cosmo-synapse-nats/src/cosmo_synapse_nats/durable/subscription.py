"""A member of a queue group whose frames are stored: it pulls, hands over, and acknowledges what is done."""

from __future__ import annotations

import asyncio
import json
from itertools import count
from typing import TYPE_CHECKING, Final

from nats import errors

from cosmo_core.contracts.delivery import DeadLetter, HeldFrame
from cosmo_core.routing.handlers import HandlerRunner
from cosmo_synapse_nats.durable.pull import Pull

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from nats.aio.msg import Msg

    from cosmo_core.contracts.delivery import FrameHandler
    from cosmo_synapse_nats.durable.desk import Desk

ACK: Final = b"+ACK"
NAK: Final = b"-NAK"
TERM: Final = b"+TERM"
TELL: Final = "Cosmo-Tell"
"""The header that says where the publisher wants to be told."""


class DurableSubscription:
    """Takes the frames of one consumer, ``credit`` at a time.

    Args:
        desk: What all of them share.
        pattern: Which frames.
        handler: Takes them.
        consumer: The consumer of the queue group.
        credit: How many frames the handler may work on at once.
        repair: Makes the consumer again, should it be gone.
    """

    def __init__(
        self,
        desk: Desk,
        pattern: str,
        handler: FrameHandler,
        consumer: str,
        *,
        credit: int,
        repair: Callable[[], Awaitable[object]],
    ) -> None:
        self._desk = desk
        self._credit = credit
        self._runner = HandlerRunner(pattern, handler, self._done)
        self._loans: dict[int, Msg] = {}
        self._numbers = count(1)
        self._burials: set[asyncio.Task[None]] = set()
        self._closing = False
        self.pull = Pull(
            desk.connection,
            desk.outgoing,
            desk.durability.tasks,
            consumer,
            room=self._room,
            take=self._take,
            repair=repair,
        )

    @property
    def in_flight(self) -> int:
        """How many frames it is not done with."""
        return len(self._loans) + len(self._burials)

    def _room(self) -> int:
        return self._credit - self.in_flight

    def _take(self, msg: Msg) -> None:
        delivered = msg.metadata
        if delivered.num_delivered > self._desk.durability.max_deliveries:
            self._bury(msg, delivered.num_delivered - 1, "the member that had it was lost")
            return
        number = next(self._numbers)
        self._loans[number] = msg
        # First: the handler may block the event loop.
        self._desk.keeper.keep(msg.reply)
        if self._runner.run(HeldFrame(msg.data, self._desk.clock.age_s(delivered.timestamp)), number):
            self._done(number, None)

    def _done(self, number: int, error: BaseException | None) -> None:
        msg = self._loans.pop(number)
        self._desk.keeper.let_go(msg.reply)
        deliveries = msg.metadata.num_delivered
        if error is None:
            self._desk.outgoing.send(msg.reply, ACK)
        elif self._closing:
            # Nothing is wrong with it: the next member may have it at once.
            self._desk.outgoing.send(msg.reply, NAK)
        elif deliveries < self._desk.durability.max_deliveries:
            self._give_back(msg)
        else:
            self._bury(msg, deliveries, repr(error))
        self.pull.ask()

    def _give_back(self, msg: Msg) -> None:
        delay = {"delay": int(self._desk.durability.retry_s * 1e9)}
        self._desk.outgoing.send(msg.reply, NAK + b" " + json.dumps(delay).encode())

    def _bury(self, msg: Msg, deliveries: int, reason: str) -> None:
        burial = asyncio.ensure_future(self._buried(msg, deliveries, reason))
        self._burials.add(burial)
        burial.add_done_callback(self._burial_over)

    def _burial_over(self, burial: asyncio.Task[None]) -> None:
        self._burials.discard(burial)
        self.pull.ask()

    async def _buried(self, msg: Msg, deliveries: int, reason: str) -> None:
        desk = self._desk
        letter = DeadLetter(
            subject=msg.subject.removeprefix(f"{desk.durability.tasks}."),
            frame=msg.data,
            deliveries=deliveries,
            reason=reason,
        )
        place = msg.metadata
        try:
            await desk.graves.bury(letter, f"{place.consumer}.{place.sequence.stream}")
        except (errors.Error, TimeoutError) as error:
            desk.connection.troubles.note("a dead letter could not be stored, and is tried again", error)
            self._give_back(msg)
            return
        desk.outgoing.send(msg.reply, TERM)
        tell = (msg.headers or {}).get(TELL, "")
        # It was written by whoever published the frame: nothing but an inbox is told.
        if tell.startswith("_INBOX."):
            desk.outgoing.send(tell, b"failed")

    async def unsubscribe(self) -> None:
        """Take no more. What the handler works on goes on; doing it twice is not an error."""
        await self.pull.close()

    async def close(self) -> None:
        """Unsubscribe, cancel what the handler still works on, and give it back."""
        await self.unsubscribe()
        self._closing = True
        await self._runner.close()
        if self._burials:
            await asyncio.wait(self._burials, timeout=1)
