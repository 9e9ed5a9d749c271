"""The server's clock: the age of stored frames does not depend on the clocks of other programs."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import datetime
from typing import Final

from nats import errors

from cosmo_core.errors import SynapseError
from cosmo_synapse_nats.connection import Connection

FRESH_S: Final = 60.0
"""Seconds for which one reading is valid."""

MAX_ROUND_TRIP_S: Final = 0.05
"""Seconds of the longest round trip whose reading is exact enough to replace an earlier one."""


class ServerClock:
    """Returns the age of moments on the server's clock, exact to a few milliseconds.

    Args:
        connection: The connection.
        stream: The name of an existing stream.
    """

    def __init__(self, connection: Connection, stream: str) -> None:
        self._connection = connection
        self._subject = f"$JS.API.STREAM.INFO.{stream}"
        self._ahead_s = 0.0
        self._read_at = 0.0
        self._reading: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Read the clock three times, and keep the most exact reading.

        Raises:
            SynapseError: The server does not answer.
        """
        try:
            readings = [await self._read() for _ in range(3)]
        except (errors.Error, TimeoutError, ValueError, KeyError) as error:
            raise SynapseError(f"cannot read the server's clock: {error!r}") from error
        self._set(min(readings))

    def age_s(self, moment: float) -> float:
        """Return how many seconds ago ``moment`` was, in seconds since 1970 by the server's clock."""
        now = time.monotonic()
        if now - self._read_at > FRESH_S:
            self.refresh()
        return max(0.0, now + self._ahead_s - moment)

    def refresh(self) -> None:
        """Start to read the clock again, in a task."""
        if self._reading is None or self._reading.done():
            self._reading = asyncio.ensure_future(self._refresh())

    async def close(self) -> None:
        """Cancel a reading in progress."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})

    async def _refresh(self) -> None:
        try:
            reading = await self._read()
        except (errors.Error, TimeoutError, ValueError, KeyError) as error:
            self._connection.error_log.record("the server's clock could not be read", error)
            return
        if reading[0] < MAX_ROUND_TRIP_S:
            self._set(reading)

    def _set(self, reading: tuple[float, float]) -> None:
        self._ahead_s = reading[1]
        self._read_at = time.monotonic()

    async def _read(self) -> tuple[float, float]:
        """Return the round trip's seconds, and the server's clock minus the monotonic clock in seconds."""
        sent = time.monotonic()
        answer = await self._connection.client.request(self._subject, timeout=2)
        received = time.monotonic()
        server_time = datetime.fromisoformat(json.loads(answer.data)["ts"]).timestamp()
        return received - sent, server_time - (sent + received) / 2
