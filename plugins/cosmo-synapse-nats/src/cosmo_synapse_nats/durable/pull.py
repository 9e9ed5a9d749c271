"""Pulling frames of a consumer from the server, and the queue of small messages to the server."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from nats import errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription as ServerSubscription

from cosmo_core.errors import SynapseError
from cosmo_synapse_nats.connection import Connection

MAX_WAITING: Final = 100_000
"""Messages that may wait while the server is gone. A lost acknowledgement causes one more delivery."""

EXPIRES_S: Final = 30.0
"""Seconds for which one pull request is valid."""

RETRY_S: Final = 0.5
"""Seconds until a pull request that the server rejected is repeated."""


class SendQueue:
    """Acknowledgements and pull requests, which one task sends to the server in order."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._waiting: deque[tuple[str, bytes, str]] = deque(maxlen=MAX_WAITING)
        self._wake = asyncio.Event()
        self._task = asyncio.ensure_future(self._run())

    def send(self, subject: str, data: bytes, reply: str = "") -> None:
        """Queue a message to be published."""
        self._waiting.append((subject, data, reply))
        self._wake.set()

    async def close(self) -> None:
        """Send what is queued, if possible, and stop."""
        if not self._task.done():
            self._task.cancel()
            await asyncio.wait({self._task})
        await self._send_all()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._send_all()

    async def _send_all(self) -> None:
        client = self._connection.client
        while self._waiting:
            subject, data, reply = self._waiting.popleft()
            try:
                await client.publish(subject, data, reply)
            except errors.Error as error:
                self._connection.error_log.record("an acknowledgement could not be sent", error)


class PullRequests:
    """Pulls frames of one consumer, with one request at a time, for as many frames as there is capacity.

    ``fetch`` of nats-py makes two requests where one is enough, and a task and a timer for every frame.

    Args:
        connection: The connection.
        send_queue: Sends the requests.
        stream: The name of the stream.
        consumer: The name of the consumer.
        capacity: Returns how many frames may be delivered.
        on_frame: Called with each frame.
        recreate_consumer: Creates the consumer again if it is gone.
    """

    def __init__(
        self,
        connection: Connection,
        send_queue: SendQueue,
        stream: str,
        consumer: str,
        *,
        capacity: Callable[[], int],
        on_frame: Callable[[Msg], None],
        recreate_consumer: Callable[[], Awaitable[object]],
    ) -> None:
        self._connection = connection
        self._send_queue = send_queue
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._capacity = capacity
        self._on_frame = on_frame
        self._recreate_consumer = recreate_consumer
        self._subscription: ServerSubscription | None = None
        self._inbox = ""
        self._request = 0
        self._requested = 0
        self._expiry: asyncio.TimerHandle | None = None
        self._recovery: asyncio.Task[None] | None = None
        self._closed = False

    async def open(self) -> None:
        """Subscribe to a new inbox, and request frames."""
        self._inbox = self._connection.client.new_inbox()
        # Answers to earlier requests go to earlier inboxes, so the number of requested frames stays exact.
        self._requested = 0
        self._subscription = await self._connection.subscribe(f"{self._inbox}.*", self._on_message)
        self.request()

    def request(self) -> None:
        """Request as many frames as there is capacity, unless requested frames are outstanding."""
        if self._requested or self._closed or (capacity := self._capacity()) < 1:
            return
        self._request += 1
        self._requested = capacity
        request = {"batch": capacity, "expires": int(EXPIRES_S * 1e9)}
        self._send_queue.send(self._subject, json.dumps(request).encode(), f"{self._inbox}.{self._request}")
        if self._expiry is not None:
            self._expiry.cancel()
        # The server ends a request by itself. This timer is for a request that never reached the server.
        self._expiry = asyncio.get_running_loop().call_later(EXPIRES_S + 5, self._expire, self._request)

    def on_reconnected(self) -> None:
        """Request again: what was requested on the old connection does not arrive any more."""
        if not self._closed:
            self._recover(self._reopen())

    async def close(self) -> None:
        """Request no more. Frames that the server has sent before are still delivered."""
        self._closed = True
        if self._expiry is not None:
            self._expiry.cancel()
        if self._recovery is not None:
            self._recovery.cancel()
            await asyncio.wait({self._recovery})
        if self._subscription is not None:
            subscription, self._subscription = self._subscription, None
            await self._connection.unsubscribe(subscription)

    def _expire(self, request: int) -> None:
        if request == self._request:
            self._requested = 0
            self.request()

    async def _on_message(self, msg: Msg) -> None:
        if not msg.reply:
            self._on_status(msg)
            return
        self._requested = max(0, self._requested - 1)
        self._on_frame(msg)
        if not self._requested:
            self.request()

    def _on_status(self, msg: Msg) -> None:
        headers = msg.headers or {}
        status, text = headers.get("Status", ""), headers.get("Description", "")
        if status == "100" or msg.subject != f"{self._inbox}.{self._request}":
            return
        self._requested = 0
        if status == "408":
            self.request()
            return
        self._connection.error_log.record("the server rejected a pull request", f"{status} {text}")
        self._recover(self._retry())

    def _recover(self, work: Awaitable[None]) -> None:
        if self._recovery is not None:
            self._recovery.cancel()
        self._recovery = asyncio.ensure_future(_await(work))

    async def _retry(self) -> None:
        while True:
            await asyncio.sleep(RETRY_S)
            try:
                await self._recreate_consumer()
            except SynapseError as error:
                self._connection.error_log.record("a consumer could not be created again", error)
                continue
            self.request()
            return

    async def _reopen(self) -> None:
        previous, self._subscription = self._subscription, None
        try:
            if previous is not None:
                await self._connection.unsubscribe(previous)
            await self.open()
        except errors.Error as error:
            self._connection.error_log.record("frames could not be requested after a reconnect", error)
            self._requested = 0


async def _await(work: Awaitable[None]) -> None:
    await work
