"""A member of a durable queue group: it pulls frames, runs the handler, and acknowledges."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Final

import attrs
from nats import errors
from nats.aio.msg import Msg

from cosmo_core.contracts.delivery import DeadLetter, FrameHandler, HeldFrame
from cosmo_core.routing.handlers import HandlerRunner
from cosmo_synapse_nats.connection import Connection
from cosmo_synapse_nats.durable.clock import ServerClock
from cosmo_synapse_nats.durable.dead_letters import DeadLetterStream
from cosmo_synapse_nats.durable.pull import PullRequests
from cosmo_synapse_nats.durable.streams import Origin, from_this_stream
from cosmo_synapse_nats.keepalive import KeepaliveThread
from cosmo_synapse_nats.options import Durability
from cosmo_synapse_nats.send_queue import SendQueue

ACK: Final = b"+ACK"
NAK: Final = b"-NAK"
TERM: Final = b"+TERM"
REPORT_TO_HEADER: Final = "Cosmo-Report-To"
"""The header with the address to which a frame is reported as undelivered."""


@attrs.frozen
class Shared:
    """The objects that all durable subscriptions of one Synapse share."""

    connection: Connection
    send_queue: SendQueue
    keepalive: KeepaliveThread
    clock: ServerClock
    dead_letters: DeadLetterStream
    durability: Durability


class DurableSubscription:
    """Delivers the frames of one consumer, at most ``prefetch`` at a time.

    Args:
        shared: The shared objects of the Synapse.
        pattern: The pattern.
        handler: The handler.
        consumer: Makes sure that the queue group's consumer exists, and returns its name.
        prefetch: How many frames may be unacknowledged at once.

    Attributes:
        pull: The pull requests.
    """

    def __init__(
        self,
        shared: Shared,
        pattern: str,
        handler: FrameHandler,
        consumer: Callable[[], Awaitable[str]],
        *,
        prefetch: int,
    ) -> None:
        self._shared = shared
        self._prefetch = prefetch
        self._runner = HandlerRunner(pattern, handler, self._on_done)
        self._unacked: dict[int, tuple[Msg, Origin]] = {}
        # By sequence in the stream, the numbers of the unacknowledged frames.
        self._numbers_by_sequence: dict[int, int] = {}
        self._numbers = count(1)
        self._storing_dead: set[asyncio.Task[None]] = set()
        self._closing = False
        self.pull = PullRequests(
            shared.connection,
            shared.send_queue,
            shared.connection.servers.tasks,
            capacity=self._capacity,
            on_frame=self._on_frame,
            consumer=consumer,
        )

    @property
    def in_flight(self) -> int:
        """How many frames are unacknowledged."""
        return len(self._unacked) + len(self._storing_dead)

    def _capacity(self) -> int:
        return self._prefetch - self.in_flight

    def _on_frame(self, msg: Msg) -> None:
        origin = Origin.of(msg)
        sequence = origin.sequence
        if not from_this_stream(msg, self._shared.connection.servers.tasks):
            self._shared.connection.error_log.record("a frame of another stream was ignored", msg.subject)
            self._shared.send_queue.send(msg.reply, TERM)
            return
        if (number := self._numbers_by_sequence.get(sequence)) is not None:
            # The server takes this member for lost, but the handler is working on the frame.
            (before, _), self._unacked[number] = self._unacked[number], (msg, origin)
            self._shared.keepalive.remove_lease(before.reply)
            self._shared.keepalive.add_lease(msg.reply)
            return
        if origin.deliveries > self._shared.durability.max_deliveries:
            self._dead_letter(msg, origin, origin.deliveries - 1, "its member was lost")
            return
        number = next(self._numbers)
        self._unacked[number] = msg, origin
        self._numbers_by_sequence[sequence] = number
        # Before the handler runs: it may block the event loop.
        self._shared.keepalive.add_lease(msg.reply)
        if self._runner.run(HeldFrame(msg.data, self._shared.clock.age_s(origin.stored_at)), number):
            self._on_done(number, None)

    def _on_done(self, number: int, error: BaseException | None) -> None:
        msg, origin = self._unacked.pop(number)
        del self._numbers_by_sequence[origin.sequence]
        self._shared.keepalive.remove_lease(msg.reply)
        if error is None:
            self._shared.send_queue.send(msg.reply, ACK)
        elif self._closing:
            # The handler was cancelled, so the frame can be redelivered at once.
            self._shared.send_queue.send(msg.reply, NAK)
        elif origin.deliveries < self._shared.durability.max_deliveries:
            self._nack_with_delay(msg)
        else:
            self._dead_letter(msg, origin, origin.deliveries, repr(error))
        self.pull.request()

    def _nack_with_delay(self, msg: Msg) -> None:
        delay = {"delay": int(self._shared.durability.retry_s * 1e9)}
        self._shared.send_queue.send(msg.reply, NAK + b" " + json.dumps(delay).encode())

    def _dead_letter(self, msg: Msg, origin: Origin, deliveries: int, reason: str) -> None:
        task = asyncio.ensure_future(self._store_dead_letter(msg, origin, deliveries, reason))
        self._storing_dead.add(task)
        task.add_done_callback(self._dead_letter_stored)

    def _dead_letter_stored(self, task: asyncio.Task[None]) -> None:
        self._storing_dead.discard(task)
        self.pull.request()

    async def _store_dead_letter(self, msg: Msg, origin: Origin, deliveries: int, reason: str) -> None:
        shared = self._shared
        dead = DeadLetter(
            subject=msg.subject.removeprefix(f"{shared.connection.servers.tasks}."),
            frame=msg.data,
            deliveries=deliveries,
            reason=reason,
        )
        try:
            await shared.dead_letters.store(dead, f"{origin.consumer}.{origin.sequence}")
        except (errors.Error, TimeoutError) as error:
            shared.connection.error_log.record("a dead letter could not be stored; trying again", error)
            self._nack_with_delay(msg)
            return
        shared.send_queue.send(msg.reply, TERM)
        address = (msg.headers or {}).get(REPORT_TO_HEADER, "")
        # Any publisher may have written this header, so only an inbox is used as an address.
        if address.startswith(f"{shared.connection.servers.inbox_prefix}."):
            shared.send_queue.send(address, b"failed")

    async def unsubscribe(self) -> None:
        """Request no more frames. Running handlers go on. Unsubscribing twice is not an error."""
        await self.pull.close()

    async def close(self) -> None:
        """Unsubscribe, cancel running handlers, and return their frames to the server."""
        await self.unsubscribe()
        self._closing = True
        await self._runner.close()
        if self._storing_dead:
            await asyncio.wait(self._storing_dead, timeout=1)
