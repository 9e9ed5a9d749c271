"""One subscription on core NATS."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final

from nats import errors

from cosmo_core.errors import SynapseError
from cosmo_core.routing import Consumer
from cosmo_core.routing.handlers import HandlerRunner

if TYPE_CHECKING:
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription as Interest

    from cosmo_core.contracts.delivery import FrameHandler
    from cosmo_synapse_nats.connection import Connection

Callback = Callable[["Msg"], Coroutine[Any, Any, None]]

INTERNAL: Final = ("_INBOX.", "$")
"""What subjects begin with that are the server's and its clients' own business."""


class NatsSubscription:
    """Delivers to one handler, whose work is bounded.

    A member of a queue group that has no room refuses what comes, and says so to the publisher, if it asked.
    Elsewhere the oldest frame that waits is given up. Both are counted.

    Args:
        connection: The connection that the frames come on.
        handler: Takes them.
        pattern: Which frames.
        queue_group: The queue group to be a member of, if any.
        max_in_flight: How many frames the handler may work on at once.
        max_pending: How many more may wait.
    """

    def __init__(
        self,
        connection: Connection,
        handler: FrameHandler,
        pattern: str,
        queue_group: str | None,
        *,
        max_in_flight: int,
        max_pending: int,
    ) -> None:
        self._connection = connection
        self._runner = HandlerRunner(pattern, handler, self._done)
        self._member = Consumer(pattern, self._hand_over, prefetch=max_in_flight, max_pending=max_pending)
        self._queue_group = queue_group
        self._max_pending = max_pending
        self._pending = 0
        self._refused = 0
        self._interests: list[Interest] = []

    @property
    def dropped(self) -> int:
        """How many frames were given up because the handler was too slow."""
        return self._member.dropped + self._refused

    @property
    def in_flight(self) -> int:
        """How many frames the handler works on."""
        return self._runner.in_flight

    async def listen(self, subject: str, *, hidden: tuple[str, ...] = INTERNAL) -> None:
        """Have the server deliver what matches ``subject`` from now on.

        Args:
            subject: The subject, or the pattern.
            hidden: What subjects begin with that a wildcard in front must not match.

        Raises:
            SynapseError: The server does not allow it, or does not answer.
        """
        denied = self._connection.troubles.denied
        callback: Callback = self._arrived if self._queue_group is None else self._arrived_for_group
        if subject[0] in "*>":
            callback = _hiding(hidden, callback)
        interest = await self._connection.listen(subject, callback, self._queue_group or "")
        self._interests.append(interest)
        await self._connection.flush()
        if self._connection.troubles.denied > denied:
            raise SynapseError(f"the server does not allow subscribing to {subject}: grant it to this user")

    # --- frames -------------------------------------------------------------------------------------

    async def _arrived(self, msg: Msg) -> None:
        self._take(msg.data)

    async def _arrived_for_group(self, msg: Msg) -> None:
        if msg.reply and self._pending >= self._max_pending:
            self._refused += 1
            await self._tell(msg.reply)
        else:
            self._take(msg.data)

    def _take(self, frame: bytes) -> None:
        dropped = self._member.dropped
        self._pending += 1
        self._member.push(frame)
        self._pending -= self._member.dropped - dropped

    def _hand_over(self, frame: bytes, number: int, since: float) -> bool:
        self._pending -= 1
        return self._runner.run(frame, number, since)

    def _done(self, number: int, error: BaseException | None) -> None:
        self._member.complete()

    async def _tell(self, address: str) -> None:
        try:
            await self._connection.client.publish(address, b"overloaded")
        except errors.Error as error:
            self._connection.troubles.note("a publisher could not be told that its frame was refused", error)

    # --- ending -------------------------------------------------------------------------------------

    async def unsubscribe(self) -> None:
        """Deliver nothing more. What the handler works on goes on; doing it twice is not an error."""
        interests, self._interests = self._interests, []
        await asyncio.gather(*(self._connection.end(interest) for interest in interests))
        # What still waits for room is given up with the subscription.
        self._refused += self._pending
        self._pending = 0
        self._member.close()

    async def close(self) -> None:
        """Unsubscribe, and cancel what the handler still works on."""
        await self.unsubscribe()
        await self._runner.close()


def _hiding(hidden: tuple[str, ...], callback: Callback) -> Callback:
    async def arrived(msg: Msg) -> None:
        if not msg.subject.startswith(hidden):
            await callback(msg)

    return arrived
