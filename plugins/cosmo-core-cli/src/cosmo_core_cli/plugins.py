"""`cosmo plugins`: what is installed, and what is wrong with it."""

from __future__ import annotations

from contextlib import suppress

import attrs
import click

from cosmo_core import PluginError
from cosmo_core.plugins import PluginManager, default_manager
from cosmo_core_cli import statuses
from cosmo_core_cli.options import json_option
from cosmo_core_cli.printing import print_json
from cosmo_core_cli.progress import Progress
from cosmo_core_cli.words import printable, redacted


@click.command()
@click.option("--check", is_flag=True, help="Import each, and fail if one cannot be.")
@json_option
@click.pass_context
def plugins(ctx: click.Context, check: bool, as_json: bool) -> None:
    """List the plugins, the distribution of each, and why those cannot be used that cannot.

    Nothing is imported for it unless --check is given; then the exit status is 1 if one is broken.
    """
    manager = default_manager()
    if check:
        with Progress("importing the plugins"):
            _import_all(manager)
    report = manager.report()
    if as_json:
        print_json([attrs.asdict(record) for record in report.records])
    else:
        click.echo(printable(redacted(str(report))))
    if check and report.problems:
        ctx.exit(statuses.FAILED)


def _import_all(manager: PluginManager) -> None:
    for record in manager.report().records:
        # What comes of it is in the report.
        with suppress(PluginError):
            if record.group == "cosmo.hooks":
                manager.load_hooks()
            elif record.status == "available":
                manager.factory(record.group, record.name)
