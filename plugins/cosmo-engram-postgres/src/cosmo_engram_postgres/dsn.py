"""DSNs: their options, and how messages name the database."""

from __future__ import annotations

import os
import re
from typing import Final, NoReturn
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import attrs

from cosmo_core.arguments import did_you_mean
from cosmo_core.errors import EngramError

OPTIONS: Final = (
    "application_name",
    "connect_timeout",
    "database",
    "dbname",
    "gsslib",
    "host",
    "krbsrvname",
    "options",
    "passfile",
    "password",
    "port",
    "service",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcert",
    "sslcrl",
    "sslkey",
    "sslmode",
    "sslnegotiation",
    "sslpassword",
    "sslrootcert",
    "target_session_attrs",
    "user",
)
"""The options of a DSN. They mean what they mean to PostgreSQL's own programs."""

OUR_OPTIONS: Final = ("keeps_writes", "max_size", "min_size", "schema", "vector_index")
"""The options of a URL that are those of `PostgresEngram`."""

VALUES: Final = {
    "gsslib": ("gssapi", "sspi"),
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "sslnegotiation": ("postgres", "direct"),
    "ssl_max_protocol_version": ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"),
    "ssl_min_protocol_version": ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"),
    "target_session_attrs": ("any", "primary", "standby", "read-write", "read-only", "prefer-standby"),
}
"""The values of the options that have a list of them."""

_FILES: Final = frozenset({"sslcert", "sslcrl", "sslkey", "sslrootcert"})
_ADVICE: Final = {
    "channel_binding": "leave it out, and use sslmode=verify-full to be sure of the server",
    "ssl": "use sslmode=require or sslmode=verify-full",
    "tls": "use sslmode=require or sslmode=verify-full",
}
_UNKNOWN_PLACE: Final = "PostgreSQL as its DSN says"
_HOST: Final = r"(?:[\w.%-]*|\[[\w:.%]+\])(?::\d+)?"
_HOSTS: Final = re.compile(f"{_HOST}(?:,{_HOST})*")
_PORTS: Final = re.compile(r":(\d+)(?=,|$)")


@attrs.frozen
class Dsn:
    """A checked DSN.

    Attributes:
        text: The DSN for the driver; None for the database in the environment.
        connect_s: Longest time in seconds of one attempt to connect; None for the default.
    """

    text: str | None = attrs.field(repr=False)
    connect_s: float | None = None

    @classmethod
    def parse(cls, dsn: str | None, *, name: str) -> Dsn:
        """Check the options and ports of a DSN. The driver checks the rest.

        Args:
            dsn: The DSN.
            name: The name of the Engram in messages.

        Raises:
            EngramError: ``ENGRAM_INVALID``: an option does not exist, or a value cannot be used.
        """

        def refuse(reason: str) -> NoReturn:
            raise EngramError(f"{name}: {reason} ({describe(dsn)})", code="ENGRAM_INVALID")

        try:
            parts = urlsplit(dsn or "")
            options = parse_qsl(parts.query, keep_blank_values=True)
        except ValueError:
            # The driver refuses it.
            return cls(dsn)
        kept = []
        seen = set[str]()
        connect_s = None
        ports = _PORTS.findall(parts.netloc.rpartition("@")[2])
        for option, value in options:
            if option not in OPTIONS:
                if "@" in unquote(parts.query) and "@" not in parts.netloc:
                    # A part of a password that is not percent-encoded. The driver refuses it without a quote.
                    return cls(dsn)
                refuse(f"its DSN has an unknown option {option!r}: {_advice(option)}")
            if option in seen:
                refuse(f"its DSN has the option {option!r} twice: give it once")
            seen.add(option)
            if option in _FILES and not os.access(value, os.R_OK):
                refuse(f"the file {value!r} of {option} in its DSN cannot be read: check the path")
            if value and value not in (known := VALUES.get(option, (value,))):
                # Without a quote: a part of a password may be taken for a value.
                refuse(f"{option} in its DSN has an unknown value: {did_you_mean(value, known)}")
            if option == "port":
                ports += value.split(",")
            if option != "connect_timeout":
                kept.append((option, value))
            elif value.isdecimal():
                # As in PostgreSQL's own programs, 0 means the default.
                connect_s = float(value) or None
            else:
                refuse("connect_timeout in its DSN must be a number of seconds")
        for port in ports:
            if not (port.isdecimal() and 1 <= int(port) <= 65_535):
                refuse("a port in its DSN is not a number from 1 to 65535: correct it")
        return cls(dsn and parts._replace(query=urlencode(kept)).geturl(), connect_s)


def _advice(option: str) -> str:
    if option in _ADVICE:
        return _ADVICE[option]
    advice = did_you_mean(option, (*OPTIONS, *OUR_OPTIONS))
    return f"{advice}; settings of the server go into options=-c name=value"


def describe(dsn: str | None) -> str:
    """Return the servers and the database of a DSN, without secrets, for messages."""
    if dsn is None:
        return "PostgreSQL as the PG* environment says"
    try:
        netloc, path = urlsplit(dsn)[1:3]
    except ValueError:
        return _UNKNOWN_PLACE
    userinfo, _, hosts = netloc.rpartition("@")
    # A password with an unescaped slash or similar is parsed as a part of another component.
    has_secret = "@" in path or ("@" in dsn and not userinfo)
    if has_secret or not dsn.startswith(("postgres://", "postgresql://")) or not _HOSTS.fullmatch(hosts):
        return _UNKNOWN_PLACE
    return f"PostgreSQL at {hosts or 'the default address'}{path}"
