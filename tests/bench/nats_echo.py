"""Echoes over bare nats-py: request and reply, and work on JetStream whose answers are sent or stored.

As a script it is the server: ``nats_echo.py requests|work|stored URL`` runs until it is terminated.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from itertools import count as numbers
from typing import Any, Final

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import RetentionPolicy

BODY: Final = b"." * 300
SUBJECT: Final = "bench-echo"
WORK: Final = "bench-work"
ANSWERS: Final = "bench-answers"
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
    """A client of `echo_work`: it publishes to a stream and waits for the reply, below ``inbox``."""

    def __init__(self, client: Client, inbox: str) -> None:
        self._stream = client.jetstream()
        self._inbox = inbox
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
    """Connect to a server with `echo_work` that sends its replies."""
    client = await nats.connect(url)
    try:
        working = WorkQueueClient(client, client.new_inbox())
        await client.subscribe(working.replies, cb=working.resolve)
        yield working
    finally:
        await client.close()


@asynccontextmanager
async def stored(url: str) -> AsyncIterator[WorkQueueClient]:
    """Connect to a server with `echo_work` that stores its replies, and read them from their stream."""
    client = await nats.connect(url)
    try:
        working = WorkQueueClient(client, f"{ANSWERS}.{client.new_inbox().rpartition('.')[2]}")
        # The consumer of least work: it is read in order, and nothing is acknowledged.
        await client.jetstream().subscribe(working.replies, cb=working.resolve, ordered_consumer=True)
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


async def echo_work(url: str, *, stores: bool) -> None:
    """Pull messages; reply to each, or store the reply and wait until it is stored; then acknowledge it."""
    client = await nats.connect(url)
    stream = client.jetstream()
    await stream.add_stream(name=WORK, subjects=[WORK], retention=RetentionPolicy.WORK_QUEUE)
    await stream.add_stream(name=ANSWERS, subjects=[f"{ANSWERS}.>"])
    pulled = await stream.pull_subscribe(WORK, durable=WORK, stream=WORK)
    reply = stream.publish if stores else client.publish

    async def answer(message: Msg) -> None:
        await reply((message.headers or {})[REPLY_TO], message.data)
        await message.ack()

    print("ready", flush=True)
    while True:
        try:
            batch = await pulled.fetch(BATCH, timeout=WAIT_S)
        except TimeoutError:
            # Also raised by nats-py if no message arrived in time.
            continue
        await asyncio.gather(*map(answer, batch))


SERVERS: Final[dict[str, Callable[[str], Coroutine[Any, Any, None]]]] = {
    "requests": echo_requests,
    "work": partial(echo_work, stores=False),
    "stored": partial(echo_work, stores=True),
}

if __name__ == "__main__":
    asyncio.run(SERVERS[sys.argv[1]](sys.argv[2]))
