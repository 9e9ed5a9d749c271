"""The two streams of a durable bus: frames that wait for their queue group, and dead letters."""

from __future__ import annotations

import asyncio
from hashlib import blake2b
from typing import Final

from nats import errors
from nats.js import JetStreamContext, api
from nats.js.errors import APIError, ServiceUnavailableError

from cosmo_core.errors import SynapseError
from cosmo_synapse_nats.options import Durability

NAME_IN_USE: Final = 10058
"""The server's code for a stream that exists, and was made otherwise."""


def tasks_stream(durability: Durability) -> api.StreamConfig:
    """Return what the stream of waiting frames is like.

    A frame goes when every queue group that had its place when it came is done with it.
    """
    return api.StreamConfig(
        name=durability.tasks,
        subjects=[f"{durability.tasks}.>"],
        retention=api.RetentionPolicy.INTEREST,
        discard=api.DiscardPolicy.NEW,
        discard_new_per_subject=True,
        max_msgs_per_subject=durability.max_waiting,
        max_bytes=durability.max_bytes,
        storage=api.StorageType.FILE,
        num_replicas=durability.replicas,
        duplicate_window=durability.duplicates_s,
    )


def dead_stream(durability: Durability) -> api.StreamConfig:
    """Return what the stream of dead letters is like: the oldest go first."""
    return api.StreamConfig(
        name=durability.dead,
        subjects=[f"{durability.dead}.>"],
        retention=api.RetentionPolicy.LIMITS,
        discard=api.DiscardPolicy.OLD,
        max_msgs=durability.max_dead,
        storage=api.StorageType.FILE,
        num_replicas=durability.replicas,
        duplicate_window=durability.duplicates_s,
    )


async def ensure_stream(js: JetStreamContext, config: api.StreamConfig, where: str) -> None:
    """Make a stream, unless it is there. Several programs may do so at once; the first one's limits hold.

    Raises:
        SynapseError: The server has no JetStream, or the name is taken by something else.
    """
    try:
        await js.add_stream(config)
    except APIError as error:
        if isinstance(error, ServiceUnavailableError) and error.err_code is None:
            raise SynapseError(_no_jetstream(where)) from error
        if error.err_code != NAME_IN_USE:
            raise SynapseError(
                f"{where} cannot keep the stream {config.name}: {error.description}"
            ) from error
        await _check_stream(js, config, where)
    except (errors.NoRespondersError, TimeoutError) as error:
        raise SynapseError(_no_jetstream(where)) from error


async def _check_stream(js: JetStreamContext, config: api.StreamConfig, where: str) -> None:
    found = (await js.stream_info(config.name or "")).config
    if found.subjects != config.subjects or found.retention != config.retention:
        raise SynapseError(
            f"{where} has a stream {config.name} that is none of cosmo's: name another one with stream=…"
        )


def _no_jetstream(where: str) -> str:
    return (
        f"{where} has no JetStream, and durable=true needs it: start nats-server with -js and -sd <directory>"
    )


async def ensure_consumer(
    js: JetStreamContext, durability: Durability, pattern: str, queue_group: str
) -> str:
    """Give a queue group its place in the stream, unless it has one; return the name of its consumer.

    Raises:
        SynapseError: The server refuses, or does not answer.
    """
    name = f"{queue_group}_{blake2b(pattern.encode(), digest_size=8).hexdigest()}"
    config = api.ConsumerConfig(
        durable_name=name,
        filter_subject=f"{durability.tasks}.{pattern}",
        # What came before the group was there is not for it.
        deliver_policy=api.DeliverPolicy.NEW,
        ack_policy=api.AckPolicy.EXPLICIT,
        ack_wait=durability.ack_wait_s,
        # The member that gets it once too often buries it. The server would only stop delivering it, and tell
        # whoever happens to listen.
        max_deliver=-1,
        max_ack_pending=-1,
    )
    try:
        await js.add_consumer(durability.tasks, config)
    except (errors.Error, TimeoutError) as error:
        raise SynapseError(
            f"the server gives {queue_group} no place in {durability.tasks}: {error}"
        ) from error
    return name


async def every_consumer(js: JetStreamContext, stream: str) -> list[api.ConsumerInfo]:
    """Return all consumers of a stream; the server hands out its list in pages."""
    found: list[api.ConsumerInfo] = []
    while True:
        page = await js.consumers_info(stream, offset=len(found))
        found += page
        if len(page) < PAGE:
            return found
        await asyncio.sleep(0)


PAGE: Final = 256
