"""Echoes over bare nats-py: request and reply, and work that a JetStream consumer pulls and acknowledges.

As a script it is the server: ``nats_echo.py requests|work URL`` runs until it is terminated.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count as numbers
from typing import Final

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import RetentionPolicy

BODY: Final = b"." * 300
SUBJECT: Final = "bench-echo"
WORK: Final = "bench-work"
REPLY_TO: Final = "Reply-To"
WAIT_S: Final = 20
BATCH: Final = 100


class RequestClient:
    """A client of `echo_requests`: request and reply."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def round_trips(self, count: int) -> None:
        """Send ``count`` requests, each after the reply to the previous one."""
        for _ in range(count):
            await self._client.request(SUBJECT, BODY, timeout=WAIT_S)


class WorkQueueClient:
    """A client of `echo_work`: it publishes to a stream and waits for the reply."""

    def __init__(self, client: Client) -> None:
        self._stream = client.jetstream()
        self._inbox = client.new_inbox()
        self._numbers = numbers()
        self._waiting: dict[str, asyncio.Future[None]] = {}

    async def resolve(self, reply: Msg) -> None:
        """Resolve the Future that waits for a reply."""
        self._waiting.pop(reply.subject).set_result(None)

    async def round_trips(self, count: int) -> None:
        """Publish ``count`` messages, each after the reply to the previous one."""
        loop = asyncio.get_running_loop()
        for _ in range(count):
            reply_to = f"{self._inbox}.{next(self._numbers)}"
            replied = self._waiting[reply_to] = loop.create_future()
            await self._stream.publish(WORK, BODY, headers={REPLY_TO: reply_to})
            await replied

    @property
    def replies(self) -> str:
        """The subject pattern of replies."""
        return f"{self._inbox}.*"


@asynccontextmanager
async def requests(url: str) -> AsyncIterator[RequestClient]:
    """Connect to a server with `echo_requests`."""
    client = await nats.connect(url)
    try:
        yield RequestClient(client)
    finally:
        await client.close()


@asynccontextmanager
async def work(url: str) -> AsyncIterator[WorkQueueClient]:
    """Connect to a server with `echo_work`."""
    client = await nats.connect(url)
    try:
        working = WorkQueueClient(client)
        await client.subscribe(working.replies, cb=working.resolve)
        yield working
    finally:
        await client.close()


async def echo_requests(url: str) -> None:
    """Reply to every request."""
    client = await nats.connect(url)

    async def reply(request: Msg) -> None:
        await request.respond(request.data)

    await client.subscribe(SUBJECT, cb=reply)
    await client.flush()
    print("ready", flush=True)
    await asyncio.Event().wait()


async def echo_work(url: str) -> None:
    """Pull each message, reply to it and acknowledge it."""
    client = await nats.connect(url)
    stream = client.jetstream()
    await stream.add_stream(name=WORK, subjects=[WORK], retention=RetentionPolicy.WORK_QUEUE)
    pulled = await stream.pull_subscribe(WORK, durable=WORK, stream=WORK)
    print("ready", flush=True)
    while True:
        try:
            batch = await pulled.fetch(BATCH, timeout=WAIT_S)
        except TimeoutError:
            # Also raised by nats-py if no message arrived in time.
            continue
        for message in batch:
            await client.publish((message.headers or {})[REPLY_TO], message.data)
            await message.ack()


if __name__ == "__main__":
    asyncio.run({"requests": echo_requests, "work": echo_work}[sys.argv[1]](sys.argv[2]))
