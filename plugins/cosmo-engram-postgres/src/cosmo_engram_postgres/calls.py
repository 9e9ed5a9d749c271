"""Every call to the database goes through here: it is bounded, and is tried again when it was cut off."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, Final

from cosmo_core.errors import EngramError
from cosmo_engram_postgres.driver import CALL_S
from cosmo_engram_postgres.failures import TROUBLES, closed, failure, may_help

if TYPE_CHECKING:
    from cosmo_engram_postgres.connections import Connections
    from cosmo_engram_postgres.driver import T, Work

RETRY_S: Final = 2.0
"""For how many seconds after it was first cut off a call is tried again."""

CLOSE_S: Final = 10.0
"""Seconds that closing leaves to calls that run."""

MAX_CALLS: Final = 2_048
"""How many calls may be under way, most of them waiting for a connection."""

_FIRST_PAUSE_S: Final = 0.02
_LONGEST_PAUSE_S: Final = 0.32


class Calls:
    """The calls of one Engram between its ``connect`` and its ``close``.

    Args:
        connections: What they go over.
        name: The Engram, for messages.
        where: The database, for messages.
    """

    def __init__(self, connections: Connections, *, name: str, where: str) -> None:
        self._connections = connections
        self._name = name
        self._where = where
        self._running = 0
        self._ended = asyncio.Event()
        self._ended.set()
        self._closing = False
        self._cut_off = False

    async def run(self, work: Work[T]) -> T:
        """Do something with a connection; it may be done more than once, if the connection gets lost.

        Raises:
            EngramError: It cannot be done, or the Engram is closed.
        """
        if self._closing:
            raise closed(self._name)
        if self._running >= MAX_CALLS:
            raise EngramError(
                f"{self._name} has {MAX_CALLS} calls under way: try again later, or raise max_size",
                code="ENGRAM_OVERLOADED",
                recoverable=True,
            )
        self._running += 1
        self._ended.clear()
        try:
            async with asyncio.timeout(CALL_S):
                return await self._run(work)
        except TimeoutError as error:
            raise failure(self._name, self._where, error) from None
        finally:
            self._running -= 1
            if not self._running:
                self._ended.set()

    async def close(self) -> None:
        """Let calls that run end, for a while, and close the connections."""
        self._closing = True
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._ended.wait()
        except TimeoutError:
            # Those that run are cut off now.
            return
        finally:
            # Also when whoever closes is cancelled: nothing may be tried again after this.
            self._cut_off = True
            await self._connections.close()

    async def _run(self, work: Work[T]) -> T:
        pause = _FIRST_PAUSE_S
        deadline = None
        while True:
            try:
                return await self._connections.run(work)
            except TROUBLES as error:
                if self._cut_off:
                    raise closed(self._name) from None
                now = time.monotonic()
                deadline = deadline or now + RETRY_S
                if not may_help(error) or now + pause > deadline:
                    raise failure(self._name, self._where, error) from None
            # Not all at once, when the server comes back.
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - no secret
            pause = min(2 * pause, _LONGEST_PAUSE_S)
