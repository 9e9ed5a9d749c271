"""Calls to the database, with a time limit, and with retries when a connection is lost."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Final

from cosmo_core.errors import EngramError
from cosmo_engram_postgres.connections import CALL_S, Connections, T, Work
from cosmo_engram_postgres.failures import DRIVER_ERRORS, closed, failure, is_transient

RETRY_S: Final = 2.0
"""Seconds after the first lost connection during which a call is retried."""

CLOSE_S: Final = 10.0
"""Seconds that running calls have to end when the Engram closes."""

MAX_CALLS: Final = 2_048
"""Most calls under way, including those that wait for a connection."""

_FIRST_PAUSE_S: Final = 0.02
_LONGEST_PAUSE_S: Final = 0.32


class Calls:
    """The calls of one Engram between its ``connect`` and its ``close``.

    Args:
        connections: The connections to use.
        name: The name of the Engram in messages.
        place: The database in messages.
    """

    def __init__(self, connections: Connections, *, name: str, place: str) -> None:
        self._connections = connections
        self._name = name
        self._place = place
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._closing = False
        self._cut_off = False

    async def run(self, work: Work[T], *, in_transaction: bool = False, counted: bool = True) -> T:
        """Call ``work`` with a connection. If the connection is lost, ``work`` is called again.

        Args:
            work: The coroutine function.
            in_transaction: Whether all of its statements are one transaction.
            counted: Whether it is a call of its own; False for work of calls that wait in `limited`.

        Raises:
            EngramError: The call failed, or the Engram is closed.
        """
        if counted:
            return await self.limited(lambda: self._run_with_retries(work, in_transaction))
        return await self._in_time(self._run_with_retries(work, in_transaction))

    async def limited(self, call: Callable[[], Awaitable[T]]) -> T:
        """Await a call, which is counted and has the time limit.

        Raises:
            EngramError: The call failed, too many are under way, or the Engram is closed.
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
        self._idle.clear()
        try:
            return await self._in_time(call())
        finally:
            self._running -= 1
            if not self._running:
                self._idle.set()

    async def _in_time(self, call: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(CALL_S):
                return await call
        except TimeoutError as error:
            raise failure(self._name, self._place, error) from None

    async def close(self) -> None:
        """Wait for the running calls for `CLOSE_S` seconds, and close the connections."""
        self._closing = True
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._idle.wait()
        except TimeoutError:
            # The calls that still run fail when their connections close.
            return
        finally:
            # Also if `close` is cancelled: no call may be retried afterwards.
            self._cut_off = True
            await self._connections.close()

    async def _run_with_retries(self, work: Work[T], in_transaction: bool) -> T:
        pause = _FIRST_PAUSE_S
        deadline = None
        while True:
            try:
                return await self._connections.run(work, in_transaction=in_transaction)
            except DRIVER_ERRORS as error:
                if self._cut_off:
                    raise closed(self._name) from None
                now = time.monotonic()
                deadline = deadline or now + RETRY_S
                if not is_transient(error) or now + pause > deadline:
                    raise failure(self._name, self._place, error) from None
            # Random, so that not all callers connect at once when the server is back.
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - no secret
            pause = min(2 * pause, _LONGEST_PAUSE_S)
