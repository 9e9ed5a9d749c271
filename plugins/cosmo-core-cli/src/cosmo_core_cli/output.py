"""Output: JSON for programs, columns for people, and text that is safe to show on a terminal."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Final

import click

from cosmo_core import Signal, encode
from cosmo_core.errors import redacted as redacted_address

_URL: Final = re.compile(r"\b[a-z][a-z0-9+.-]*://\S*@", re.IGNORECASE)
_SECRET: Final = re.compile(
    r"(?P<name>\b\w*(?:password|passwd|secret|token|credential|api_?key)\w*=)[^\s&,;]+", re.IGNORECASE
)


def print_json(document: Any) -> None:
    """Print one JSON document, indented."""
    _print_utf8(json.dumps(document, indent=2, ensure_ascii=False))


def print_json_line(document: Any) -> None:
    """Print one JSON document on one line."""
    _print_utf8(compact_json(document))


def _print_utf8(document: str) -> None:
    # JSON is UTF-8, whatever the encoding of the terminal is. Half of a surrogate pair becomes an escape.
    click.echo(document.encode(errors="backslashreplace"))


def print_signal(signal: Signal) -> None:
    """Print a Signal in its wire format, on one line."""
    click.echo(encode(signal))


def compact_json(document: Any) -> str:
    """Return a JSON document on one line."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def columns(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return rows as a table below its headings, without a limit on the width."""
    table = [headings, *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    )
    return "\n".join(lines)


def printable(text: str) -> str:
    """Escape every character that a terminal could interpret; line breaks and tabs stay."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in "\n\t" else _escaped(each) for each in text)


def redacted(text: str) -> str:
    """Remove the user and password of URLs, and the values of names that look like secrets."""
    return _SECRET.sub(r"\g<name>…", _URL.sub(lambda url: redacted_address(url[0]), text))


def one_line(text: str) -> str:
    """Return text on one line, escaped by `printable` and `redacted`."""
    return printable(redacted(" ".join(text.split())))


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
