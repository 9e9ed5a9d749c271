"""The durable side of a Synapse: it stores frames for queue groups, and subscribes members."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from itertools import count
from typing import Any, Final

from cosmo_core.contracts.delivery import DeadLetter, FrameHandler, UndeliveredHandler
from cosmo_core.errors import SynapseError
from cosmo_synapse_nats.connection import Connection
from cosmo_synapse_nats.durable.clock import ServerClock
from cosmo_synapse_nats.durable.dead_letters import MESSAGE_ID_HEADER, DeadLetterStream
from cosmo_synapse_nats.durable.pull import SendQueue
from cosmo_synapse_nats.durable.streams import (
    ConsumerIndex,
    dead_stream,
    ensure_consumer,
    ensure_stream,
    tasks_stream,
)
from cosmo_synapse_nats.durable.subscription import REPORT_TO_HEADER, DurableSubscription, Shared
from cosmo_synapse_nats.inbox import Inbox
from cosmo_synapse_nats.keepalive import KeepaliveThread
from cosmo_synapse_nats.options import Durability

FULL: Final = frozenset({10023, 10047, 10077})
"""The server's codes for a stream or a store that is full."""

MAX_ID: Final = 256
"""Characters in the longest ``message_id``."""

API_S: Final = 2.0
"""Seconds that the server may take to answer a JetStream request."""


class DurableQueues:
    """Stores frames for queue groups, and subscribes to stored frames.

    Attributes:
        subjects: The prefixes of the streams' subjects.
    """

    def __init__(
        self, connection: Connection, inbox: Inbox, keepalive: KeepaliveThread, durability: Durability
    ) -> None:
        self._js = connection.client.jetstream(timeout=API_S)
        self._inbox = inbox
        self._durability = durability
        self._consumers = ConsumerIndex(self._js, durability.tasks)
        self._shared = Shared(
            connection,
            SendQueue(connection),
            keepalive,
            ServerClock(connection, durability.tasks),
            DeadLetterStream(self._js, durability.dead),
            durability,
        )
        self._id_prefix = connection.client.new_inbox()
        self._numbers = count(1)
        self.subjects = (f"{durability.tasks}.", f"{durability.dead}.")

    async def open(self) -> None:
        """Create the streams unless they exist, and read the server's clock.

        Raises:
            SynapseError: The server has no JetStream, or does not answer.
        """
        where = self._shared.connection.where
        await ensure_stream(self._js, tasks_stream(self._durability), where)
        await ensure_stream(self._js, dead_stream(self._durability), where)
        await self._shared.clock.open()

    def stored_subject(self, pattern: str) -> str:
        """Return the subject, or pattern, under which frames on ``pattern`` are stored."""
        return f"{self._durability.tasks}.{pattern}"

    # --- publishing ---------------------------------------------------------------------------------

    async def store(
        self, subject: str, frame: bytes, undelivered: UndeliveredHandler, message_id: str | None
    ) -> None:
        """Store a frame on the server; return when the server has confirmed it.

        On a subject that never had a queue group, the frame is published on core NATS instead.

        Raises:
            SynapseError: The frame was not stored, or the server did not confirm it in time.
        """
        if self._consumers.is_core_only(subject, online=self._shared.connection.client.is_connected):
            await self._publish_core(subject, frame, undelivered)
            return
        headers = {MESSAGE_ID_HEADER: self._id(message_id)}
        address = ""
        try:
            async with asyncio.timeout(self._durability.store_timeout_s):
                if not (self._consumers.has_consumer(subject) or await self._consumers.look_up(subject)):
                    await self._try_core(subject, frame, undelivered)
                    return
                address = headers[REPORT_TO_HEADER] = self._inbox.register(frame, undelivered)
                answer = await self._request_store(self.stored_subject(subject), frame, address, headers)
        except TimeoutError:
            self._inbox.discard(address)
            raise SynapseError(
                f"the server did not confirm within {self._durability.store_timeout_s} s that the frame on "
                f"{subject} is stored: publish it again with the same message_id, and it is stored once"
            ) from None
        except BaseException:
            self._inbox.discard(address)
            raise
        error = answer.get("error")
        if error is not None:
            self._on_store_error(subject, address, error)

    async def _publish_core(self, subject: str, frame: bytes, undelivered: UndeliveredHandler) -> str:
        """Publish a frame on core NATS; return its reply address."""
        address = self._inbox.register(frame, undelivered)
        await self._shared.connection.client.publish(subject, frame, address)
        return address

    async def _try_core(self, subject: str, frame: bytes, undelivered: UndeliveredHandler) -> None:
        address = await self._publish_core(subject, frame, undelivered)
        try:
            # The server reports a frame without subscribers before it answers this.
            await self._shared.connection.flush()
        except SynapseError:
            # The frame is in the send buffer, and is sent when the server is back.
            return
        if self._inbox.is_registered(address):
            self._consumers.mark_core_only(subject)

    def _id(self, given: str | None) -> str:
        if given is None:
            # A unique id: it only prevents that a frame which is sent again after a reconnect is stored
            # twice.
            return f"{self._id_prefix}.{next(self._numbers)}"
        if len(given) > MAX_ID:
            raise SynapseError(
                f"the message_id has {len(given)} characters; at most {MAX_ID} characters are allowed"
            )
        return given

    async def _request_store(
        self, subject: str, frame: bytes, address: str, headers: dict[str, str]
    ) -> dict[str, Any]:
        while True:
            msg = await self._inbox.request(subject, frame, address, headers)
            # None: the connection broke. No data: the server has not opened its store yet.
            if msg is None:
                continue
            if msg.data:
                answer: dict[str, Any] = json.loads(msg.data)
                return answer
            await asyncio.sleep(0.05)

    def _on_store_error(self, subject: str, address: str, error: dict[str, Any]) -> None:
        if error.get("err_code") in FULL:
            self._inbox.report(address, "overloaded")
            return
        self._inbox.discard(address)
        raise SynapseError(f"the server did not store the frame on {subject}: {error.get('description')}")

    # --- subscribing --------------------------------------------------------------------------------

    async def subscribe(
        self, pattern: str, handler: FrameHandler, queue_group: str, *, prefetch: int
    ) -> DurableSubscription:
        """Subscribe as a member of a queue group.

        Raises:
            SynapseError: The server rejects it, or does not answer.
        """
        ensure = partial(ensure_consumer, self._js, self._durability, pattern, queue_group)
        consumer = await ensure()
        subscription = DurableSubscription(
            self._shared, pattern, handler, consumer, prefetch=prefetch, recreate_consumer=ensure
        )
        await subscription.pull.open()
        return subscription

    def on_reconnected(self) -> None:
        """Read the clock again: the connection may be to another server."""
        self._shared.clock.refresh()

    async def dead_letters(self) -> list[DeadLetter]:
        """Return the dead letters, oldest first.

        Raises:
            SynapseError: The server does not answer.
        """
        return await self._shared.dead_letters.read()

    async def close(self) -> None:
        """Send the waiting acknowledgements, and stop."""
        await self._shared.clock.close()
        await self._shared.send_queue.close()
