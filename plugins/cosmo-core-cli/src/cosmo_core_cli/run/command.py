"""The command line of `cosmo run`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from cosmo_core_cli.completing import targets as files
from cosmo_core_cli.failing import Mistake
from cosmo_core_cli.options import bus_options, json_option
from cosmo_core_cli.printing import print_json_line
from cosmo_core_cli.run.hosting import Residents, host
from cosmo_core_cli.run.loading import Target, watched_folders

if TYPE_CHECKING:
    from cosmo_core_cli.bus import Bus


@click.command()
@click.argument("targets", nargs=-1, metavar="[MODULE:AXON]...", shell_complete=files)
@click.option(
    "--engram",
    "engrams",
    metavar="URL,ID",
    multiple=True,
    help="An Engram to host, as in sqlite:///memory.db,ctx, or MODULE:ENGRAM; repeatable.",
)
@click.option("--reload", is_flag=True, help="Start again when a Python file beside the modules changes.")
@click.option(
    "--grace",
    "grace_s",
    metavar="SECONDS",
    type=click.FloatRange(min=0),
    default=5.0,
    show_default=True,
    help="For how long what runs may finish in the end.",
)
@json_option
@bus_options
@click.pass_context
def run(
    ctx: click.Context,
    targets: tuple[str, ...],
    engrams: tuple[str, ...],
    reload: bool,
    grace_s: float,
    as_json: bool,
    bus: Bus,
) -> None:
    """Host Neurons and Engrams on a bus, until SIGTERM or Ctrl-C.

    MODULE is one to import, or the path of a file; AXON is an Axon there, a list of them, a function that
    returns some, or a Neuron, which is hosted under its own name. One line is printed for each that is
    served. Ending drains: no more TASKs are taken, and those that run may finish.
    """
    if not targets and not engrams:
        raise Mistake("what is to be hosted? Name module:axon, as in workers:greeter, or --engram URL,ID")
    parsed = [Target.parse(target) for target in targets]
    if reload:
        # Imported on use: who does not ask for it does not wait for it.
        from cosmo_core_cli.run.reloading import is_child, reloaded

        if not is_child():
            ctx.exit(asyncio.run(reloaded(watched_folders(parsed), grace_s)))
    residents = Residents.load(parsed, engrams)
    asyncio.run(host(bus, residents, grace_s, lambda: _announce(residents, bus, as_json)))


def _announce(residents: Residents, bus: Bus, as_json: bool) -> None:
    for axon in residents.axons:
        if as_json:
            print_json_line({"neuron": axon.neuron_id, "capabilities": axon.capabilities})
        else:
            can = f" ({', '.join(axon.capabilities)})" if axon.capabilities else ""
            click.echo(f"hosting {axon.neuron_id}{can} in {bus.namespace} at {bus}")
    for engram in residents.engrams:
        if as_json:
            print_json_line({"engram": engram.engram_id, "kind": engram.engram_kind})
        else:
            click.echo(f"hosting Engram {engram.engram_id} in {bus.namespace} at {bus}")
