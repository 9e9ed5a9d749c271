"""A Synapse over NATS."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import attrs
from nats import errors

from cosmo_core.contracts.delivery import DEFAULT_MAX_FRAME, Guarantees
from cosmo_core.errors import FrameTooLargeError, SynapseClosedError, SynapseError
from cosmo_core.routing import check_pattern, check_subject
from cosmo_synapse_nats.connection import Connection
from cosmo_synapse_nats.durable.queues import DurableQueues
from cosmo_synapse_nats.home import Home, OwnedSubscription
from cosmo_synapse_nats.inbox import Inbox
from cosmo_synapse_nats.keeper import Keeper
from cosmo_synapse_nats.options import HEADROOM, Durability, Servers
from cosmo_synapse_nats.subscription import INTERNAL, NatsSubscription

if TYPE_CHECKING:
    from cosmo_core.contracts.delivery import DeadLetter, FrameHandler, Subscription, UndeliveredHandler


class NatsSynapse:
    """Carries frames between programs on many machines, through one or more NATS servers.

    Args:
        servers: The servers, and who this program is there.
        durability: How frames for queue groups are stored, so that none is lost; None: they are not stored.
        max_frame: Bytes in the largest frame; a server that takes less makes it less.
        max_in_flight: How many frames a handler may work on at once.
        max_pending: How many more may wait for it.

    Raises:
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
        if min(max_frame, max_in_flight, max_pending) < 1:
            raise ValueError("max_frame, max_in_flight and max_pending start at 1")
        self.guarantees = _guarantees(durability, max_frame)
        self._servers = servers
        self._durability = durability
        self._max_frame = max_frame
        self._max_in_flight = max_in_flight
        self._max_pending = max_pending
        self._connection: Connection | None = None
        self._inbox: Inbox | None = None
        self._queues: DurableQueues | None = None
        self._keeper: Keeper | None = None
        self._connecting = asyncio.Lock()
        self._home = Home()

    # --- life ---------------------------------------------------------------------------------------

    async def connect(self) -> None:
        """Connect to the first server that answers. Doing it twice is not an error.

        Raises:
            SynapseAuthError: The server does not let this program in.
            SynapseError: No server can be reached in time, or a durable Synapse found one without JetStream.
        """
        async with self._connecting:
            if self._connection is not None:
                return
            connection = Connection(self._servers, "cosmo", reconnected=self._reconnected)
            await connection.open()
            self._connection = connection
            try:
                await self._set_up(connection)
            except BaseException:
                await self._let_go()
                raise

    async def _set_up(self, connection: Connection) -> None:
        max_frame = min(self._max_frame, connection.client.max_payload - HEADROOM)
        self.guarantees = attrs.evolve(self.guarantees, max_frame=max_frame)
        inbox = Inbox(connection)
        await inbox.open()
        renew_s = 60.0 if self._durability is None else self._durability.ack_wait_s / 3
        keeper = Keeper(self._servers, renew_s)
        if self._durability is not None:
            self._queues = DurableQueues(connection, inbox, keeper, self._durability)
            await self._queues.open()
        self._inbox, self._keeper = inbox, keeper

    def _reconnected(self) -> None:
        if self._inbox is not None:
            self._inbox.reconnected()
        if self._queues is not None:
            self._queues.reconnected()
        self._home.reconnected()

    async def close(self) -> None:
        """End every subscription, cancel what their handlers work on, and leave the server."""
        async with self._connecting:
            await self._let_go()

    async def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        await self._home.close()
        if self._queues is not None:
            await self._queues.close()
        if self._keeper is not None:
            await self._keeper.close()
        await connection.close()
        self._inbox = self._queues = self._keeper = None

    # --- frames -------------------------------------------------------------------------------------

    async def publish(
        self,
        subject: str,
        frame: bytes,
        *,
        undelivered: UndeliveredHandler | None = None,
        message_id: str | None = None,
    ) -> None:
        """Hand ``frame`` to whoever subscribes to ``subject``.

        With ``undelivered`` and a durable Synapse, it is stored when this returns: it survives a crash of the
        server, and waits for a member of the queue group.

        Raises:
            SynapseClosedError: The Synapse is not connected.
            FrameTooLargeError: The frame is larger than ``guarantees.max_frame``; nothing was sent.
            SynapseError: The subject is malformed, no server was back in time, or the frame was not stored.
        """
        connection, inbox = self._connection, self._inbox
        if connection is None or inbox is None:
            raise self._closed(f"publish on {subject}")
        check_subject(subject)
        if len(frame) > self.guarantees.max_frame:
            raise FrameTooLargeError(
                f"{len(frame)} bytes on {subject} are more than the {self.guarantees.max_frame} this Synapse "
                "carries"
            )
        try:
            if undelivered is None:
                await connection.client.publish(subject, frame)
            elif self._queues is not None:
                await self._queues.store(subject, frame, undelivered, message_id)
            else:
                await connection.client.publish(subject, frame, inbox.expect(frame, undelivered))
        except errors.Error as error:
            raise self._failure(f"publish on {subject}", error) from error

    def publish_from_thread(self, subject: str, frame: bytes) -> None:
        """Publish from any thread, also while the event loop is blocked; nobody is told what became of it.

        Raises:
            SynapseClosedError: The Synapse is not connected.
            FrameTooLargeError: The frame is larger than ``guarantees.max_frame``.
            SynapseError: The subject is malformed.
        """
        keeper = self._keeper
        if keeper is None:
            raise self._closed(f"publish on {subject}")
        if len(frame) > self.guarantees.max_frame:
            raise FrameTooLargeError(f"{len(frame)} bytes on {subject} are more than this Synapse carries")
        keeper.publish(check_subject(subject), frame)

    async def subscribe(
        self, pattern: str, handler: FrameHandler, *, queue_group: str | None = None
    ) -> Subscription:
        """Call ``handler`` with every frame that matches ``pattern``, from now on.

        Raises:
            SynapseClosedError: The Synapse is not connected.
            SynapseError: The pattern or the queue group is malformed, or the server does not allow it or does
                not answer.
        """
        check_pattern(pattern, queue_group)
        connection, queues = self._connection, self._queues
        if connection is None:
            raise self._closed(f"subscribe to {pattern}")
        plain = NatsSubscription(
            connection,
            handler,
            pattern,
            queue_group,
            max_in_flight=self._max_in_flight,
            max_pending=self._max_pending,
        )
        subscription = self._home.add(plain)
        try:
            await plain.listen(pattern, hidden=INTERNAL if queues is None else (*INTERNAL, *queues.subjects))
            if queues is not None and queue_group is not None:
                subscription.pulled = await queues.subscribe(
                    pattern, handler, queue_group, credit=self._max_in_flight
                )
            elif queues is not None:
                await plain.listen(queues.watched(pattern))
        except errors.Error as error:
            await self._undo(subscription)
            raise self._failure(f"subscribe to {pattern}", error) from error
        except BaseException:
            await self._undo(subscription)
            raise
        return subscription

    async def _undo(self, subscription: OwnedSubscription) -> None:
        await subscription.close()
        await subscription.unsubscribe()

    async def dead_letters(self) -> list[DeadLetter]:
        """Return the dead letters that are kept, oldest first; there are none unless the Synapse is durable.

        Raises:
            SynapseClosedError: The Synapse is not connected.
            SynapseError: The server does not answer.
        """
        if self._connection is None:
            raise self._closed("read the dead letters")
        return [] if self._queues is None else await self._queues.dead_letters()

    # --- saying what is wrong -----------------------------------------------------------------------

    def _closed(self, what: str) -> SynapseClosedError:
        return SynapseClosedError(f"cannot {what}: this NatsSynapse is not connected; await connect() first")

    def _failure(self, what: str, error: errors.Error) -> SynapseError:
        if isinstance(error, errors.OutboundBufferLimitError):
            return SynapseError(
                f"cannot {what}: {self._servers} is gone, and what waits for it is at its limit; try again "
                "when it is back"
            )
        if isinstance(error, errors.ConnectionClosedError):
            return SynapseError(
                f"cannot {what}: {self._servers} ended the connection for good, see the log for why; "
                "close() this Synapse and connect() again"
            )
        return SynapseError(f"cannot {what}: {self._servers} says: {error}")

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
