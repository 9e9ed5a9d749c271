"""Errors, exit statuses and logs: everything that `cosmo` prints on stderr when something goes wrong."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import ClassVar

import click

from cosmo_core_cli.output import colour, one_line, printable, redacted


class ExitStatus(IntEnum):
    """The exit statuses of `cosmo`."""

    DONE = 0
    #: The answer is an ERROR, or the check found faults.
    FAILED = 1
    #: The command cannot be carried out as given: wrong arguments, an unreachable bus, a missing plugin.
    USER_ERROR = 2
    #: The answer is a CLARIFICATION or a PERMISSION.
    ASKED_BACK = 3
    #: A bug, here or in a plugin; `EX_SOFTWARE` of sysexits.h.
    BUG = 70
    #: The same status as `timeout` of coreutils.
    TIMED_OUT = 124
    #: The status of a shell for a process that SIGINT ended.
    INTERRUPTED = 130
    #: The status of a shell for a process that SIGPIPE ended.
    BROKEN_PIPE = 141


class UserError(click.ClickException):
    """Error that the user can fix. The message says what is wrong, with which value, and what to do."""

    exit_code: ClassVar[int] = ExitStatus.USER_ERROR


@contextmanager
def reporting_errors(*, debug: bool, owner: Callable[[], str] = str) -> Iterator[None]:
    """Report an exception on one line of stderr, and raise `click.exceptions.Exit` in its place.

    Args:
        debug: Print the traceback as well.
        owner: Returns the code that an unexpected exception comes from; an empty string for `cosmo` itself.

    Raises:
        click.exceptions.Exit: An exception was reported; it carries the exit status.
    """
    try:
        yield
    except click.exceptions.Exit:
        raise
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - nothing is hidden: it is reported
        if debug:
            click.echo(printable(redacted("".join(traceback.format_exception(error)))), err=True, nl=False)
        raise click.exceptions.Exit(_report(error, owner)) from None


def print_error(message: str) -> None:
    """Print an error on one line of stderr."""
    click.echo(click.style("cosmo: ", fg="red") + one_line(message), err=True, color=colour())


@contextmanager
def logging_to_stderr(*, debug: bool) -> Iterator[None]:
    """Print warnings and errors of the log on stderr.

    A plugin that cannot be used is one line, since its message has the reason. Other records come with their
    traceback: the log is the only place that has the traceback of a Neuron which failed in this process.

    Args:
        debug: Print the tracebacks of plugins as well.
    """
    root, core = logging.getLogger(), logging.getLogger("cosmo_core")
    level = core.level
    handler = _StderrHandler(logging.WARNING)
    handler.setFormatter(_Formatter(debug=debug))
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        core.setLevel(level)


def log_details() -> None:
    """Also print what `cosmo_core` logs at DEBUG, until the command ends."""
    logging.getLogger("cosmo_core").setLevel(logging.DEBUG)
    for handler in logging.getLogger().handlers:
        if isinstance(handler, _StderrHandler):
            handler.setLevel(logging.DEBUG)


class _StderrHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        click.echo(self.format(record), err=True)


class _Formatter(logging.Formatter):
    def __init__(self, *, debug: bool) -> None:
        super().__init__()
        self._debug = debug

    def format(self, record: logging.LogRecord) -> str:
        if record.levelno < logging.WARNING:
            time = self.formatTime(record, "%H:%M:%S")
            return f"{time}.{record.msecs:03.0f} {one_line(record.getMessage())}"
        line = f"cosmo: {record.levelname.lower()}: {one_line(record.getMessage())}"
        if not record.exc_info or (record.name == "cosmo_core.plugins" and not self._debug):
            return line
        return f"{line}\n{printable(redacted(self.formatException(record.exc_info)))}"


def _report(error: BaseException, owner: Callable[[], str]) -> int:
    if isinstance(error, BrokenPipeError):
        _discard_stdout()
        return ExitStatus.BROKEN_PIPE
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return error.exit_code
    status, message = _explain(error, owner)
    print_error(message)
    return status


def _explain(error: BaseException, owner: Callable[[], str]) -> tuple[int, str]:
    # Imported on use: the help of `cosmo` does not need the core.
    from cosmo_core import CosmoError, NoRouteError

    match error:
        case click.UsageError(ctx=click.Context() as context):
            message = error.format_message()
            end = "" if message.endswith((".", "?")) else "."
            return error.exit_code, f"{message}{end} See '{context.command_path} --help'."
        case click.ClickException():
            return error.exit_code, error.format_message()
        case click.Abort() | KeyboardInterrupt():
            return ExitStatus.INTERRUPTED, "interrupted"
        case NoRouteError():
            return ExitStatus.USER_ERROR, f"{error}; check --namespace, or host it with `cosmo run`"
        case CosmoError():
            return ExitStatus.USER_ERROR, str(error)
        case TimeoutError():
            return ExitStatus.TIMED_OUT, str(error) or "timed out"
        case _:
            return ExitStatus.BUG, _explain_bug(error, owner())


def _explain_bug(error: BaseException, owner: str) -> str:
    notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
    source = f"{owner} failed" if owner else "a bug"
    return f"{source}: {type(error).__name__}: {error}{notes}; cosmo --debug … shows where"


def _discard_stdout() -> None:
    """Point stdout at the null device, so that the interpreter can flush it without a second error."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
