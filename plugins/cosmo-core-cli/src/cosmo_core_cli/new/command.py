"""The command line of `cosmo new`."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from cosmo_core_cli.new.distribution import clone, files, install, write
from cosmo_core_cli.new.kinds import KINDS
from cosmo_core_cli.new.names import Names, check_free


@click.command()
@click.argument("kind", metavar="KIND", type=click.Choice(list(KINDS)))
@click.argument("name")
@click.option(
    "--directory",
    type=click.Path(path_type=Path),
    default=Path(),
    show_default="here",
    help="Where to make the distribution's folder.",
)
def new(kind: str, name: str, directory: Path) -> None:
    """Make the distribution of a plugin: a working example, typed and tested, to be changed.

    KIND is source, synapse, engram, context or hook. NAME is what its users will write: the source of a
    Neuron, the scheme of a URL, the name of a context Neuron or of a hook plugin. The folder is called
    cosmo-KIND-NAME; what is there already is not touched.
    """
    chosen = KINDS[kind]
    names = Names.of(chosen, name)
    check_free(chosen, names)
    folder = directory / names.distribution
    write(folder, files(chosen, names))
    click.echo(f"{folder} is a distribution that works. Next, in an environment of its own:\n")
    click.echo(f"  cd {shlex.quote(str(folder))}")
    click.echo(f"  {install(chosen, clone())}")
    click.echo("  python -m pytest")
