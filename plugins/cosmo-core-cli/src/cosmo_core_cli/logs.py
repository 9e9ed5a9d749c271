"""What the core and plugins log, on stderr."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import click

from cosmo_core_cli.words import one_line, redacted


@contextmanager
def shown_logs(*, debug: bool) -> Iterator[None]:
    """Show warnings and errors that are logged inside.

    A plugin that cannot be used is named on one line, as its log line says why. Others come with their
    traceback: it is all that is known of a Neuron that failed here.
    """
    root = logging.getLogger()
    handler = _Stderr(logging.WARNING)
    handler.setFormatter(_Formatter(debug=debug))
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


class _Stderr(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        click.echo(self.format(record), err=True)


class _Formatter(logging.Formatter):
    def __init__(self, *, debug: bool) -> None:
        super().__init__()
        self._debug = debug

    def format(self, record: logging.LogRecord) -> str:
        line = f"cosmo: {record.levelname.lower()}: {one_line(record.getMessage())}"
        if not record.exc_info or (record.name == "cosmo_core.plugins" and not self._debug):
            return line
        return f"{line}\n{redacted(self.formatException(record.exc_info))}"
