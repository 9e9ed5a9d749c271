"""Pulling frames of a consumer from the server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Final

from nats import errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription as ServerSubscription

from cosmo_core.errors import SynapseError
from cosmo_synapse_nats.connection import Connection
from cosmo_synapse_nats.failures import describe
from cosmo_synapse_nats.send_queue import SendQueue

EXPIRES_S: Final = 30.0
"""Seconds for which one pull request is valid."""

HEARTBEAT_S: Final = 2.0
"""Seconds between two heartbeats of the server while a pull request waits."""

SILENT_S: Final = 5.0
"""Seconds without a frame or a heartbeat after which a pull request is repeated."""

RETRY_S: Final = 0.5
"""Seconds until a consumer that could not be created is tried again."""


class PullRequests:
    """Pulls frames of one consumer, with one request at a time, for as many frames as there is capacity.

    ``fetch`` of nats-py makes two requests where one is enough, and a task and a timer for every frame. While
    a request waits, the server sends a heartbeat; a request without one is lost, and is repeated.

    Args:
        connection: The connection.
        send_queue: Sends the requests.
        stream: The name of the stream.
        capacity: Returns how many frames may be delivered.
        on_frame: Called with each frame.
        on_idle: Called with each heartbeat: how many frames the consumer has sent in all.
        consumer: Makes sure that the consumer exists, and returns its name.
        renew: Whether ``consumer`` is called after each reconnect, and not only if the consumer is gone.
    """

    def __init__(
        self,
        connection: Connection,
        send_queue: SendQueue,
        stream: str,
        *,
        capacity: Callable[[], int],
        on_frame: Callable[[Msg], None],
        consumer: Callable[[], Awaitable[str]],
        on_idle: Callable[[int], None] = lambda sent: None,
        renew: bool = False,
    ) -> None:
        self._connection = connection
        self._send_queue = send_queue
        self._stream = stream
        self._subject = ""
        self._capacity = capacity
        self._on_frame = on_frame
        self._on_idle = on_idle
        self._consumer = consumer
        self._renew = renew
        self._subscription: ServerSubscription | None = None
        self._inbox = ""
        self._request = 0
        self._requested = 0
        self._heard_at = 0.0
        self._check: asyncio.TimerHandle | None = None
        self._recovery: asyncio.Task[None] | None = None
        # Those that were cancelled and have not ended, too.
        self._recoveries: set[asyncio.Task[None]] = set()
        self._closed = False

    async def open(self) -> None:
        """Subscribe to a new inbox, make sure that the consumer exists, and request frames.

        Raises:
            SynapseError: There is no consumer.
        """
        await self._open(renew=True)

    async def _open(self, *, renew: bool) -> None:
        inbox = self._connection.client.new_inbox()
        subscription = await self._connection.subscribe(f"{inbox}.*", self._on_message)
        previous, self._subscription, self._inbox = self._subscription, subscription, inbox
        # Answers to earlier requests go to earlier inboxes, so the number of requested frames stays exact.
        self._requested = 0
        if previous is not None:
            await self._connection.unsubscribe(previous)
        if renew:
            self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{await self._consumer()}"
        self.request()

    def request(self) -> None:
        """Request as many frames as there is capacity, unless requested frames are outstanding."""
        if self._requested or self._closed or self._recovering or (capacity := self._capacity()) < 1:
            return
        self._request += 1
        self._requested = capacity
        request = {
            "batch": capacity,
            "expires": int(EXPIRES_S * 1e9),
            "idle_heartbeat": int(HEARTBEAT_S * 1e9),
        }
        self._send_queue.send(self._subject, json.dumps(request).encode(), f"{self._inbox}.{self._request}")
        self._heard_at = self._connection.loop.time()
        if self._check is None:
            self._check_later(SILENT_S)

    @property
    def _recovering(self) -> bool:
        return self._recovery is not None and not self._recovery.done()

    def on_reconnected(self) -> None:
        """Request again: what was requested on the old connection does not arrive any more."""
        self.recover(renew=self._renew)

    def recover(self, *, renew: bool = True, after_s: float = 0.0) -> None:
        """Request again after some seconds; if ``renew``, make sure before that the consumer exists."""
        if self._closed:
            return
        self._cancel_recoveries()
        self._recovery = asyncio.ensure_future(self._recover(set(self._recoveries), renew, after_s))
        self._recoveries.add(self._recovery)
        self._recovery.add_done_callback(self._recoveries.discard)

    def _cancel_recoveries(self) -> None:
        for recovery in self._recoveries:
            recovery.cancel()

    async def close(self) -> None:
        """Request no more. Frames that the server has sent before are still delivered."""
        self._closed = True
        if self._check is not None:
            self._check.cancel()
        self._cancel_recoveries()
        if self._recoveries:
            await asyncio.wait(self._recoveries)
        if self._subscription is not None:
            subscription, self._subscription = self._subscription, None
            await self._connection.unsubscribe(subscription)

    def _check_later(self, after_s: float) -> None:
        self._check = self._connection.loop.call_later(after_s, self._check_heard)

    def _check_heard(self) -> None:
        self._check = None
        if not self._requested or self._closed:
            return
        left_s = self._heard_at + SILENT_S - self._connection.loop.time()
        if left_s > 0:
            self._check_later(left_s)
        elif self._recovering or not self._connection.client.is_connected:
            self._check_later(SILENT_S)
        else:
            self._connection.error_log.record("a pull request was lost", f"no heartbeat for {SILENT_S} s")
            self._requested = 0
            self.recover()

    def _on_message(self, msg: Msg) -> None:
        self._heard_at = self._connection.loop.time()
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
        if msg.subject != f"{self._inbox}.{self._request}":
            return
        if status == "100":
            self._on_idle(int(headers.get("Nats-Last-Consumer", 0)))
            return
        self._requested = 0
        if status == "408":
            self.request()
            return
        self._connection.error_log.record("the server rejected a pull request", f"{status} {text}")
        self.recover(after_s=RETRY_S)

    async def _recover(self, earlier: set[asyncio.Task[None]], renew: bool, after_s: float) -> None:
        if earlier:
            # Up to Python 3.11, `asyncio.wait_for` may lose a cancellation: one of them may end as if it had
            # not been cancelled.
            await asyncio.wait(earlier)
        await asyncio.sleep(after_s)
        while True:
            try:
                await self._open(renew=renew)
            except (SynapseError, errors.Error) as error:
                self._connection.error_log.record("frames could not be requested again", describe(error))
                renew = True
                await asyncio.sleep(RETRY_S)
                continue
            break
        if self._recovery is asyncio.current_task():
            self._recovery = None
            self.request()
