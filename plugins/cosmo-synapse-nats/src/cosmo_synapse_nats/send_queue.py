"""The queue of small messages to the server."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from nats import errors

from cosmo_synapse_nats.connection import CLOSE_S, Connection

MAX_WAITING: Final = 100_000
"""Messages that may wait while the server is gone. A lost acknowledgement causes one more delivery."""


class SendQueue:
    """Acknowledgements, pull requests, rejections and answers to probes, sent in order."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._waiting: deque[tuple[str, bytes, str]] = deque(maxlen=MAX_WAITING)
        self._wake = asyncio.Event()
        self._task = asyncio.ensure_future(self._run())

    def send(self, subject: str, data: bytes, reply: str = "") -> None:
        """Publish a message, at once if possible."""
        if not self._waiting and self._connection.client.send(subject, data, reply):
            return
        self._waiting.append((subject, data, reply))
        self._wake.set()

    async def close(self) -> None:
        """Send what is queued, if possible, and stop."""
        if not self._task.done():
            self._task.cancel()
            await asyncio.wait({self._task})
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._send_all()
        except TimeoutError:
            self._connection.error_log.record(
                "acknowledgements could not be sent", "the server does not read"
            )

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
                self._connection.error_log.record(
                    "an acknowledgement or a rejection could not be sent", error
                )
