"""`cosmo plugins`: list the installed plugins and their faults."""

from __future__ import annotations

import sys
from contextlib import suppress
from textwrap import indent
from typing import Final

import attrs
import click

from cosmo_core import PluginError
from cosmo_core.plugins import PluginManager, PluginRecord, PluginReport, default_manager
from cosmo_core_cli.errors import ExitStatus
from cosmo_core_cli.options import json_option
from cosmo_core_cli.output import columns, print_json, print_table, printable, redacted
from cosmo_core_cli.progress import Progress

_HEADINGS: Final = ("GROUP", "NAME", "DISTRIBUTION", "VERSION", "STATUS")


@click.command()
@click.option("--check", is_flag=True, help="Import every plugin; exit with 1 if one fails.")
@json_option
@click.pass_context
def plugins(ctx: click.Context, check: bool, as_json: bool) -> None:
    """List the installed plugins, their distributions, and why a plugin cannot be used.

    No plugin is imported unless --check is given. With --check the exit status is 1 if a plugin is broken.
    """
    manager = default_manager()
    if check:
        with Progress("importing the plugins"):
            _import_all(manager)
    report = manager.report()
    if as_json:
        print_json([attrs.asdict(record) for record in report.records])
    elif sys.stdout.isatty():
        print_table(_HEADINGS, [_row(record, with_cause=True) for record in report.records])
    else:
        click.echo(printable(redacted(table(report))))
    if check and report.problems:
        ctx.exit(ExitStatus.FAILED)


def _import_all(manager: PluginManager) -> None:
    for record in manager.report().records:
        # The report has the error.
        with suppress(PluginError):
            if record.group == "cosmo.hooks":
                manager.load_hooks()
            elif record.group == "cosmo.extensions":
                manager.extensions()
            elif record.status == "available":
                manager.factory(record.group, record.name)


def table(report: PluginReport) -> str:
    """Return a report as a table; the cause of a fault is below its plugin."""
    if not report.records:
        return "no plugins"
    heading, *lines = columns(_HEADINGS, [_row(record) for record in report.records]).splitlines()
    for line, record in zip(lines, report.records, strict=True):
        heading += f"\n{line}" + ("" if record.cause is None else f"\n{indent(record.cause, '    ')}")
    return heading


def _row(record: PluginRecord, *, with_cause: bool = False) -> tuple[str, ...]:
    status: str = record.status
    if with_cause and record.cause is not None:
        status = f"{status}: {printable(redacted(record.cause))}"
    return (record.group, record.name, record.distribution or "-", record.version or "-", status)
