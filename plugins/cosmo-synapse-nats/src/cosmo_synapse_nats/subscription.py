"""Subscriptions of a NATS Synapse: their core NATS part, their durable part, and the set of all of them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from nats.aio.msg import Msg
from nats.aio.subscription import Subscription as ServerSubscription

from cosmo_core.contracts.delivery import FrameHandler
from cosmo_core.errors import SynapseError
from cosmo_core.routing import Consumer
from cosmo_core.routing.handlers import HandlerRunner
from cosmo_synapse_nats.connection import Callback, Connection
from cosmo_synapse_nats.durable.answers import AnswerReader
from cosmo_synapse_nats.durable.subscription import DurableSubscription
from cosmo_synapse_nats.flow import GO, MAX_HELD, WAIT, probed
from cosmo_synapse_nats.send_queue import SendQueue

INTERNAL: Final = ("_INBOX.", "$")
"""Prefixes of subjects that the server and its clients use internally."""


class CoreSubscription:
    """A subscription on core NATS, with bounded work.

    A full member of a queue group rejects a frame whose publisher wants to know, and tells it. The publishers
    of all other frames wait for the member: see `FlowControl`. Outside of queue groups, the oldest waiting
    frame is dropped. What was rejected or dropped is counted.

    Args:
        connection: The connection.
        handler: The handler.
        pattern: The pattern.
        queue_group: The queue group to join, if any.
        max_in_flight: How many frames the handler may work on at once.
        max_pending: How many more may wait.
        send_queue: Sends the answers to publishers that wait.
        holds_back: Whether publishers wait for the handler.
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
        send_queue: SendQueue,
        holds_back: bool,
    ) -> None:
        self._connection = connection
        self._runner = HandlerRunner(pattern, handler, self._on_done)
        held = max(max_pending, MAX_HELD) if holds_back else max_pending
        self._consumer = Consumer(pattern, self._run, prefetch=max_in_flight, max_pending=held)
        self._queue_group = queue_group
        self._max_pending = max_pending
        self._pending = 0
        self._rejected = 0
        self._server_subscriptions: list[ServerSubscription] = []
        # What comes after the frames that wait here: how many frames must have left, and what to call then.
        self._arrived = 0
        self._following: deque[tuple[int, Callable[[], object]]] = deque()
        self._followers = 0
        self._send_queue = send_queue
        # Its name in answers to publishers, and the probes of those that wait.
        self._name = connection.client.new_inbox().rpartition(".")[2].encode() if holds_back else b""
        self._probes: set[str] = set()

    @property
    def dropped(self) -> int:
        """How many frames were dropped or rejected because the handler was too slow."""
        return self._consumer.dropped + self._rejected

    @property
    def in_flight(self) -> int:
        """How many frames the handler is working on."""
        return self._runner.in_flight

    async def add_subject(self, subject: str, *, hidden: tuple[str, ...] = INTERNAL) -> None:
        """Receive what matches ``subject`` from now on.

        Args:
            subject: The subject or pattern.
            hidden: Prefixes of subjects that a leading wildcard must not match.

        Raises:
            SynapseError: The server does not allow it, or does not answer.
        """
        denied = self._connection.error_log.denied
        callback: Callback = self._on_frame if self._queue_group is None else self._on_group_frame
        if subject[0] in "*>":
            callback = _hiding(hidden, callback)
        subscription = await self._connection.subscribe(subject, callback, self._queue_group or "")
        self._server_subscriptions.append(subscription)
        await self._connection.flush()
        if self._connection.error_log.denied > denied:
            raise SynapseError(f"the server does not allow this user to subscribe to {subject}")

    async def answer_probes(self, pattern: str) -> None:
        """Let publishers on ``pattern`` wait for the handler, from the next `add_subject` on."""
        probes = probed(self._connection.servers, pattern)
        self._server_subscriptions.append(await self._connection.subscribe(probes, self._on_probe))

    def _on_probe(self, msg: Msg) -> None:
        # The server may send a probe on behalf of a user of another namespace.
        if not msg.reply.startswith(f"{self._connection.servers.inbox_prefix}."):
            return
        if not self._pending:
            self._answer_probe(msg.reply)
            return
        self._send_queue.send(msg.reply, WAIT + b" " + self._name)
        if msg.reply not in self._probes:
            self._probes.add(msg.reply)
            self._following.append((self._arrived, partial(self._answer_probe, msg.reply)))

    def _answer_probe(self, address: str) -> None:
        self._probes.discard(address)
        self._send_queue.send(address, GO + b" " + self._name)

    # --- frames -------------------------------------------------------------------------------------

    def _on_frame(self, msg: Msg) -> None:
        if msg.reply and self._is_misdirected(msg):
            return
        self._push(msg.data)

    def _on_group_frame(self, msg: Msg) -> None:
        if msg.reply and self._is_misdirected(msg):
            return
        if msg.reply and self._pending >= self._max_pending:
            self._rejected += 1
            self._send_queue.send(msg.reply, b"overloaded")
        else:
            self._push(msg.data)

    def _is_misdirected(self, msg: Msg) -> bool:
        """Report whether JetStream sent this message here on behalf of a user of another stream.

        A user who may read a stream may let the server send its messages to any subject.
        """
        if not msg.reply.startswith("$JS.ACK."):
            return False
        self._connection.error_log.record("a message of a stream was ignored", msg.subject)
        return True

    def _push(self, frame: bytes) -> None:
        consumer = self._consumer
        self._arrived += 1
        if not self._pending and consumer.has_capacity:
            if not self._runner.run(frame):
                consumer.in_flight += 1
            return
        dropped = consumer.dropped
        self._pending += 1
        consumer.push(frame)
        self._leave(consumer.dropped - dropped)

    def _run(self, frame: bytes, number: int, published_at: float) -> bool:
        finished = self._runner.run(frame, number, published_at)
        self._leave(1)
        return finished

    def _leave(self, count: int) -> None:
        self._pending -= count
        left = self._arrived - self._pending
        while self._following and self._following[0][0] <= left:
            self._following.popleft()[1]()

    def following(self, handler: FrameHandler) -> FrameHandler:
        """Return a handler that is called when the frames that arrived here before its frame have left.

        So a stored answer does not overtake the THOUGHT_DELTAs that wait for a slow reader.
        """

        async def follow(frame: bytes, turn: asyncio.Future[None]) -> None:
            try:
                await turn
            finally:
                self._followers -= 1
            result = handler(frame)
            if result is not None:
                await result

        def handle(frame: bytes) -> Awaitable[None] | None:
            if not (self._pending or self._followers):
                return handler(frame)
            turn: asyncio.Future[None] = self._connection.loop.create_future()
            self._following.append((self._arrived, partial(_finish, turn)))
            self._followers += 1
            self._leave(0)
            return follow(frame, turn)

        return handle

    def _on_done(self, number: int, error: BaseException | None) -> None:
        self._consumer.complete()

    # --- ending -------------------------------------------------------------------------------------

    async def unsubscribe(self) -> None:
        """Deliver no more frames. Running handlers go on. Unsubscribing twice is not an error."""
        subscriptions, self._server_subscriptions = self._server_subscriptions, []
        await asyncio.gather(*(self._connection.unsubscribe(each) for each in subscriptions))
        # Frames that still wait for the handler are dropped.
        self._rejected += self._pending
        self._leave(self._pending)
        self._consumer.close()

    async def close(self) -> None:
        """Unsubscribe, and cancel running handlers."""
        await self.unsubscribe()
        await self._runner.close()


def _finish(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_result(None)


def _hiding(hidden: tuple[str, ...], callback: Callback) -> Callback:
    def filtered(msg: Msg) -> None:
        if not msg.subject.startswith(hidden):
            callback(msg)

    return filtered


class NatsSubscription:
    """A subscription of a Synapse: frames from core NATS, and stored frames of a queue group.

    Attributes:
        durable: The durable part, if the subscription has one.
    """

    def __init__(self, registry: SubscriptionRegistry, core: CoreSubscription) -> None:
        self.durable: DurableSubscription | AnswerReader | None = None
        self._registry = registry
        self._core = core

    @property
    def dropped(self) -> int:
        """How many frames were dropped because the handler was too slow."""
        return self._core.dropped

    @property
    def in_flight(self) -> int:
        """How many frames the handler is working on."""
        return self._core.in_flight + (0 if self.durable is None else self.durable.in_flight)

    async def unsubscribe(self) -> None:
        """Deliver no more frames. Running handlers go on. Unsubscribing twice is not an error."""
        await self._core.unsubscribe()
        if self.durable is not None:
            await self.durable.unsubscribe()
        self._registry.unsubscribed(self)

    async def close(self) -> None:
        """Unsubscribe, and cancel running handlers."""
        await self._core.close()
        if self.durable is not None:
            await self.durable.close()


class SubscriptionRegistry:
    """The subscriptions of one Synapse, including unsubscribed ones with running handlers."""

    def __init__(self) -> None:
        self._active: set[NatsSubscription] = set()
        self._unsubscribed: set[NatsSubscription] = set()

    def add(self, core: CoreSubscription) -> NatsSubscription:
        """Return a new subscription, and keep it."""
        subscription = NatsSubscription(self, core)
        self._active.add(subscription)
        return subscription

    def on_reconnected(self) -> None:
        """Renew the pull request of every durable subscription."""
        for subscription in self._active:
            if subscription.durable is not None:
                subscription.durable.pull.on_reconnected()

    def unsubscribed(self, subscription: NatsSubscription) -> None:
        """Keep an unsubscribed subscription only while its handler is running."""
        self._active.discard(subscription)
        self._unsubscribed = {each for each in self._unsubscribed | {subscription} if each.in_flight}

    async def close(self) -> None:
        """Unsubscribe all, and cancel running handlers."""
        await asyncio.gather(*(subscription.close() for subscription in self._active | self._unsubscribed))
        self._active.clear()
        self._unsubscribed.clear()
