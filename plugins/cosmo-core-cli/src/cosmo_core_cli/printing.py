"""Printing for programs, and in columns for people."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from cosmo_core import encode

if TYPE_CHECKING:
    from cosmo_core import Signal


def print_json(document: Any) -> None:
    """Print one JSON document, for people to read, too."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def print_json_line(document: Any) -> None:
    """Print one JSON document on one line."""
    click.echo(compact(document))


def print_signal(signal: Signal) -> None:
    """Print a Signal as it is on the wire, on one line."""
    click.echo(encode(signal))


def compact(document: Any) -> str:
    """Return a JSON document on one line."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def columns(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return rows in columns, below their headings."""
    table = [headings, *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    )
    return "\n".join(lines)
