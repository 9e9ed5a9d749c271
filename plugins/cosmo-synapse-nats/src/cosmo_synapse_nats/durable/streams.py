"""Streams and consumers on the server: waiting frames, dead letters, and the queue groups' consumers."""

from __future__ import annotations

import asyncio
from hashlib import blake2b
from time import monotonic
from typing import Any, Final, NamedTuple

from nats import errors
from nats.aio.msg import Msg
from nats.js import JetStreamContext, api
from nats.js.errors import APIError, NotFoundError, ServiceUnavailableError

from cosmo_core.errors import SynapseAuthError, SynapseError
from cosmo_core.routing import SubjectTable
from cosmo_synapse_nats.connection import STREAM_HEADER
from cosmo_synapse_nats.failures import PERMISSIONS, ErrorLog
from cosmo_synapse_nats.options import Durability, Servers

NAME_IN_USE: Final = 10058
"""The server's code for a stream that exists with another configuration."""

NO_STORAGE: Final = 10047
"""The server's code for a store that is full, or too small for a stream."""

SHORT_ADDRESS: Final = 9
"""How many tokens the reply address of a stored message has without a domain."""

PAGE: Final = 256
"""How many consumers the server lists in one answer."""

RETRY_S: Final = 0.05
"""Seconds until a server that did not answer is asked again."""

CORE_ONLY_S: Final = 1.0
"""Seconds for which a subject with subscribers, and without a durable consumer, is taken for such."""

MAX_CORE_ONLY: Final = 1_024
"""How many such subjects are remembered."""


def tasks_stream(servers: Servers, durability: Durability) -> api.StreamConfig:
    """Return the configuration of the stream of waiting frames.

    A frame is removed when every queue group that had a consumer when it was stored has acknowledged it.
    """
    return _stream(
        servers.tasks,
        durability,
        retention=api.RetentionPolicy.INTEREST,
        discard=api.DiscardPolicy.NEW,
        discard_new_per_subject=True,
        max_msgs_per_subject=durability.max_waiting,
        max_bytes=durability.max_bytes,
        duplicate_window=durability.duplicates_s,
    )


def answers_stream(servers: Servers, durability: Durability) -> api.StreamConfig:
    """Return the configuration of the stream of answers; each is removed after ``answers_s``."""
    return _stream(
        servers.answers,
        durability,
        max_age=durability.answers_s,
        max_bytes=durability.max_bytes,
        duplicate_window=min(durability.duplicates_s, durability.answers_s),
    )


def dead_stream(servers: Servers, durability: Durability) -> api.StreamConfig:
    """Return the configuration of the stream of dead letters; the oldest are removed first."""
    return _stream(
        servers.dead, durability, max_msgs=durability.max_dead, duplicate_window=durability.duplicates_s
    )


def _stream(
    name: str,
    durability: Durability,
    *,
    retention: api.RetentionPolicy = api.RetentionPolicy.LIMITS,
    discard: api.DiscardPolicy = api.DiscardPolicy.OLD,
    **limits: Any,
) -> api.StreamConfig:
    return api.StreamConfig(
        name=name,
        subjects=[f"{name}.>"],
        retention=retention,
        discard=discard,
        storage=api.StorageType.FILE,
        num_replicas=durability.replicas,
        **limits,
    )


async def ensure_stream(js: JetStreamContext, config: api.StreamConfig, error_log: ErrorLog) -> None:
    """Create a stream unless it exists. Several programs may do this at once; the first one's limits apply.

    Raises:
        SynapseError: The server has no JetStream, this user may not use the stream, or another kind of
            stream has this name.
    """
    denied = error_log.denied
    try:
        if await _exists(js, config):
            return
        try:
            await js.add_stream(config)
        except APIError as error:
            # Another program may have created it meanwhile.
            if error.err_code != NAME_IN_USE or not await _exists(js, config):
                raise
    except APIError as error:
        if isinstance(error, ServiceUnavailableError) and error.err_code is None:
            raise SynapseError(_no_jetstream(error_log.where)) from error
        advice = "; lower max_bytes, or raise max_file of the server" if error.err_code == NO_STORAGE else ""
        raise SynapseError(
            f"{error_log.where} cannot create the stream {config.name}: {error.description}{advice}"
        ) from error
    except (errors.NoRespondersError, TimeoutError) as error:
        error_log.check_denied(f"$JS.API.STREAM.INFO.{config.name}")
        if error_log.denied > denied:
            raise SynapseAuthError(
                f"{error_log.where} has no stream {config.name}, and this user may not create it: let "
                f"a user with all permissions connect once; {PERMISSIONS}"
            ) from error
        raise SynapseError(_no_jetstream(error_log.where)) from error


async def _exists(js: JetStreamContext, config: api.StreamConfig) -> bool:
    try:
        found = (await js.stream_info(config.name or "")).config
    except NotFoundError:
        return False
    if found.subjects != config.subjects or found.retention != config.retention:
        raise SynapseError(
            f"the server has a stream {config.name} that was not made by cosmo: use another prefix=…"
        )
    return True


def _no_jetstream(where: str) -> str:
    return (
        f"{where} has no JetStream, which durable=true needs: start nats-server with -js and -sd <directory>"
    )


class Origin(NamedTuple):
    """Where a stored message comes from, and how often.

    Attributes:
        consumer: The name of the consumer.
        deliveries: How many times the message was delivered.
        sequence: Its number in the stream.
        number: The number of the delivery, of all of the consumer.
        stored_at: When it was stored, in seconds since 1970 by the server's clock.
    """

    consumer: str
    deliveries: int
    sequence: int
    number: int
    stored_at: float

    @classmethod
    def of(cls, msg: Msg) -> Origin:
        """Read it from the reply address: ``$JS.ACK`` with seven more tokens, or with nine or ten.

        nats-py makes four objects of it, one a datetime.

        Raises:
            NotJSMessageError: The message does not come from a stream.
        """
        tokens = msg.reply.split(".")
        if len(tokens) > SHORT_ADDRESS:
            # After the domain and the account.
            del tokens[2:4]
        if len(tokens) < SHORT_ADDRESS or tokens[:2] != ["$JS", "ACK"]:
            raise errors.NotJSMessageError
        _, consumer, deliveries, sequence, number, stored_at = tokens[2:8]
        return cls(consumer, int(deliveries), int(sequence), int(number), int(stored_at) / 1e9)


def from_this_stream(msg: Msg, stream: str) -> bool:
    """Tell whether a stored message was published to this stream.

    The server stores a message with this header in the stream of that name only. So a user who may not
    publish to the stream cannot let the server copy a message into it from another one.
    """
    return (msg.headers or {}).get(STREAM_HEADER) == stream


async def ensure_consumer(
    js: JetStreamContext,
    error_log: ErrorLog,
    stream: str,
    durability: Durability,
    pattern: str,
    queue_group: str,
) -> str:
    """Create the consumer of a queue group unless it exists; return its name.

    Raises:
        SynapseError: The server rejects it, does not allow it to this user, or does not answer.
    """
    name = f"{queue_group}_{blake2b(pattern.encode(), digest_size=8).hexdigest()}"
    config = api.ConsumerConfig(
        durable_name=name,
        filter_subject=f"{stream}.{pattern}",
        # Frames stored before the group existed are not delivered to it.
        deliver_policy=api.DeliverPolicy.NEW,
        ack_policy=api.AckPolicy.EXPLICIT,
        ack_wait=durability.ack_wait_s,
        # No limit on the server: it would only stop delivering a frame, and publish an advisory that may be
        # missed. Members count the deliveries and store dead letters.
        max_deliver=-1,
        max_ack_pending=-1,
    )
    try:
        await js.add_consumer(stream, config)
    except (errors.Error, TimeoutError) as error:
        raise SynapseError(f"cannot create the consumer of {queue_group} in {stream}: {error!r}") from error
    return name


async def every_consumer(js: JetStreamContext, stream: str) -> list[api.ConsumerInfo]:
    """Return all consumers of a stream, from all pages of the server's list."""
    found: list[api.ConsumerInfo] = []
    while True:
        page = await js.consumers_info(stream, offset=len(found))
        found += page
        if len(page) < PAGE:
            return found
        await asyncio.sleep(0)


class ConsumerIndex:
    """A cache of the subjects for which a queue group has a durable consumer. It asks the server on a miss.

    A consumer stays when its group's members leave, so what was found once need not be looked up again.
    """

    def __init__(self, js: JetStreamContext, stream: str) -> None:
        self._js = js
        self._stream = stream
        self._table: SubjectTable[str] = SubjectTable()
        self._loading = asyncio.Lock()
        self._loaded_at = -1.0
        self._core_only: dict[str, float] = {}

    def has_consumer(self, subject: str) -> bool:
        """Return whether the cache has a consumer for ``subject``."""
        return bool(self._table.route(subject).targets)

    async def look_up(self, subject: str) -> bool:
        """Ask the server, until it answers, whether there is a consumer for ``subject``.

        Raises:
            SynapseError: The server rejects the request.
        """
        since = monotonic()
        async with self._loading:
            # A load that another caller started after `since` is good enough.
            while not self.has_consumer(subject) and self._loaded_at < since:
                started = monotonic()
                if await self._load():
                    self._loaded_at = started
                else:
                    await asyncio.sleep(RETRY_S)
            return self.has_consumer(subject)

    def is_core_only(self, subject: str, *, online: bool) -> bool:
        """Return whether ``subject`` recently had subscribers, and no durable consumer.

        While the server cannot be reached, this does not expire.
        """
        since = self._core_only.get(subject)
        if since is None or self.has_consumer(subject):
            return False
        return not online or monotonic() - since < CORE_ONLY_S

    def mark_core_only(self, subject: str) -> None:
        """Remember that ``subject`` has subscribers, and no durable consumer."""
        self._core_only.pop(subject, None)
        self._core_only[subject] = monotonic()
        if len(self._core_only) > MAX_CORE_ONLY:
            del self._core_only[next(iter(self._core_only))]

    async def _load(self) -> bool:
        try:
            consumers = await every_consumer(self._js, self._stream)
        except (ServiceUnavailableError, TimeoutError):
            # The server is gone, or has not opened its store yet.
            return False
        except errors.Error as error:
            raise SynapseError(f"cannot list the consumers of {self._stream}: {error}") from error
        table: SubjectTable[str] = SubjectTable()
        for consumer in consumers:
            pattern = (consumer.config.filter_subject or "").removeprefix(f"{self._stream}.")
            if pattern:
                table.add(pattern, consumer.name)
        self._table = table
        return True
