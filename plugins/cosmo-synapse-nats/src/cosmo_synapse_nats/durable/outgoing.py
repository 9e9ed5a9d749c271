"""Short messages to the server that nobody waits for, sent in order by one task."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

from nats import errors

if TYPE_CHECKING:
    from cosmo_synapse_nats.connection import Connection

MAX_WAITING: Final = 100_000
"""Messages that may wait while the server is gone. An acknowledgement beyond that means one more delivery."""


class Outgoing:
    """Acknowledgements and requests on their way to the server."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._waiting: deque[tuple[str, bytes, str]] = deque(maxlen=MAX_WAITING)
        self._wake = asyncio.Event()
        self._task = asyncio.ensure_future(self._work())

    def send(self, subject: str, data: bytes, reply: str = "") -> None:
        """Publish when it is its turn."""
        self._waiting.append((subject, data, reply))
        self._wake.set()

    async def close(self) -> None:
        """Send what waits, if that is possible, and no more."""
        if not self._task.done():
            self._task.cancel()
            await asyncio.wait({self._task})
        await self._send_all()

    async def _work(self) -> None:
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
                self._connection.troubles.note("an acknowledgement could not be sent", error)
