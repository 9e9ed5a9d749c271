"""From what was raised to one line and an exit status."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ClassVar

import click

from cosmo_core import CosmoError, NoRouteError
from cosmo_core_cli import statuses
from cosmo_core_cli.words import one_line, redacted


class Mistake(click.ClickException):
    """What the user can help: what is wrong, with what, and what to try."""

    exit_code: ClassVar[int] = statuses.MISTAKE


@contextmanager
def reporting(*, debug: bool, blame: Callable[[], str] = str) -> Iterator[None]:
    """Report what is raised inside on one line of stderr, and raise `click.exceptions.Exit` instead.

    Args:
        debug: Print tracebacks, too.
        blame: Says whose fault what nobody expects is; nobody's in particular by default.
    """
    try:
        yield
    except click.exceptions.Exit:
        raise
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - nothing is hidden: it is reported
        if debug:
            click.echo(redacted("".join(traceback.format_exception(error))), err=True, nl=False)
        raise click.exceptions.Exit(_report(error, blame)) from None


def complain(message: str) -> None:
    """Say on one line of stderr what is wrong."""
    click.echo(f"cosmo: {one_line(message)}", err=True)


def _report(error: BaseException, blame: Callable[[], str]) -> int:
    if isinstance(error, BrokenPipeError):
        _write_nowhere()
        return statuses.NO_READER
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return error.exit_code
    status, message = _explained(error, blame)
    complain(message)
    return status


def _explained(error: BaseException, blame: Callable[[], str]) -> tuple[int, str]:
    match error:
        case click.UsageError(ctx=click.Context() as context):
            return error.exit_code, f"{error.format_message()} See '{context.command_path} --help'."
        case click.ClickException():
            return error.exit_code, error.format_message()
        case click.Abort() | KeyboardInterrupt():
            return statuses.INTERRUPTED, "interrupted"
        case NoRouteError():
            return statuses.MISTAKE, f"{error}; is it in another --namespace? `cosmo run` hosts one"
        case CosmoError():
            return statuses.MISTAKE, str(error)
        case TimeoutError():
            return statuses.TIME_UP, str(error) or "the time is up"
        case _:
            return statuses.UNEXPECTED, _unexpected(error, blame())


def _unexpected(error: BaseException, owner: str) -> str:
    notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
    who = f"{owner} failed" if owner else "a bug"
    return f"{who}: {type(error).__name__}: {error}{notes}; cosmo --debug … shows where"


def _write_nowhere() -> None:
    """Let the interpreter flush what nobody reads any more without a complaint."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
