"""Echoes over bare nats-py: request and reply, and work that a JetStream consumer pulls and acknowledges.

As a script it is the other side: ``nats_echo.py requests|work URL`` serves until it is ended.
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


class Requests:
    """Asks by request and reply."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def round_trips(self, count: int) -> None:
        """Send ``count`` requests, each when the reply to the one before has come."""
        for _ in range(count):
            await self._client.request(SUBJECT, BODY, timeout=WAIT_S)


class Work:
    """Asks by a message in a stream; whoever pulled it replies, and acknowledges it."""

    def __init__(self, client: Client) -> None:
        self._stream = client.jetstream()
        self._inbox = client.new_inbox()
        self._numbers = numbers()
        self._waiting: dict[str, asyncio.Future[None]] = {}

    async def take(self, reply: Msg) -> None:
        """Take a reply."""
        self._waiting.pop(reply.subject).set_result(None)

    async def round_trips(self, count: int) -> None:
        """Send ``count`` pieces of work, each when the reply to the one before has come."""
        loop = asyncio.get_running_loop()
        for _ in range(count):
            reply_to = f"{self._inbox}.{next(self._numbers)}"
            replied = self._waiting[reply_to] = loop.create_future()
            await self._stream.publish(WORK, BODY, headers={REPLY_TO: reply_to})
            await replied

    @property
    def replies(self) -> str:
        """The pattern on which replies come."""
        return f"{self._inbox}.*"


@asynccontextmanager
async def requests(url: str) -> AsyncIterator[Requests]:
    """Connect to a server where `echo_requests` serves."""
    client = await nats.connect(url)
    try:
        yield Requests(client)
    finally:
        await client.close()


@asynccontextmanager
async def work(url: str) -> AsyncIterator[Work]:
    """Connect to a server where `echo_work` serves."""
    client = await nats.connect(url)
    try:
        working = Work(client)
        await client.subscribe(working.replies, cb=working.take)
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
    """Pull, reply, acknowledge."""
    client = await nats.connect(url)
    stream = client.jetstream()
    await stream.add_stream(name=WORK, subjects=[WORK], retention=RetentionPolicy.WORK_QUEUE)
    pulled = await stream.pull_subscribe(WORK, durable=WORK, stream=WORK)
    print("ready", flush=True)
    while True:
        try:
            batch = await pulled.fetch(BATCH, timeout=WAIT_S)
        except TimeoutError:
            # nats-py's own is one of these, too: nobody sent anything for a while.
            continue
        for message in batch:
            await client.publish((message.headers or {})[REPLY_TO], message.data)
            await message.ack()


if __name__ == "__main__":
    asyncio.run({"requests": echo_requests, "work": echo_work}[sys.argv[1]](sys.argv[2]))
