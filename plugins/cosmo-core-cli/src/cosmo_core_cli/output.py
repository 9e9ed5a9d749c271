"""Output: JSON for programs, columns for people, and text that is safe to show on a terminal."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from rich.table import Table

    from cosmo_core import Signal

_URL: Final = re.compile(r"\b[a-z][a-z0-9+.-]*://\S*@", re.IGNORECASE)
_SECRET: Final = re.compile(
    r"(?P<name>\b\w*(?:password|passwd|secret|token|credential|api_?key)\w*=)[^\s&,;]+", re.IGNORECASE
)

HARMLESS: Final = frozenset(
    "\n\t"
    # Spaces: some do not break a line, as in "5 €", and one is as wide as a Chinese character.
    "\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
    # Soft hyphens, joiners of letters and emoji, and marks of direction.
    "\xad\u200c\u200d\u200e\u200f"
)
"""Characters of ordinary text that Python does not call printable, and that no terminal interprets."""


def colour() -> bool | None:
    """Return False if NO_COLOR asks for text without colours; None leaves it to the terminal."""
    return False if os.environ.get("NO_COLOR") else None


def print_json(document: Any) -> None:
    """Print one JSON document, indented."""
    _print_json_text(json.dumps(document, indent=2, ensure_ascii=False))


def print_json_line(document: Any) -> None:
    """Print one JSON document on one line."""
    _print_json_text(compact_json(document))


def _print_json_text(document: str) -> None:
    # JSON is UTF-8, whatever the encoding of the terminal is. What is not safe to show stands in a string.
    click.echo(_safe(document, _json_escaped).encode())


def print_signal(signal: Signal) -> None:
    """Print a Signal in its wire format, on one line."""
    # Imported on use, here and below: the help of `cosmo` does not need the core.
    from cosmo_core import encode

    _print_json_text(encode(signal).decode())


def compact_json(document: Any) -> str:
    """Return a JSON document on one line."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows below their headings: in the width of a terminal, and at their full width elsewhere."""
    if sys.stdout.isatty():
        from rich.console import Console

        Console().print(rich_table(headings, rows))
    else:
        click.echo(columns(headings, rows))


def rich_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Return a table for a terminal; a text that is too long for its column takes several lines."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="cyan")
    for heading in headings:
        table.add_column(heading, overflow="fold", min_width=len(heading))
    for row in rows:
        table.add_row(*map(Text, row))
    return table


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
    """Escape every character that a terminal could interpret; line breaks, tabs and spaces stay."""
    if text.isprintable():
        return text
    return _safe(text.replace("\r\n", "\n"), _escaped)


def redacted(text: str) -> str:
    """Remove the user and password of URLs, and the values of names that look like secrets."""
    from cosmo_core.errors import redacted as redacted_address

    return _SECRET.sub(r"\g<name>…", _URL.sub(lambda url: redacted_address(url[0]), text))


def one_line(text: str) -> str:
    """Return text on one line, escaped by `printable` and `redacted`."""
    return printable(redacted(" ".join(text.split())))


def _safe(text: str, escaped: Callable[[str], str]) -> str:
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in HARMLESS else escaped(each) for each in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def _json_escaped(character: str) -> str:
    return json.dumps(character)[1:-1]
