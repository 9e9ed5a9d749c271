"""The command line of `cosmo run`."""

from __future__ import annotations

import asyncio

import click

from cosmo_core_cli.bus import Bus
from cosmo_core_cli.errors import UserError, log_details
from cosmo_core_cli.options import Seconds, bus_options, json_option
from cosmo_core_cli.output import print_json_line
from cosmo_core_cli.run.hosting import Components, host, run_until_ended
from cosmo_core_cli.run.targets import Target, watched_folders


@click.command()
# A path, so that the shell completes file names; it need not exist.
@click.argument("targets", nargs=-1, metavar="[MODULE:AXON]...", type=click.Path())
@click.option(
    "--engram",
    "engrams",
    metavar="URL,ID",
    multiple=True,
    help="An Engram to host, such as sqlite:///memory.db,ctx, or MODULE:ENGRAM; repeatable.",
)
@click.option("--reload", is_flag=True, help="Restart when a Python file in the folder of a module changes.")
@click.option(
    "--grace",
    "grace_s",
    metavar="SECONDS",
    type=Seconds(),
    default=5.0,
    show_default=True,
    help="How long running TASKs may take to finish at shutdown.",
)
@click.option("-v", "--verbose", is_flag=True, help="Log each step of every TASK.")
@json_option
@bus_options
@click.pass_context
def run(
    ctx: click.Context,
    targets: tuple[str, ...],
    engrams: tuple[str, ...],
    reload: bool,
    grace_s: float,
    verbose: bool,
    as_json: bool,
    bus: Bus,
) -> None:
    """Host Neurons and Engrams on a bus, until SIGTERM or Ctrl-C.

    MODULE is an importable module, or the path of a file. AXON is the name of an Axon in it, of a list of
    Axons, of a function that returns one of these, or of a Neuron, which is hosted under its own name.
    One line is printed for each that is hosted. A Neuron that declares ask, stream, map or race gets a host
    that may send TASKs, and one line says so. At shutdown no new TASKs are accepted, and running TASKs
    may finish; the process ends a second after that at most, even if the bus does not answer.
    """
    if not targets and not engrams:
        raise UserError("nothing to host. Name module:axon, as in workers:greeter, or --engram URL,ID")
    if verbose:
        log_details()
    parsed = [Target.parse(target) for target in targets]
    if reload:
        # Imported on use: watchfiles takes time to import.
        from cosmo_core_cli.run.reloading import is_child, run_with_reload

        if not is_child():
            ctx.exit(asyncio.run(run_with_reload(watched_folders(parsed), grace_s)))
    components = Components.load(parsed, engrams)
    run_until_ended(host(bus, components, grace_s, lambda: _announce(components, bus, as_json)))


def _announce(components: Components, bus: Bus, as_json: bool) -> None:
    senders = [axon.neuron_id for axon in components.axons if axon.work_keywords]
    if senders:
        click.echo(
            f"the role of this host is orchestrator, since {' and '.join(senders)} may send TASKs to others",
            err=True,
        )
    for axon in components.axons:
        if as_json:
            print_json_line({"neuron": axon.neuron_id, "capabilities": axon.capabilities})
        else:
            capabilities = f" ({', '.join(axon.capabilities)})" if axon.capabilities else ""
            click.echo(f"hosting {axon.neuron_id}{capabilities} in {bus.namespace} at {bus}")
    for engram in components.engrams:
        if as_json:
            print_json_line({"engram": engram.engram_id, "kind": engram.engram_kind})
        else:
            click.echo(f"hosting Engram {engram.engram_id} in {bus.namespace} at {bus}")
