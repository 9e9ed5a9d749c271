"""Frames for queue groups on JetStream: stored, pulled by members, buried."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from cosmo_core.errors import SynapseError
from cosmo_synapse_nats.durable.claims import Claims
from cosmo_synapse_nats.durable.clock import ServerClock
from cosmo_synapse_nats.durable.desk import Desk
from cosmo_synapse_nats.durable.graves import MESSAGE_ID, Graves
from cosmo_synapse_nats.durable.outgoing import Outgoing
from cosmo_synapse_nats.durable.streams import dead_stream, ensure_consumer, ensure_stream, tasks_stream
from cosmo_synapse_nats.durable.subscription import TELL, DurableSubscription

if TYPE_CHECKING:
    from cosmo_core.contracts.delivery import DeadLetter, FrameHandler, UndeliveredHandler
    from cosmo_synapse_nats.connection import Connection
    from cosmo_synapse_nats.inbox import Inbox
    from cosmo_synapse_nats.keeper import Keeper
    from cosmo_synapse_nats.options import Durability

FULL: Final = frozenset({10023, 10047, 10077})
"""The server's codes for a stream, or a store, that takes no more."""

MAX_ID: Final = 256

API_S: Final = 2.0
"""Seconds that the server may take for what is asked of its store."""


class DurableQueues:
    """The durable side of one Synapse."""

    def __init__(self, connection: Connection, inbox: Inbox, keeper: Keeper, durability: Durability) -> None:
        self._js = connection.client.jetstream(timeout=API_S)
        self._inbox = inbox
        self._durability = durability
        self._claims = Claims(self._js, durability.tasks)
        self._desk = Desk(
            connection,
            Outgoing(connection),
            keeper,
            ServerClock(connection, durability.tasks),
            Graves(self._js, durability.dead),
            durability,
        )
        self._origin = connection.client.new_inbox()
        self._numbers = count(1)
        self.subjects = (f"{durability.tasks}.", f"{durability.dead}.")

    async def open(self) -> None:
        """Make the streams, unless they are there, and read the server's clock.

        Raises:
            SynapseError: The server has no JetStream, or does not answer.
        """
        where = self._desk.connection.where
        await ensure_stream(self._js, tasks_stream(self._durability), where)
        await ensure_stream(self._js, dead_stream(self._durability), where)
        await self._desk.clock.open()

    def watched(self, pattern: str) -> str:
        """Return where what is published for queue groups can be seen by others."""
        return f"{self._durability.tasks}.{pattern}"

    # --- publishing ---------------------------------------------------------------------------------

    async def store(
        self, subject: str, frame: bytes, undelivered: UndeliveredHandler, message_id: str | None
    ) -> None:
        """Have the server store a frame; return when it has.

        Where no queue group ever was, it goes to who else listens, if anybody does.

        Raises:
            SynapseError: It did not, or did not say so in time.
        """
        if self._claims.is_plain(subject, online=self._desk.connection.client.is_connected):
            await self._offer(subject, frame, undelivered)
            return
        headers = {MESSAGE_ID: self._id(message_id)}
        address = ""
        try:
            async with asyncio.timeout(self._durability.store_timeout_s):
                if not (self._claims.known(subject) or await self._claims.found(subject)):
                    await self._try_plain(subject, frame, undelivered)
                    return
                address = headers[TELL] = self._inbox.expect(frame, undelivered)
                answer = await self._stored(self.watched(subject), frame, address, headers)
        except TimeoutError:
            self._inbox.forget(address)
            raise SynapseError(
                f"no word within {self._durability.store_timeout_s} s that the frame on {subject} is stored: "
                "publish it again under the same message_id, and it is stored once"
            ) from None
        except BaseException:
            self._inbox.forget(address)
            raise
        error = answer.get("error")
        if error is not None:
            self._refused(subject, address, error)

    async def _offer(self, subject: str, frame: bytes, undelivered: UndeliveredHandler) -> str:
        """Publish a frame that is not stored; return where the server says that nobody is there."""
        address = self._inbox.expect(frame, undelivered)
        await self._desk.connection.client.publish(subject, frame, address)
        return address

    async def _try_plain(self, subject: str, frame: bytes, undelivered: UndeliveredHandler) -> None:
        address = await self._offer(subject, frame, undelivered)
        try:
            # What the server has to say of the frame, it says before it answers.
            await self._desk.connection.flush()
        except SynapseError:
            # It was handed over nonetheless, and waits for the server to be back.
            return
        if self._inbox.expects(address):
            self._claims.note_plain(subject)

    def _id(self, given: str | None) -> str:
        if given is None:
            # Only for the case that it has to be sent again: equal frames need not be the same.
            return f"{self._origin}.{next(self._numbers)}"
        if len(given) > MAX_ID:
            raise SynapseError(f"a message_id has at most {MAX_ID} characters, and not {len(given)}")
        return given

    async def _stored(
        self, subject: str, frame: bytes, address: str, headers: dict[str, str]
    ) -> dict[str, Any]:
        while True:
            msg = await self._inbox.ask(subject, frame, address, headers)
            # None: the connection broke meanwhile. Nothing in it: the server has not opened its store yet.
            if msg is None:
                continue
            if msg.data:
                answer: dict[str, Any] = json.loads(msg.data)
                return answer
            await asyncio.sleep(0.05)

    def _refused(self, subject: str, address: str, error: dict[str, Any]) -> None:
        if error.get("err_code") in FULL:
            self._inbox.tell(address, "overloaded")
            return
        self._inbox.forget(address)
        raise SynapseError(f"the server does not store the frame on {subject}: {error.get('description')}")

    # --- taking -------------------------------------------------------------------------------------

    async def subscribe(
        self, pattern: str, handler: FrameHandler, queue_group: str, *, credit: int
    ) -> DurableSubscription:
        """Take the frames of a queue group.

        Raises:
            SynapseError: The server refuses, or does not answer.
        """
        repair = partial(ensure_consumer, self._js, self._durability, pattern, queue_group)
        consumer = await repair()
        subscription = DurableSubscription(
            self._desk, pattern, handler, consumer, credit=credit, repair=repair
        )
        await subscription.pull.open()
        return subscription

    def reconnected(self) -> None:
        """Read the clock again: it may be another server's."""
        self._desk.clock.refresh()

    async def dead_letters(self) -> list[DeadLetter]:
        """Return the dead letters, oldest first.

        Raises:
            SynapseError: The server does not answer.
        """
        return await self._desk.graves.read()

    async def close(self) -> None:
        """Send the acknowledgements that wait, and let go."""
        await self._desk.clock.close()
        await self._desk.outgoing.close()
