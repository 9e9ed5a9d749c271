"""Translation of the driver's errors into `EngramError`s that say what to do.

No message quotes PostgreSQL, since its messages may contain parts of an entry.
"""

from __future__ import annotations

import errno
import ssl
from typing import Final

import asyncpg

from cosmo_core.errors import EngramError

DRIVER_ERRORS: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
"""The exceptions that the driver raises."""

_CONNECTION_LOST: Final = (
    OSError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.TooManyConnectionsError,
)
_CONFLICTS: Final = (
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.UniqueViolationError,
)

_TAKEN: Final = "its schema contains other tables or functions: use an empty schema"

_SETTING: Final = "a setting is not valid: check the options of the DSN, which are written as -c name=value"

_TLS: Final = (
    "it cannot use TLS with its database: check sslmode and the certificates of the DSN, that the server "
    "uses TLS, and its certificate; verify-ca and verify-full need sslrootcert=<file>"
)

# By SQLSTATE, or its first two characters: the code, whether a later retry may help, and the message.
_MEANINGS: Final[dict[str, tuple[str, bool, str]]] = {
    "53100": ("ENGRAM_FULL", True, "the disk of its database is full: free some space there"),
    "53": (
        "ENGRAM_UNAVAILABLE",
        True,
        "its database has no resources left: raise its limits, or send less",
    ),
    "54": ("ENGRAM_UNSUPPORTED", False, "the request exceeds a limit of PostgreSQL: make it smaller"),
    "08P01": (
        "ENGRAM_UNAVAILABLE",
        True,
        "its connection pooler refuses it: see the pooler's log; pool_mode must be session or transaction",
    ),
    "28": (
        "ENGRAM_UNAVAILABLE",
        False,
        "its database refuses the login: check the user, the password, and pg_hba.conf",
    ),
    "3D000": ("ENGRAM_UNAVAILABLE", False, "no such database: create it, or use another"),
    "42501": (
        "ENGRAM_UNAVAILABLE",
        False,
        "its user lacks a privilege: it needs CREATE on the database, or a schema that it owns",
    ),
    "25006": (
        "ENGRAM_UNAVAILABLE",
        True,
        "its database is read-only: use the primary, or add target_session_attrs=primary to the DSN",
    ),
    "57014": (
        "ENGRAM_UNAVAILABLE",
        True,
        "its database took too long: send a smaller query, or reduce the load of the database",
    ),
    "55": ("ENGRAM_UNAVAILABLE", True, "its tables are locked: another session is changing them"),
    "42939": ("ENGRAM_UNSUPPORTED", False, "the name of a schema must not begin with pg_: use another"),
    "42601": ("ENGRAM_UNAVAILABLE", False, _SETTING),
    "42602": ("ENGRAM_UNAVAILABLE", False, _SETTING),
    "42P07": ("ENGRAM_CONFLICT", False, _TAKEN),
    "42710": ("ENGRAM_CONFLICT", False, _TAKEN),
    "42723": ("ENGRAM_CONFLICT", False, _TAKEN),
    "42": (
        "ENGRAM_CORRUPT",
        False,
        "its schema lacks tables or functions: restore it from a backup",
    ),
    "3F000": ("ENGRAM_CORRUPT", False, "its schema was removed: restore it from a backup, or connect again"),
    "XX001": ("ENGRAM_CORRUPT", False, "its data is damaged: restore it from a backup"),
    "XX002": ("ENGRAM_CORRUPT", False, "an index of its tables is damaged: REINDEX them"),
    "42704": (
        "ENGRAM_UNAVAILABLE",
        False,
        "its database does not know a setting or a type: check the options of the DSN, and connect again",
    ),
    "22023": ("ENGRAM_UNAVAILABLE", False, "a setting has an invalid value: check the options of the DSN"),
    "22": ("ENGRAM_INVALID", False, "its database cannot store the text: it must not contain NUL characters"),
}


def is_transient(error: Exception) -> bool:
    """Tell whether an immediate retry may succeed."""
    # A time-out is not retried: the caller has waited long enough.
    is_final = isinstance(error, TimeoutError) or _is_refused_tls(error)
    return (_is_lost(error) and not is_final) or isinstance(error, _CONFLICTS)


def failure(name: str, place: str, error: Exception) -> EngramError:
    """Return the `EngramError` for an error of the driver.

    Args:
        name: The name of the Engram, such as ``Engram 'ctx'``.
        place: The database, without secrets.
        error: The error of the driver.
    """
    state = getattr(error, "sqlstate", None) or ""
    known = _MEANINGS.get(state) or _MEANINGS.get(state[:2])
    if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
        known = ("ENGRAM_UNAVAILABLE", True, "no server has the role that the DSN asks for")
    elif isinstance(error, asyncpg.ClientConfigurationError):
        known = ("ENGRAM_UNAVAILABLE", False, "its DSN or the PG* environment is not valid: check them")
    elif _is_refused_tls(error):
        known = ("ENGRAM_UNAVAILABLE", False, _TLS)
    elif isinstance(error, ValueError):
        known = _MEANINGS["22"]
    elif getattr(error, "errno", None) in {errno.EMFILE, errno.ENFILE}:
        known = ("ENGRAM_UNAVAILABLE", True, "too many files are open: raise their limit (ulimit -n)")
    elif known is None and (_is_lost(error) or isinstance(error, _CONFLICTS)):
        known = (
            "ENGRAM_UNAVAILABLE",
            True,
            "its database does not answer: check that PostgreSQL is running, and that the DSN is right",
        )
    code, recoverable, message = known or ("ENGRAM_ERROR", False, "its database failed: see the server's log")
    detail = f"{type(error).__name__} {state}".rstrip()
    return EngramError(f"{name}: {message} ({place}; {detail})", code=code, recoverable=recoverable)


def _is_lost(error: Exception) -> bool:
    # An InterfaceError means a closed connection, unless it is a ValueError: a wrong argument or setting.
    is_closed = isinstance(error, asyncpg.InterfaceError) and not isinstance(error, ValueError)
    return is_closed or isinstance(error, _CONNECTION_LOST)


def _is_refused_tls(error: Exception) -> bool:
    # A connection that ends within a handshake is lost. The driver has no type for a server without TLS.
    is_lost = isinstance(error, ssl.SSLEOFError | ssl.SSLSyscallError)
    has_none = isinstance(error, ConnectionError) and "rejected SSL" in str(error)
    return has_none or (isinstance(error, ssl.SSLError) and not is_lost)


def closed(name: str) -> EngramError:
    """Return the error for a call to an Engram that is not connected."""
    return EngramError(f"{name} is closed: connect it first", code="ENGRAM_UNAVAILABLE", recoverable=True)
