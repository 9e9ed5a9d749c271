"""What went wrong, in words that say what to do; and whether trying again may help.

No message has anything in it that PostgreSQL said: that may quote an entry.
"""

from __future__ import annotations

from typing import Final

import asyncpg

from cosmo_core.errors import EngramError

TROUBLES: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
"""Whatever the driver raises."""

_LOST: Final = (
    OSError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.TooManyConnectionsError,
)
_DISTURBED: Final = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError, asyncpg.UniqueViolationError)

_TAKEN: Final = "its schema has tables or functions of others: give it a schema of its own"

# By SQLSTATE, or its first two characters: code, whether trying again later may help, what to say.
_SAID: Final[dict[str, tuple[str, bool, str]]] = {
    "53100": ("ENGRAM_FULL", True, "the disk of its database is full: make room there"),
    "53": ("ENGRAM_UNAVAILABLE", True, "its database has no resources left: raise its limits, or ask less"),
    "54": ("ENGRAM_UNSUPPORTED", False, "that is more than PostgreSQL can take: make it smaller"),
    "28": (
        "ENGRAM_UNAVAILABLE",
        False,
        "its database does not let this program in: check user and password, and pg_hba.conf",
    ),
    "3D000": ("ENGRAM_UNAVAILABLE", False, "there is no such database: create it, or name another"),
    "42501": (
        "ENGRAM_UNAVAILABLE",
        False,
        "its user lacks a right: it needs CREATE on the database, or a schema of its own",
    ),
    "25006": (
        "ENGRAM_UNAVAILABLE",
        True,
        "its database is read-only: name the primary, or add target_session_attrs=primary to the DSN",
    ),
    "57014": (
        "ENGRAM_UNAVAILABLE",
        True,
        "its database took too long: ask less, or see what it is busy with",
    ),
    "55": ("ENGRAM_UNAVAILABLE", True, "its tables are in use: somebody changes them"),
    "42939": ("ENGRAM_UNSUPPORTED", False, "the name of a schema must not begin with pg_: name another"),
    "42P07": ("ENGRAM_CONFLICT", False, _TAKEN),
    "42710": ("ENGRAM_CONFLICT", False, _TAKEN),
    "42723": ("ENGRAM_CONFLICT", False, _TAKEN),
    "42": ("ENGRAM_CORRUPT", False, "its schema is not what this plugin made: restore it from a backup"),
    "3F000": ("ENGRAM_CORRUPT", False, "its schema is gone: restore it from a backup, or connect again"),
    "XX001": ("ENGRAM_CORRUPT", False, "its data is damaged: restore it from a backup"),
    "XX002": ("ENGRAM_CORRUPT", False, "an index of its tables is damaged: REINDEX them"),
    "22": ("ENGRAM_INVALID", False, "its database cannot take that: text must have no NUL characters"),
}


def may_help(error: Exception) -> bool:
    """Tell whether the same thing may go well if it is tried again at once."""
    # What took its time already is not tried again.
    return (_is_lost(error) and not isinstance(error, TimeoutError)) or isinstance(error, _DISTURBED)


def failure(name: str, where: str, error: Exception) -> EngramError:
    """Return the error for what the driver raised.

    Args:
        name: The Engram, as in ``Engram 'ctx'``.
        where: The database, without secrets.
        error: What was raised.
    """
    state = getattr(error, "sqlstate", None) or ""
    known = _SAID.get(state) or _SAID.get(state[:2])
    if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
        known = ("ENGRAM_UNAVAILABLE", True, "none of its servers is of the kind that the DSN asks for")
    elif isinstance(error, asyncpg.ClientConfigurationError):
        known = ("ENGRAM_UNAVAILABLE", False, "its DSN, or the PG* environment, means nothing: check them")
    elif isinstance(error, ValueError):
        known = _SAID["22"]
    elif known is None and (_is_lost(error) or isinstance(error, _DISTURBED)):
        known = (
            "ENGRAM_UNAVAILABLE",
            True,
            "its database does not answer: check that PostgreSQL runs there, and that the DSN names it",
        )
    code, recoverable, words = known or ("ENGRAM_ERROR", False, "its database failed: see the server's log")
    told = f"{type(error).__name__} {state}".rstrip()
    return EngramError(f"{name}: {words} ({where}; {told})", code=code, recoverable=recoverable)


def _is_lost(error: Exception) -> bool:
    # The driver's own errors say that the connection is closed, unless an argument or a setting is wrong.
    ours = isinstance(error, asyncpg.InterfaceError) and not isinstance(error, ValueError)
    return ours or isinstance(error, _LOST)


def closed(name: str) -> EngramError:
    """Return the error for what is asked of an Engram that has no connection."""
    return EngramError(f"{name} is closed: connect it first", code="ENGRAM_UNAVAILABLE", recoverable=True)
