"""The group `cosmo`, and where the program begins."""

from __future__ import annotations

import sys
from typing import Any

import click

from cosmo_core_cli.commands import CommandGroup
from cosmo_core_cli.failing import reporting
from cosmo_core_cli.logs import shown_logs


class App(CommandGroup):
    """Its commands, with everything that goes wrong said on one line."""

    def main(self, *args: Any, **options: Any) -> Any:
        """Run the command line, and exit with its status."""
        options["standalone_mode"] = False
        status = 0
        try:
            # Within a command `invoke` has reported already: this is for what comes before.
            with reporting(debug=False):
                status = super().main(*args, **options) or 0
        except click.exceptions.Exit as end:
            status = end.exit_code
        sys.exit(status)

    def invoke(self, ctx: click.Context) -> None:
        """Run the command that was chosen; it says by `click.Context.exit` how it ended."""
        debug = ctx.params["debug"]
        with shown_logs(debug=debug), reporting(debug=debug, blame=lambda: self.blamed(ctx)):
            super().invoke(ctx)


@click.group(cls=App, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, envvar="COSMO_DEBUG", help="Show tracebacks. [COSMO_DEBUG=1]")
@click.version_option(package_name="cosmo-core-cli", prog_name="cosmo")
def cosmo(debug: bool) -> None:
    """Agents are plain async functions, and they work together by messages on a bus.

    COSMO_SYNAPSE and COSMO_NAMESPACE say which bus is meant where --synapse and --namespace do not.
    """


def main() -> None:
    """Run `cosmo`."""
    cosmo(prog_name="cosmo")
