"""The command line of `cosmo new`."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from cosmo_core_cli.new.distribution import find_clone, install_command, render, write
from cosmo_core_cli.new.kinds import KINDS
from cosmo_core_cli.new.names import Names, check_free


@click.command()
@click.argument("kind", metavar="KIND", type=click.Choice(list(KINDS)))
@click.argument("name")
@click.option(
    "--directory",
    type=click.Path(path_type=Path),
    default=Path(),
    show_default="the current folder",
    help="The folder in which to create the distribution's folder.",
)
def new(kind: str, name: str, directory: Path) -> None:
    """Create the distribution of a plugin: a working example, typed and tested, for you to change.

    KIND is source, synapse, engram, context, hook or extension. NAME is the name that users write: the source
    of a Neuron, the scheme of a URL, the name of a context Neuron, of a hook plugin or of an extension. The
    new folder is cosmo-KIND-NAME; an existing file or folder is not changed.
    """
    chosen = KINDS[kind]
    names = Names.of(chosen, name)
    check_free(chosen, names)
    folder = directory / names.distribution
    write(folder, render(chosen, names))
    click.echo(f"{folder} is a working distribution. Next, in a new environment:\n")
    click.echo(f"  cd {shlex.quote(str(folder))}")
    click.echo(f"  {install_command(chosen, find_clone())}")
    click.echo("  python -m pytest")
