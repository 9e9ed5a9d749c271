"""Checks on the parts of an HTTP request; each raises a `ValueError` that names the part.

Values of headers and cookies are never repeated: they are secrets, or close to it.
"""

from __future__ import annotations

import re
import reprlib
from typing import Final

from cosmo_source_flask.checks import is_number, need, object_of

_METHOD: Final = re.compile(r"[A-Za-z][A-Za-z-]{0,31}")
_PATH: Final = re.compile(r"/[^\x00-\x1f\x7f#]*")
_QUERY: Final = re.compile(r"[^\x00-\x1f\x7f#]*")
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE: Final = re.compile(r"[ -~\t]*")
_COOKIE_VALUE: Final = re.compile(r"[ -:<-~]*")
_HOST: Final = re.compile(r"[A-Za-z0-9.-]+(?::[0-9]{1,5})?")
_FRAMING: Final = frozenset({"content-length", "transfer-encoding"})


def checked_method(name: str, value: object) -> str:
    """Return an HTTP method in upper case."""
    if not isinstance(value, str) or not _METHOD.fullmatch(value):
        raise ValueError(f"{name}={reprlib.repr(value)}: an HTTP method such as 'GET' is needed")
    return value.upper()


def checked_path(name: str, value: object) -> str:
    """Return a path, which may bring a query."""
    if not isinstance(value, str) or not _PATH.fullmatch(value):
        given = reprlib.repr(value)
        raise ValueError(f"{name}={given}: a path that starts with / and has no fragment is needed")
    return value


def checked_query(name: str, value: object) -> str | list[tuple[str, str]]:
    """Return a query that is encoded already, or the pairs to encode."""
    if not isinstance(value, str):
        return checked_pairs(name, value)
    need(bool(_QUERY.fullmatch(value)), name, value, "an object, or a query such as 'a=1&b=2',")
    return value


def checked_pairs(name: str, value: object) -> list[tuple[str, str]]:
    """Return the pairs of an object whose values are scalars, or lists of scalars for repeated names."""
    given = object_of(name, value, "an object of names to values, or to lists of values,")
    return [
        (encodable(key), encodable(_text_of(f"{name}.{key}", item)))
        for key, items in given.items()
        for item in (items if isinstance(items, (list, tuple)) else (items,))
    ]


def checked_headers(name: str, value: object) -> dict[str, str]:
    """Return headers with their names in lower case."""
    headers = {}
    for key, text in _texts(name, value):
        lower = key.lower()
        if lower in _FRAMING:
            raise ValueError(f"{name}[{key!r}]: this header follows from the body; leave it out")
        if lower == "host" and not _HOST.fullmatch(text):
            raise ValueError(f"{name}[{key!r}]: a host name, with or without a port, is needed")
        if not _HEADER_VALUE.fullmatch(text):
            raise ValueError(f"{name}[{key!r}]: printable ASCII characters without line breaks are needed")
        headers[lower] = text
    return headers


def checked_cookies(name: str, value: object) -> dict[str, str]:
    """Return cookies by name."""
    cookies = dict(_texts(name, value))
    for key, text in cookies.items():
        if not _COOKIE_VALUE.fullmatch(text):
            raise ValueError(f"{name}[{key!r}]: printable ASCII characters without ; are needed")
    return cookies


def parsed_cookies(header: str) -> dict[str, str]:
    """Return what a ``Cookie`` header holds, by name."""
    pairs = (part.partition("=") for part in header.split(";"))
    return {name.strip(): value.strip() for name, equals, value in pairs if name.strip() and equals}


def encodable(text: str) -> str:
    """Return a text that UTF-8 can carry, and refuse half a surrogate pair."""
    text.encode()
    return text


def _texts(name: str, value: object) -> list[tuple[str, str]]:
    given = object_of(name, value, "an object of names to strings")
    for key, text in given.items():
        need(isinstance(key, str) and bool(_TOKEN.fullmatch(key)), name, key, "an HTTP field name")
        need(isinstance(text, str), f"{name}[{key!r}]", type(text), "a string")
    return list(given.items())


def _text_of(name: str, value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    need(isinstance(value, str) or is_number(value), name, value, "a string, a number, true, false or null")
    return str(value)
