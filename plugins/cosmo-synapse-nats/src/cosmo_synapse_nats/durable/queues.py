"""The durable side of a Synapse: it stores frames for queue groups, and subscribes members."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from itertools import count
from typing import Any, Final, TypeVar

from nats import errors
from nats.aio.msg import Msg

from cosmo_core.contracts.delivery import DeadLetter, FrameHandler, UndeliveredHandler
from cosmo_core.errors import SynapseError
from cosmo_synapse_nats.connection import STREAM_HEADER, Connection
from cosmo_synapse_nats.durable.answers import AnswerReader
from cosmo_synapse_nats.durable.clock import ServerClock
from cosmo_synapse_nats.durable.dead_letters import MESSAGE_ID_HEADER, DeadLetterStream
from cosmo_synapse_nats.durable.streams import (
    NO_STORAGE,
    ConsumerIndex,
    answers_stream,
    dead_stream,
    ensure_consumer,
    ensure_stream,
    tasks_stream,
)
from cosmo_synapse_nats.durable.subscription import REPORT_TO_HEADER, DurableSubscription, Shared
from cosmo_synapse_nats.inbox import Inbox
from cosmo_synapse_nats.keepalive import KeepaliveThread
from cosmo_synapse_nats.options import Durability
from cosmo_synapse_nats.send_queue import SendQueue

FULL: Final = frozenset({10023, NO_STORAGE, 10077})
"""The server's codes for a stream or a store that is full."""

IN_PROCESS: Final = 10158
"""The server's code for a frame whose id it is storing at this moment."""

TRANSIENT: Final = frozenset({IN_PROCESS, 10005, 10008, 10009})
"""Codes for which a frame is published again: there is no leader at the moment, or a store is opening."""

FIRST_ATTEMPT_S: Final = 1.0
"""Seconds until a frame that the server did not confirm is published again; they double each time."""

MAX_UNCONFIRMED: Final = 2
"""Attempts that a server without replicas may leave unconfirmed, while it answers other requests.

A server whose disk is full sends no error.
"""

LAST_ATTEMPT_S: Final = 4.0
"""The most seconds between two attempts."""

RETRY_S: Final = 0.05
"""Seconds until a frame that the server could not store at the moment is published again."""

MAX_ID: Final = 256
"""Characters in the longest ``message_id``."""

API_S: Final = 2.0
"""Seconds that the server may take to answer a JetStream request."""


_LINE_BREAKS: Final = str.maketrans("\r\n", "  ")

S = TypeVar("S", DurableSubscription, AnswerReader)


class DurableQueues:
    """Stores frames for queue groups, and subscribes to stored frames.

    Attributes:
        subjects: The prefixes of the streams' subjects.
    """

    def __init__(
        self,
        connection: Connection,
        inbox: Inbox,
        keepalive: KeepaliveThread,
        send_queue: SendQueue,
        durability: Durability,
    ) -> None:
        self._js = connection.client.jetstream(timeout=API_S)
        self._inbox = inbox
        self._durability = durability
        self._servers = servers = connection.servers
        self._consumers = ConsumerIndex(self._js, servers.tasks)
        self._shared = Shared(
            connection,
            send_queue,
            keepalive,
            ServerClock(connection, servers.tasks),
            DeadLetterStream(self._js, servers.dead),
            durability,
        )
        self._id_prefix = connection.client.new_inbox()
        self._numbers = count(1)
        self.subjects = (f"{servers.tasks}.", f"{servers.answers}.", f"{servers.dead}.")

    async def open(self) -> None:
        """Create the streams unless they exist, and read the server's clock.

        Raises:
            SynapseError: The server has no JetStream, does not allow its use, or does not answer.
        """
        for stream in (tasks_stream, answers_stream, dead_stream):
            config = stream(self._servers, self._durability)
            await ensure_stream(self._js, config, self._shared.connection.error_log)
        await self._shared.clock.open()

    def stored_subjects(self, pattern: str) -> tuple[str, str]:
        """Return the subjects, or patterns, under which frames and answers on ``pattern`` are stored."""
        return f"{self._servers.tasks}.{pattern}", f"{self._servers.answers}.{pattern}"

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
        headers = {MESSAGE_ID_HEADER: self._id(message_id), STREAM_HEADER: self._servers.tasks}
        address, until = "", self._until()
        try:
            if not self._consumers.has_consumer(subject):
                async with asyncio.timeout_at(until):
                    if not await self._consumers.look_up(subject):
                        await self._try_core(subject, frame, undelivered)
                        return
            address = headers[REPORT_TO_HEADER] = self._inbox.register(frame, undelivered)
            stored_subject = f"{self._servers.tasks}.{subject}"
            answer = await self._request_store(stored_subject, frame, address, headers, until)
        except TimeoutError:
            self._inbox.discard(address)
            raise self._unconfirmed(subject) from None
        except BaseException:
            self._inbox.discard(address)
            raise
        error = answer.get("error")
        if error is not None:
            self._on_store_error(subject, address, error)

    async def store_answer(self, subject: str, frame: bytes, message_id: str) -> None:
        """Store an answer for the one subscriber of ``subject``; return when the server has confirmed it.

        Raises:
            SynapseError: It was not stored, or the server did not confirm it in time.
        """
        headers = {MESSAGE_ID_HEADER: self._id(message_id), STREAM_HEADER: self._servers.answers}
        stored_subject = f"{self._servers.answers}.{subject}"
        address = self._inbox.address()
        try:
            answer = await self._request_store(stored_subject, frame, address, headers, self._until())
        except TimeoutError:
            raise self._unconfirmed(subject) from None
        if (error := answer.get("error")) is not None:
            raise self._not_stored(subject, error)

    def _unconfirmed(self, subject: str) -> SynapseError:
        return SynapseError(
            f"the server did not confirm within {self._durability.store_timeout_s} s that the frame on "
            f"{subject} is stored: publish it again with the same message_id, and it is stored once"
        )

    def _not_stored(self, subject: str, error: dict[str, Any]) -> SynapseError:
        return SynapseError(f"the server did not store the frame on {subject}: {error.get('description')}")

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
        # A header is one line.
        return given.translate(_LINE_BREAKS).strip()

    def _until(self) -> float:
        return self._shared.connection.loop.time() + self._durability.store_timeout_s

    async def _request_store(
        self, subject: str, frame: bytes, address: str, headers: dict[str, str], until: float
    ) -> dict[str, Any]:
        """Publish until the server answers for good. It stores a frame that is sent twice once, by its id.

        Raises:
            TimeoutError: It did not until then, in seconds of the event loop's clock.
        """
        wait_s = min(FIRST_ATTEMPT_S, self._durability.store_timeout_s)
        reconnects = self._shared.connection.client.stats["reconnects"]
        # It has a timer of its own.
        msg = await self._inbox.request(subject, frame, address, headers, wait_s)
        if (answer := _final(msg)) is not None:
            return answer
        connection, unconfirmed = self._shared.connection, 0
        async with asyncio.timeout_at(until):
            while True:
                if msg is None:
                    connection.error_log.check_denied(subject)
                    # The connection broke, or the server that had to answer is gone, or its disk is full.
                    wait_s = min(2 * wait_s, LAST_ATTEMPT_S)
                    unconfirmed += connection.client.stats["reconnects"] == reconnects
                    if unconfirmed >= MAX_UNCONFIRMED and await self._cannot_store(headers[STREAM_HEADER]):
                        return {"error": {"err_code": NO_STORAGE, "description": "its disk seems to be full"}}
                else:
                    await asyncio.sleep(RETRY_S)
                reconnects = connection.client.stats["reconnects"]
                msg = await self._inbox.request(subject, frame, address, headers, wait_s)
                if (answer := _final(msg)) is not None:
                    return answer

    async def _cannot_store(self, stream: str) -> bool:
        """Report whether the server answers, and has no replica to wait for before it confirms a frame."""
        if not self._shared.connection.client.is_connected:
            return False
        try:
            return (await self._js.stream_info(stream)).config.num_replicas == 1
        except (errors.Error, TimeoutError):
            return False

    def _on_store_error(self, subject: str, address: str, error: dict[str, Any]) -> None:
        if error.get("err_code") in FULL:
            self._inbox.report(address, "overloaded")
            return
        self._inbox.discard(address)
        raise self._not_stored(subject, error)

    # --- subscribing --------------------------------------------------------------------------------

    async def subscribe(
        self, pattern: str, handler: FrameHandler, queue_group: str, *, prefetch: int
    ) -> DurableSubscription:
        """Subscribe as a member of a queue group.

        Raises:
            SynapseError: The server rejects it, or does not answer.
        """
        consumer = partial(
            ensure_consumer,
            self._js,
            self._shared.connection.error_log,
            self._servers.tasks,
            self._durability,
            pattern,
            queue_group,
        )
        subscription = DurableSubscription(self._shared, pattern, handler, consumer, prefetch=prefetch)
        return await self._opened(subscription)

    async def subscribe_answers(self, pattern: str, handler: FrameHandler, *, prefetch: int) -> AnswerReader:
        """Subscribe to the answers on ``pattern`` that are stored from now on.

        Raises:
            SynapseError: The server rejects it, or does not answer.
        """
        shared = self._shared
        reader = AnswerReader(
            shared.connection,
            shared.send_queue,
            self._js,
            self._servers.answers,
            pattern,
            handler,
            prefetch=prefetch,
        )
        return await self._opened(reader)

    async def _opened(self, subscription: S) -> S:
        try:
            await subscription.pull.open()
        except BaseException:
            await subscription.close()
            raise
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
        """Stop."""
        await self._shared.clock.close()


def _final(msg: Msg | None) -> dict[str, Any] | None:
    """Return the answer of a stream to a frame if it is for good; None to publish the frame again."""
    # No data: the server has not opened its store yet.
    if msg is None or not msg.data:
        return None
    if b'"error"' not in msg.data:
        return {}
    answer: dict[str, Any] = json.loads(msg.data)
    return None if answer.get("error", {}).get("err_code") in TRANSIENT else answer
