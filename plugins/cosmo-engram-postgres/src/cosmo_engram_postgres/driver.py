"""What the other modules call the driver's types, and how a connection of ours is set up."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar
from urllib.parse import urlsplit

import asyncpg

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]
    Pool: TypeAlias = asyncpg.Pool[asyncpg.Record]
    PooledConnection: TypeAlias = PoolConnectionProxy[asyncpg.Record]

T = TypeVar("T")

Work: TypeAlias = "Callable[[PooledConnection], Awaitable[T]]"
"""What is done with a connection, for as long as it takes."""

CALL_S: Final = 30.0
"""Seconds that one call may take, with all its waiting and trying again."""

CONNECT_S: Final = 5.0
"""Seconds that one attempt to connect may take."""

_UNSAID: Final = "PostgreSQL as its DSN says"
_HOST: Final = r"(?:[\w.%-]*|\[[\w:.%]+\])(?::\d+)?"
_HOSTS: Final = re.compile(f"{_HOST}(?:,{_HOST})*")


async def open_connection(dsn: str | None, *, engram_id: str, **options: Any) -> Connection:
    """Return a new connection on which nothing depends on how the server, or the user, is set up.

    Args:
        dsn: Where to; None for what the environment says.
        engram_id: Whose it is.
        **options: What a pool says of its connections.

    Raises:
        PostgresError: The server does not let this program in.
        InterfaceError: The DSN or the environment means nothing.
        OSError: The server cannot be reached.
    """
    connecting: Awaitable[Connection] = asyncpg.connect(
        dsn,
        **options,
        timeout=CONNECT_S,
        max_cached_statement_lifetime=0,
        server_settings={
            "application_name": f"cosmo-engram {engram_id}"[:63],
            # Each statement sees what was committed before it began: turns depend on that.
            "default_transaction_isolation": "read committed",
            "search_path": "pg_catalog",
            "jit": "off",
            # Nobody waits for it any longer.
            "statement_timeout": str(int(CALL_S * 1000)),
            "idle_in_transaction_session_timeout": str(int(CALL_S * 1000)),
        },
    )
    try:
        return await connecting
    except (ValueError, TypeError):
        # Not its words: they may quote the password.
        raise asyncpg.ClientConfigurationError("the DSN or the environment means nothing") from None


def place(dsn: str | None) -> str:
    """Return what may be said of a DSN: servers and database, without secrets."""
    if dsn is None:
        return "PostgreSQL as the PG* environment says"
    try:
        netloc, path = urlsplit(dsn)[1:3]
    except ValueError:
        return _UNSAID
    userinfo, _, hosts = netloc.rpartition("@")
    # A password with a slash or the like in it ends up where nobody looks for it.
    if ("@" in dsn and not userinfo) or "@" in path or not _HOSTS.fullmatch(hosts):
        return _UNSAID
    return f"PostgreSQL at {hosts or 'the default address'}{path}"
