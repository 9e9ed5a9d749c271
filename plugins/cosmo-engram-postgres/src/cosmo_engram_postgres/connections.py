"""The driver's pool, for calls that may be cancelled, and leave nothing behind on a connection."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

import asyncpg

if TYPE_CHECKING:
    from cosmo_engram_postgres.driver import Connection, Pool, PooledConnection, T, Work

SETTLE_S: Final = 2.0
"""Seconds within which the server has to answer when a call is cancelled, or a connection is closed."""

IDLE_S: Final = 60.0
"""After how many seconds a connection that was not needed is closed."""


class Connections:
    """A pool that connects when it is first needed.

    Args:
        dsn: Where to; None for what the environment says.
        connect: Opens a connection there, with what else the pool says of it.
        least: How many are kept when they are idle.
        most: How many there are at most. Whoever comes then waits, in turn.
    """

    def __init__(
        self, dsn: str | None, connect: Callable[..., Awaitable[Connection]], *, least: int, most: int
    ) -> None:
        self._options: dict[str, Any] = {
            "dsn": dsn,
            "connect": connect,
            "min_size": least,
            "max_size": most,
            "max_inactive_connection_lifetime": IDLE_S,
            # What it does by default costs a round trip of its own after each call.
            "reset": _leave_as_it_is,
        }
        self._pool: Pool | None = None
        self._opening = asyncio.Lock()
        self._settling: set[asyncio.Task[None]] = set()
        self._is_closed = False

    async def run(self, work: Work[T]) -> T:
        """Do something with a connection that nobody else has meanwhile.

        Raises:
            Exception: Whatever ``work`` or ``connect`` raises.
        """
        pool = self._pool or await self._opened()
        connection = await pool.acquire()
        try:
            result = await work(connection)
        except asyncpg.PostgresError:
            # The server refused, and has answered.
            await pool.release(connection, timeout=SETTLE_S)
            raise
        except BaseException:
            # An answer may still be on its way; nobody waits for it who was cancelled.
            task = asyncio.create_task(_settle(pool, connection))
            self._settling.add(task)
            task.add_done_callback(self._settling.discard)
            raise
        await pool.release(connection, timeout=SETTLE_S)
        return result

    async def close(self) -> None:
        """Close all of them, those in use too: their calls fail. No more can be opened."""
        self._is_closed = True
        async with self._opening:
            pool, self._pool = self._pool, None
        if self._settling:
            await asyncio.wait(self._settling)
        if pool is None:
            return
        try:
            async with asyncio.timeout(SETTLE_S):
                await pool.close()
        except TimeoutError:
            # Somebody has one still, or the server does not say good-bye: the pool cut them off.
            pool.terminate()

    async def _opened(self) -> Pool:
        async with self._opening:
            if self._is_closed:
                raise asyncpg.InterfaceError("the connections are closed")
            if self._pool is None:
                self._pool = await asyncpg.create_pool(**self._options)
            return self._pool


async def _leave_as_it_is(connection: Connection) -> None:
    """Do nothing: no call of an Engram leaves anything behind."""


async def _settle(pool: Pool, connection: PooledConnection) -> None:
    try:
        await pool.release(connection, timeout=SETTLE_S)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError):
        # It is gone, or hangs: the pool has cut it off. A time-out is an OSError, too.
        return
