"""From a URL to an Engram: ``sqlite:///memory.db``."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

from cosmo_core.errors import EngramError
from cosmo_engram_sqlite.engram import MEMORY, SqliteEngram

_FORMS = "sqlite:// (in memory), sqlite:///relative.db or sqlite:////absolute.db"


def from_url(url: str, *, engram_id: str, engram_kind: str = "context", **options: Any) -> SqliteEngram:
    """Return the Engram for ``sqlite://``, ``sqlite:///relative.db`` or ``sqlite:////absolute.db``.

    Args:
        url: The URL. What is special in one, such as ``?``, is percent-encoded in the path.
        engram_id: Its address on the bus.
        engram_kind: What it keeps.
        **options: What else `SqliteEngram` takes.

    Raises:
        EngramError: ``ENGRAM_INVALID``: the URL is none of these.
        TypeError: There is no such option.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        raise _refused("this is no URL") from None
    if parts.scheme != "sqlite":
        raise _refused("this is no sqlite:// URL")
    if parts.netloc:
        # Not shown: it may be the user and password of another database.
        raise _refused("a sqlite:// URL names no host or user; has it one slash too few?")
    if parts.query or parts.fragment:
        raise _refused("a sqlite:// URL has no query or fragment: options are keyword arguments")
    path = unquote(parts.path.removeprefix("/"))
    if "\0" in path:
        raise _refused("no path has a NUL in it")
    return SqliteEngram(engram_id=engram_id, engram_kind=engram_kind, path=path or MEMORY, **options)


def _refused(reason: str) -> EngramError:
    return EngramError(f"{reason}: write {_FORMS}", code="ENGRAM_INVALID")
