"""The command line of `cosmo new`."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from cosmo_core_cli.new.distribution import find_clone, install_command, render, write
from cosmo_core_cli.new.kinds import APP, KINDS
from cosmo_core_cli.new.names import Names, check_free


@click.command()
@click.argument("kind", metavar="KIND", type=click.Choice([APP.word, *KINDS]))
@click.argument("name")
@click.option(
    "--directory",
    type=click.Path(path_type=Path),
    default=Path(),
    show_default="the current folder",
    help="The folder in which to create the distribution's folder.",
)
def new(kind: str, name: str, directory: Path) -> None:
    """Create an application or a plugin: a working example, typed and tested, for you to change.

    `cosmo new app NAME` creates an application in the folder NAME: two workers, an orchestrator and a test.

    For a plugin, KIND is source, synapse, engram, context, hook or extension. NAME is the name that users
    write: the source of a Neuron, the scheme of a URL, the name of a context Neuron, of a hook plugin or of
    an extension. The new folder is cosmo-KIND-NAME. An existing file or folder is not changed.
    """
    chosen = KINDS.get(kind, APP)
    names = Names.of(chosen, name)
    check_free(chosen, names)
    folder = directory / names.distribution
    write(folder, render(chosen, names))
    made = "application" if chosen is APP else "distribution"
    click.echo(f"{folder} is a working {made}. Next, in a new environment:\n")
    click.echo(f"  cd {shlex.quote(str(folder))}")
    click.echo(f"  {install_command(chosen, find_clone())}")
    click.echo("  python -m pytest")
    if chosen is APP:
        click.echo(f"  python -m {names.package} tea coffee")
