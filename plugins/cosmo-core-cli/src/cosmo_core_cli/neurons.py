"""`cosmo neurons`: who is there."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, AsyncExitStack, nullcontext, suppress
from typing import TYPE_CHECKING, Any, Final

import click

from cosmo_core import SignalType
from cosmo_core_cli.connecting import joined
from cosmo_core_cli.options import bus_options, json_option
from cosmo_core_cli.population import Population, settled
from cosmo_core_cli.printing import print_json, print_json_line
from cosmo_core_cli.words import printable

if TYPE_CHECKING:
    from cosmo_core import Dendrite
    from cosmo_core_cli.bus import Bus

NEWS: Final = (SignalType.REGISTER, SignalType.HEARTBEAT, SignalType.DEREGISTER)
"""What a population may change with."""

LOOK_S: Final = 1.0
"""Seconds between two looks while nothing is announced: who falls silent announces nothing."""


@click.command()
@click.option("--watch", is_flag=True, help="Go on, and show every change.")
@json_option
@bus_options
def neurons(watch: bool, as_json: bool, bus: Bus) -> None:
    """List the Neurons and Engrams that are on the bus now.

    A Neuron that several processes host is listed once, with the capabilities that all of them have and the
    TASKs that run or wait there. With --watch and --json there is one line for every change.
    """
    if watch:
        asyncio.run(_watch(bus, as_json))
    elif as_json:
        print_json(asyncio.run(_look(bus)).as_json())
    else:
        click.echo(printable(str(asyncio.run(_look(bus)))))


async def _look(bus: Bus) -> Population:
    async with joined(bus) as dendrite:
        await settled(dendrite)
        return Population.seen_by(dendrite)


async def _watch(bus: Bus, as_json: bool) -> None:
    async with joined(bus) as dendrite:
        await settled(dendrite)
        with _view(as_json) as show:
            async for population in _changes(dendrite):
                show(population)


async def _changes(dendrite: Dendrite) -> AsyncIterator[Population]:
    """Yield the population, and again whenever it has changed."""
    heard = asyncio.Event()
    async with AsyncExitStack() as watchers:
        for type in NEWS:
            await watchers.enter_async_context(await dendrite.watch(type, lambda _: heard.set()))
        shown = None
        while True:
            heard.clear()
            population = Population.seen_by(dendrite)
            if population != shown:
                yield population
                shown = population
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await heard.wait()


def _view(as_json: bool) -> AbstractContextManager[Callable[[Population], Any]]:
    """Return what shows populations: on a terminal, each in place of the one before."""
    if as_json:
        return nullcontext(lambda population: print_json_line(population.as_json()))
    if sys.stdout.isatty():
        from cosmo_core_cli.live import in_place

        return in_place()
    return nullcontext(lambda population: click.echo(printable(f"{population}\n")))
