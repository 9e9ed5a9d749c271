"""From a URL to an Engram, and to what may be said of it."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from cosmo_core.errors import EngramError
from cosmo_engram_postgres.engram import PostgresEngram

_NUMBERS: Final = frozenset({"min_size", "max_size", "keeps_writes"})


def from_url(url: str, *, engram_id: str, engram_kind: str = "context", **options: Any) -> PostgresEngram:
    """Return the Engram for ``postgresql://user:password@host:port/database``, or ``postgres://``.

    Args:
        url: A DSN as PostgreSQL's own programs take it. Its query may have options of `PostgresEngram` too,
            such as ``?schema=memory&max_size=20``.
        engram_id: Its id.
        engram_kind: Its kind.
        **options: What else `PostgresEngram` takes, but for ``dsn``.

    Raises:
        EngramError: It is no URL, or an option in it is no number. No secret is in the message.
        TypeError: There is no such option.
        ValueError: An option is out of its range.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        # Not its words: they quote the URL.
        raise EngramError(
            "this is no URL of a database: write postgresql://user:password@host:port/database, and what is "
            "no letter or digit in user and password percent-encoded",
            code="ENGRAM_INVALID",
        ) from None
    ours, theirs = {}, []
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name == "schema":
            ours[name] = value
        elif name in _NUMBERS:
            ours[name] = _number(name, value)
        else:
            theirs.append((name, value))
    dsn = parts._replace(query=urlencode(theirs)).geturl()
    return PostgresEngram(engram_id=engram_id, engram_kind=engram_kind, dsn=dsn, **{**ours, **options})


def _number(name: str, value: str) -> Any:
    if not value.isdecimal():
        raise EngramError(f"{name} in the URL of an Engram is a number", code="ENGRAM_INVALID")
    return int(value)
