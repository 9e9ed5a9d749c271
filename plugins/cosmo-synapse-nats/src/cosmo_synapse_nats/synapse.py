"""The NATS Synapse."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import msgspec
from nats import errors

from cosmo_core.arguments import check_count
from cosmo_core.contracts.delivery import (
    DEFAULT_MAX_FRAME,
    DONE,
    DeadLetter,
    FrameHandler,
    Guarantees,
    UndeliveredHandler,
    failed,
)
from cosmo_core.errors import FrameTooLargeError, SynapseClosedError, SynapseError
from cosmo_core.routing import check_pattern, check_subject
from cosmo_synapse_nats.connection import Connection
from cosmo_synapse_nats.durable.queues import DurableQueues
from cosmo_synapse_nats.flow import FlowControl
from cosmo_synapse_nats.inbox import Inbox
from cosmo_synapse_nats.keepalive import KeepaliveThread
from cosmo_synapse_nats.options import HEADROOM, Durability, Servers
from cosmo_synapse_nats.send_queue import SendQueue
from cosmo_synapse_nats.subscription import (
    INTERNAL,
    CoreSubscription,
    NatsSubscription,
    SubscriptionRegistry,
)


class NatsSynapse:
    """Carries frames between programs on many machines, through one or more NATS servers.

    Args:
        servers: The servers, and this program's credentials.
        durability: How frames for queue groups are stored, so that none is lost; None to not store them.
        max_frame: Bytes in the largest frame. A server with a lower limit lowers it.
        max_in_flight: How many frames a handler may work on at once.
        max_pending: How many more may wait for it.

    Raises:
        TypeError: A limit is not an integer.
        ValueError: A limit is less than 1.
    """

    def __init__(
        self,
        servers: Servers,
        *,
        durability: Durability | None = None,
        max_frame: int = DEFAULT_MAX_FRAME,
        max_in_flight: int = 1000,
        max_pending: int = 1000,
    ) -> None:
        check_count("max_frame", max_frame)
        check_count("max_in_flight", max_in_flight)
        check_count("max_pending", max_pending)
        self.guarantees = _guarantees(durability, max_frame)
        self._servers = servers
        self._durability = durability
        self._max_frame = max_frame
        self._max_in_flight = max_in_flight
        self._max_pending = max_pending
        self._connection: Connection | None = None
        self._flow: FlowControl | None = None
        self._send_queue: SendQueue | None = None
        self._inbox: Inbox | None = None
        self._queues: DurableQueues | None = None
        self._keepalive: KeepaliveThread | None = None
        self._connecting = asyncio.Lock()
        self._subscriptions = SubscriptionRegistry()

    # --- life cycle -----------------------------------------------------------------------------------

    async def connect(self) -> None:
        """Connect to the first server that answers. Connecting twice is not an error.

        Raises:
            SynapseAuthError: The server does not accept this program.
            SynapseError: No server can be reached in time, or the Synapse is durable and the server has no
                JetStream.
        """
        async with self._connecting:
            if self._connection is not None:
                return
            connection = Connection(self._servers, "cosmo", on_reconnected=self._on_reconnected)
            await connection.open()
            self._connection = connection
            try:
                await self._set_up(connection)
            except BaseException:
                await self._disconnect()
                raise

    async def _set_up(self, connection: Connection) -> None:
        max_frame = min(self._max_frame, connection.client.max_payload - HEADROOM)
        self.guarantees = msgspec.structs.replace(self.guarantees, max_frame=max_frame)
        inbox, flow = Inbox(connection), FlowControl(connection)
        await inbox.open()
        await flow.open()
        send_queue = self._send_queue = SendQueue(connection)
        renew_s = 60.0 if self._durability is None else self._durability.ack_wait_s / 3
        keepalive = KeepaliveThread(self._servers, renew_s)
        if self._durability is not None:
            self._queues = DurableQueues(connection, inbox, keepalive, send_queue, self._durability)
            await self._queues.open()
        self._inbox, self._flow, self._keepalive = inbox, flow, keepalive

    def _on_reconnected(self) -> None:
        if self._inbox is not None:
            self._inbox.on_reconnected()
        if self._queues is not None:
            self._queues.on_reconnected()
        self._subscriptions.on_reconnected()

    async def wait_failed(self) -> SynapseError:
        """Return why the connection has ended for good, once it has.

        Raises:
            SynapseClosedError: The Synapse is not connected.
        """
        connection = self._connection
        if connection is None:
            raise self._closed("watch the connection")
        return await asyncio.shield(connection.failed)

    async def close(self) -> None:
        """End every subscription, cancel running handlers, and disconnect from the server."""
        async with self._connecting:
            await self._disconnect()

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if self._flow is not None:
            self._flow.close()
        await self._subscriptions.close()
        if self._queues is not None:
            await self._queues.close()
        if self._send_queue is not None:
            await self._send_queue.close()
        keepalive = [] if self._keepalive is None else [self._keepalive.close()]
        await asyncio.gather(connection.close(), *keepalive)
        self._inbox = self._flow = self._send_queue = self._queues = self._keepalive = None

    # --- frames -------------------------------------------------------------------------------------

    def publish(
        self,
        subject: str,
        frame: bytes,
        *,
        undelivered: UndeliveredHandler | None = None,
        message_id: str | None = None,
    ) -> Awaitable[None]:
        """Send ``frame`` to all subscribers of ``subject``, if possible in the call.

        With ``undelivered`` and a durable Synapse, the frame is stored when this has been awaited: it
        survives a crash of the server, and waits for a member of the queue group.

        Raises:
            SynapseClosedError: The Synapse is not connected.
            FrameTooLargeError: The frame is larger than ``guarantees.max_frame``; nothing was sent.
            SynapseError: The subject is malformed, no server could be reached in time, or the frame was not
                stored.
        """
        connection, inbox, flow = self._connection, self._inbox, self._flow
        if connection is None or inbox is None or flow is None:
            return failed(self._closed(f"publish on {subject}"))
        try:
            self._check(subject, frame)
        except SynapseError as error:
            return failed(error)
        if undelivered is None:
            address, turn = "", flow.admit(subject, len(frame))
        elif self._queues is not None:
            return self._store(self._queues, subject, frame, undelivered, message_id)
        else:
            address, turn = inbox.register(frame, undelivered), None
        if turn is None and connection.client.send(subject, frame, address):
            return DONE
        return self._publish_later(connection, subject, frame, address, turn)

    async def _publish_later(
        self, connection: Connection, subject: str, frame: bytes, address: str, turn: Awaitable[None] | None
    ) -> None:
        try:
            if turn is not None:
                await turn
                if self._connection is not connection:
                    raise self._closed(f"publish on {subject}")
            if not connection.client.send(subject, frame, address):
                await connection.client.publish(subject, frame, address)
        except errors.Error as error:
            raise self._failure(f"publish on {subject}", error) from error

    async def _store(
        self,
        queues: DurableQueues,
        subject: str,
        frame: bytes,
        undelivered: UndeliveredHandler,
        message_id: str | None,
    ) -> None:
        try:
            await queues.store(subject, frame, undelivered, message_id)
        except errors.Error as error:
            raise self._failure(f"publish on {subject}", error) from error

    async def store_answer(self, subject: str, frame: bytes, message_id: str) -> None:
        """Store ``frame`` for the subscriber of `subscribe_answers`. Without JetStream, send it to all.

        Raises:
            SynapseClosedError: The Synapse is not connected.
            FrameTooLargeError: The frame is larger than ``guarantees.max_frame``; nothing was sent.
            SynapseError: The subject is malformed, or the frame was not stored in time.
        """
        queues = self._queues
        if queues is None:
            await self.publish(subject, frame)
            return
        self._check(subject, frame)
        try:
            await queues.store_answer(subject, frame, message_id)
        except errors.Error as error:
            raise self._failure(f"publish on {subject}", error) from error

    def publish_from_thread(self, subject: str, frame: bytes) -> None:
        """Publish from any thread, also while the event loop is blocked. Failures are not reported.

        Raises:
            SynapseClosedError: The Synapse is not connected.
            FrameTooLargeError: The frame is larger than ``guarantees.max_frame``.
            SynapseError: The subject is malformed.
        """
        keepalive = self._keepalive
        if keepalive is None:
            raise self._closed(f"publish on {subject}")
        self._check(subject, frame)
        keepalive.publish(subject, frame)

    async def subscribe(
        self, pattern: str, handler: FrameHandler, *, queue_group: str | None = None
    ) -> NatsSubscription:
        """Call ``handler`` with every frame that matches ``pattern``, from now on.

        Raises:
            SynapseClosedError: The Synapse is not connected.
            SynapseError: The pattern or the name of the queue group is malformed, or the server does not
                allow the subscription or does not answer.
        """
        return await self._subscribe(pattern, handler, queue_group, answers=False)

    async def subscribe_answers(self, pattern: str, handler: FrameHandler) -> NatsSubscription:
        """Subscribe to ``pattern`` as its one subscriber, to whom stored answers are delivered, too.

        An answer that was stored while the connection was broken is delivered when it is restored.

        Raises:
            SynapseClosedError: The Synapse is not connected.
            SynapseError: As `subscribe` does.
        """
        return await self._subscribe(pattern, handler, None, answers=True)

    async def _subscribe(
        self, pattern: str, handler: FrameHandler, queue_group: str | None, *, answers: bool
    ) -> NatsSubscription:
        check_pattern(pattern, queue_group)
        connection, queues, send_queue = self._connection, self._queues, self._send_queue
        if connection is None or send_queue is None:
            raise self._closed(f"subscribe to {pattern}")
        holds_back = answers or queue_group is not None
        core = CoreSubscription(
            connection,
            handler,
            pattern,
            queue_group,
            max_in_flight=self._max_in_flight,
            max_pending=self._max_pending,
            send_queue=send_queue,
            holds_back=holds_back,
        )
        subscription = self._subscriptions.add(core)
        try:
            if holds_back:
                await core.answer_probes(pattern)
            hidden = INTERNAL if queues is None else (*INTERNAL, *queues.subjects)
            await core.add_subject(pattern, hidden=hidden)
            if queues is not None and queue_group is not None:
                subscription.durable = await queues.subscribe(
                    pattern, handler, queue_group, prefetch=self._max_in_flight
                )
            elif queues is not None:
                tasks, stored_answers = queues.stored_subjects(pattern)
                await core.add_subject(tasks)
                if answers:
                    subscription.durable = await queues.subscribe_answers(
                        pattern, core.following(handler), prefetch=self._max_in_flight
                    )
                else:
                    await core.add_subject(stored_answers)
        except errors.Error as error:
            await self._undo(subscription)
            raise self._failure(f"subscribe to {pattern}", error) from error
        except BaseException:
            await self._undo(subscription)
            raise
        return subscription

    async def _undo(self, subscription: NatsSubscription) -> None:
        await subscription.close()
        await subscription.unsubscribe()

    async def dead_letters(self) -> list[DeadLetter]:
        """Return the dead letters, oldest first. Only a durable Synapse has dead letters.

        Raises:
            SynapseClosedError: The Synapse is not connected.
            SynapseError: The server does not answer.
        """
        if self._connection is None:
            raise self._closed("read the dead letters")
        return [] if self._queues is None else await self._queues.dead_letters()

    # --- errors -------------------------------------------------------------------------------------

    def _closed(self, action: str) -> SynapseClosedError:
        return SynapseClosedError(
            f"cannot {action}: this NatsSynapse is not connected; await connect() first"
        )

    def _check(self, subject: str, frame: bytes) -> None:
        check_subject(subject)
        limit = self.guarantees.max_frame
        if len(frame) > limit:
            raise FrameTooLargeError(
                f"a frame of {len(frame)} bytes on {subject} exceeds the limit of {limit} bytes"
            )

    def _failure(self, action: str, error: errors.Error) -> SynapseError:
        if isinstance(error, errors.OutboundBufferLimitError):
            return SynapseError(
                f"cannot {action}: {self._servers} cannot be reached, and the buffer of unsent data is full; "
                "try again later"
            )
        connection = self._connection
        ended = isinstance(error, errors.ConnectionClosedError)
        if ended and connection is not None and connection.failed.done():
            failure = connection.failed.result()
            return type(failure)(f"cannot {action}: {failure}")
        return SynapseError(f"cannot {action}: {self._servers} reports: {error}")

    def __repr__(self) -> str:
        state = "closed" if self._connection is None else "connected"
        return f"<NatsSynapse {self._servers} {state}>"


def _guarantees(durability: Durability | None, max_frame: int) -> Guarantees:
    if durability is None:
        return Guarantees(max_frame=max_frame)
    return Guarantees(
        delivery="at-least-once",
        max_frame=max_frame,
        durable=True,
        takeover_s=durability.ack_wait_s + 1,
        max_deliveries=durability.max_deliveries,
    )
