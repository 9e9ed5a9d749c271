"""The server's clock, read from here: nobody else's need be right."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import datetime
from typing import TYPE_CHECKING, Final

from nats import errors

from cosmo_core.errors import SynapseError

if TYPE_CHECKING:
    from cosmo_synapse_nats.connection import Connection

FRESH_S: Final = 60.0
"""Seconds for which one reading is good."""

CLOSE_S: Final = 0.05
"""A reading that took longer is not exact enough to replace one that did not."""


class ServerClock:
    """Tells how long ago something happened by the server's clock, to a few milliseconds.

    Args:
        connection: The connection to ask on.
        stream: A stream that exists.
    """

    def __init__(self, connection: Connection, stream: str) -> None:
        self._connection = connection
        self._subject = f"$JS.API.STREAM.INFO.{stream}"
        self._ahead_s = 0.0
        self._read_at = 0.0
        self._reading: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Read the clock a few times, and keep the most exact reading.

        Raises:
            SynapseError: The server does not answer.
        """
        try:
            readings = [await self._read() for _ in range(3)]
        except (errors.Error, TimeoutError, ValueError, KeyError) as error:
            raise SynapseError(f"the server does not tell the time: {error!r}") from error
        self._take(min(readings))

    def age_s(self, moment: datetime) -> float:
        """Return how many seconds ago ``moment`` was."""
        now = time.monotonic()
        if now - self._read_at > FRESH_S:
            self.refresh()
        return max(0.0, now + self._ahead_s - moment.timestamp())

    def refresh(self) -> None:
        """Read the clock again in a while."""
        if self._reading is None or self._reading.done():
            self._reading = asyncio.ensure_future(self._refresh())

    async def close(self) -> None:
        """Read no more."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})

    async def _refresh(self) -> None:
        try:
            reading = await self._read()
        except (errors.Error, TimeoutError, ValueError, KeyError) as error:
            self._connection.troubles.note("the server's clock could not be read", error)
            return
        if reading[0] < CLOSE_S:
            self._take(reading)

    def _take(self, reading: tuple[float, float]) -> None:
        self._ahead_s = reading[1]
        self._read_at = time.monotonic()

    async def _read(self) -> tuple[float, float]:
        """Return how long it took, and by how much the server's clock is ahead of the monotonic one."""
        asked = time.monotonic()
        answer = await self._connection.client.request(self._subject, timeout=2)
        answered = time.monotonic()
        told = datetime.fromisoformat(json.loads(answer.data)["ts"]).timestamp()
        return answered - asked, told - (asked + answered) / 2
