"""Answers: stored in a stream, and read from it by the one subscriber of their inbox."""

from __future__ import annotations

from itertools import count
from typing import Final

from nats import errors
from nats.aio.msg import Msg
from nats.js import JetStreamContext, api

from cosmo_core.contracts.delivery import FrameHandler
from cosmo_core.errors import SynapseError
from cosmo_core.routing.handlers import HandlerRunner
from cosmo_synapse_nats.connection import Connection
from cosmo_synapse_nats.durable.pull import PullRequests
from cosmo_synapse_nats.durable.streams import Origin, from_this_stream
from cosmo_synapse_nats.send_queue import SendQueue

FORGOTTEN_S: Final = 30.0
"""Seconds after which the server removes a consumer of answers that is not used any more."""


class AnswerReader:
    """Reads the answers of one inbox from their stream, in order and each once.

    It remembers how far it has read. After a broken connection, or when something was lost on the way, it
    reads on from there with a new consumer on the server.

    Args:
        connection: The connection.
        send_queue: Sends the pull requests.
        js: The JetStream API.
        stream: The name of the stream of answers.
        pattern: The pattern of the inbox's subjects.
        handler: The handler.
        prefetch: How many answers the handler may work on at once.

    Attributes:
        pull: The pull requests.
    """

    def __init__(
        self,
        connection: Connection,
        send_queue: SendQueue,
        js: JetStreamContext,
        stream: str,
        pattern: str,
        handler: FrameHandler,
        *,
        prefetch: int,
    ) -> None:
        self._js = js
        self._connection = connection
        self._stream = stream
        self._pattern = pattern
        self._prefetch = prefetch
        self._runner = HandlerRunner(pattern, handler, self._on_done)
        self._names = (f"{connection.client.new_inbox().rpartition('.')[2]}-{n}" for n in count(1))
        # The sequence in the stream from which to read on; 0 until the first consumer exists.
        self._next = 0
        # The consumer, and the number of answers that it has sent here.
        self._consumer = ""
        self._received = 0
        self.pull = PullRequests(
            connection,
            send_queue,
            stream,
            capacity=self._capacity,
            on_frame=self._on_frame,
            on_idle=self._on_idle,
            consumer=self._new_consumer,
            renew=True,
        )

    @property
    def in_flight(self) -> int:
        """How many answers the handler is working on."""
        return self._runner.in_flight

    def _capacity(self) -> int:
        return self._prefetch - self._runner.in_flight

    async def _new_consumer(self) -> str:
        # From here on, what an earlier consumer still sends is ignored.
        self._consumer = ""
        name = next(self._names)
        try:
            if self._next and (await self._js.stream_info(self._stream)).state.last_seq < self._next - 1:
                # The stream was made again: its sequence numbers began again.
                self._next = 1
            info = await self._js.add_consumer(self._stream, self._config(name))
        except (errors.Error, TimeoutError) as error:
            raise SynapseError(f"cannot read the answers in {self._stream}: {error!r}") from error
        self._next = (info.delivered.stream_seq if info.delivered is not None else 0) + 1
        self._consumer, self._received = name, 0
        return name

    def _config(self, name: str) -> api.ConsumerConfig:
        return api.ConsumerConfig(
            name=name,
            filter_subject=f"{self._stream}.{self._pattern}",
            deliver_policy=api.DeliverPolicy.BY_START_SEQUENCE if self._next else api.DeliverPolicy.NEW,
            opt_start_seq=self._next or None,
            ack_policy=api.AckPolicy.NONE,
            inactive_threshold=FORGOTTEN_S,
            mem_storage=True,
            num_replicas=1,
        )

    def _on_frame(self, msg: Msg) -> None:
        origin = Origin.of(msg)
        if origin.consumer != self._consumer:
            # Sent by an earlier consumer: the present one sends it, too.
            return
        self._received += 1
        if origin.number != self._received:
            self.pull.recover()
            return
        self._next = origin.sequence + 1
        if from_this_stream(msg, self._stream):
            self._runner.run(msg.data)

    def _on_idle(self, sent: int) -> None:
        if sent != self._received:
            self.pull.recover()

    def _on_done(self, number: int, error: BaseException | None) -> None:
        self.pull.request()

    async def unsubscribe(self) -> None:
        """Request no more answers. Running handlers go on. Unsubscribing twice is not an error."""
        await self.pull.close()

    async def close(self) -> None:
        """Unsubscribe, and cancel running handlers."""
        await self.unsubscribe()
        await self._runner.close()
