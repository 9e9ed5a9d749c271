"""Connections to the database, and a pool of them whose calls can be cancelled."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from traceback import walk_tb
from typing import Any, Final, TypeAlias, TypeVar

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from cosmo_engram_postgres.dsn import Dsn

# These classes are generic for type checkers only.
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
PooledConnection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"

T = TypeVar("T")

Work: TypeAlias = "Callable[[PooledConnection], Awaitable[T]]"
"""A coroutine function that uses a connection for as long as it runs."""

CALL_S: Final = 30.0
"""Longest time in seconds of one call, including waiting and retries."""

RELEASE_S: Final = 2.0
"""Seconds that the server has to answer when a call is cancelled or a connection is closed."""

CONNECT_S: Final = 5.0
"""Longest time in seconds of one attempt to connect, unless the DSN has ``connect_timeout``."""

IDLE_S: Final = 60.0
"""Seconds after which an unused connection is closed."""


_SETTINGS: Final = {
    "search_path": "pg_catalog",
    "jit": "off",
    # Of pgvector: an index goes on until enough entries meet the other conditions.
    "hnsw.iterative_scan": "strict_order",
    # By then the call has failed, and no caller waits for the answer.
    "statement_timeout": str(int(CALL_S * 1000)),
    "idle_in_transaction_session_timeout": str(int(CALL_S * 1000)),
}
# Each statement sees what was committed before it began. The locks of a write depend on this.
_ISOLATION: Final = "read committed"
_BEGIN: Final = f"BEGIN ISOLATION LEVEL {_ISOLATION}"
_BEGIN_WITH_SETTINGS: Final = "; ".join(
    [_BEGIN, *(f"SET LOCAL {name} = '{value}'" for name, value in _SETTINGS.items())]
)


class Connections:
    """A pool of connections, which is opened on first use.

    Behind a connection pooler such as PgBouncer, each call is a transaction with its own settings, since the
    next one may use another connection of the pooler to the server.

    Args:
        dsn: The database.
        application: The name of the connections on the server.
        least: How many connections stay open when they are idle.
        most: The most connections. Further callers wait in order.
    """

    def __init__(self, dsn: Dsn, *, application: str, least: int, most: int) -> None:
        self._options: dict[str, Any] = {
            "dsn": dsn.text,
            "connect": self._connect,
            "min_size": least,
            "max_size": most,
            "max_inactive_connection_lifetime": IDLE_S,
            # The default reset costs a round trip after each call.
            "reset": _skip_reset,
        }
        self._connect_s = dsn.connect_s or CONNECT_S
        self._application = application
        # Whether a connection pooler was found between this program and the server.
        self._has_pooler = False
        self._pool: Pool | None = None
        self._opening = asyncio.Lock()
        self._releasing: set[asyncio.Task[None]] = set()
        self._is_closed = False

    async def run(self, work: Work[T], *, in_transaction: bool = False) -> T:
        """Call ``work`` with a connection that no other call uses meanwhile.

        Args:
            work: The coroutine function.
            in_transaction: Whether all of its statements are one transaction.

        Raises:
            Exception: Any error of ``work`` or of connecting.
        """
        pool = self._pool or await self._open_pool()
        connection = await pool.acquire()
        begin = _BEGIN_WITH_SETTINGS if self._has_pooler else _BEGIN if in_transaction else None
        try:
            if begin is not None:
                await connection.execute(begin)
            result = await work(connection)
            if begin is not None:
                await connection.execute("COMMIT")
        except BaseException as error:
            task = asyncio.create_task(_release(pool, connection, begin is not None))
            self._releasing.add(task)
            task.add_done_callback(self._releasing.discard)
            # The server has answered with an error, so the connection is free at once. In all other cases an
            # answer may still be under way, and a cancelled caller must not wait for it.
            if isinstance(error, asyncpg.PostgresError):
                await asyncio.shield(task)
            raise
        await pool.release(connection, timeout=RELEASE_S)
        return result

    async def close(self) -> None:
        """Close all connections; calls that use one fail. No connection can be opened afterwards."""
        self._is_closed = True
        async with self._opening:
            pool, self._pool = self._pool, None
        if self._releasing:
            await asyncio.wait(self._releasing)
        await _cancellations_end()
        if pool is None:
            return
        try:
            async with asyncio.timeout(RELEASE_S):
                await pool.close()
        except TimeoutError:
            # A connection is still in use, or the server does not answer.
            pool.terminate()
        # Closing may have cancelled statements, too; and a transport closes its socket in the next turn.
        await _cancellations_end()
        await asyncio.sleep(0)

    async def _connect(self, dsn: str | None, **options: Any) -> Connection:
        """Open a connection whose behaviour does not depend on the settings of the server or of the user.

        Raises:
            PostgresError: The server refuses the connection.
            InterfaceError: The DSN or the environment is not valid.
            OSError: The server cannot be reached.
        """
        options["timeout"] = self._connect_s
        options["server_settings"] = {"application_name": self._application}
        if not self._has_pooler:
            settings = options["server_settings"] | _SETTINGS | {"default_transaction_isolation": _ISOLATION}
            try:
                connection = await _connect(dsn, **{**options, "server_settings": settings})
            except asyncpg.ProtocolViolationError:
                # A pooler refuses settings that it does not pass on.
                self._has_pooler = True
            else:
                try:
                    is_direct = await _is_direct(connection)
                except BaseException:
                    # Also a cancellation: nothing else would close it.
                    connection.terminate()
                    raise
                if is_direct:
                    return connection
                self._has_pooler = True
                await connection.close(timeout=RELEASE_S)
        # A pooler may not support named statements.
        return await _connect(dsn, **options, statement_cache_size=0)

    async def _open_pool(self) -> Pool:
        async with self._opening:
            if self._is_closed:
                raise asyncpg.InterfaceError("the connections are closed")
            if self._pool is None:
                self._pool = await asyncpg.create_pool(**self._options)
            return self._pool


async def _skip_reset(connection: Connection) -> None:
    """Do nothing, since no call of an Engram changes the state of a connection."""


async def _release(pool: Pool, connection: PooledConnection, is_in_transaction: bool) -> None:
    try:
        try:
            if is_in_transaction:
                async with asyncio.timeout(RELEASE_S):
                    await connection.execute("ROLLBACK")
        finally:
            await pool.release(connection, timeout=RELEASE_S)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError):
        # The connection is lost or does not answer (a time-out is an OSError), and the pool has closed it.
        return


async def _cancellations_end() -> None:
    """Wait for the tasks in which asyncpg cancels statements: it does not wait for them when it closes."""
    name = "Connection._cancel"
    tasks = [task for task in asyncio.all_tasks() if getattr(task.get_coro(), "__qualname__", "") == name]
    if tasks:
        await asyncio.wait(tasks, timeout=RELEASE_S)


async def _connect(dsn: str | None, **options: Any) -> Connection:
    connecting: Awaitable[Connection] = asyncpg.connect(dsn, **options, max_cached_statement_lifetime=0)
    try:
        return await connecting
    except ssl.SSLError:
        # Also a ValueError.
        raise
    except (ValueError, TypeError, OverflowError) as error:
        if "root certificate" in str(error):
            raise ssl.SSLError("no certificate of an authority") from None
        # The driver's message is not passed on, since it may quote the password.
        raise asyncpg.ClientConfigurationError("the DSN or the environment is not valid") from None


async def _is_direct(connection: Connection) -> bool:
    """Report whether a connection ends at a server. A pooler has its own numbers for its connections."""
    # Without a name, as poolers may mix up the names of statements.
    statement = await connection.prepare("SELECT pg_backend_pid()", name="")
    return bool(await statement.fetchval() == connection.get_server_pid())


def _without_traceback(record: logging.LogRecord) -> bool:
    """Shorten the driver's warning that an idle connection of an Engram cannot be replaced."""
    error = record.exc_info[1] if record.exc_info else None
    if error and any(frame.f_code is _connect.__code__ for frame, _ in walk_tb(error.__traceback__)):
        record.msg, record.args = "%s (%s)", (record.getMessage(), type(error).__name__)
        record.exc_info = record.exc_text = None
    return True


# Once per outage and retry, its traceback would be 40 lines.
logging.getLogger("asyncpg.pool").addFilter(_without_traceback)
