"""`cosmo neurons`: list the Neurons and Engrams on a bus."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from itertools import groupby
from typing import Any, Final

import attrs
import click

from cosmo_core import Dendrite, NeuronRecord, SignalType
from cosmo_core_cli.bus import Bus, open_dendrite, wait_for_announcements
from cosmo_core_cli.options import bus_options, json_option
from cosmo_core_cli.output import columns, one_line, print_json, print_json_line, printable

PRESENCE_TYPES: Final = (SignalType.REGISTER, SignalType.HEARTBEAT, SignalType.DEREGISTER)
"""The types of Signals after which the list may have changed."""

POLL_S: Final = 1.0
"""Seconds between two looks at the list without such a Signal: a host that crashed sends none."""


@click.command()
@click.option("--watch", is_flag=True, help="Keep running, and show every change.")
@json_option
@bus_options
def neurons(watch: bool, as_json: bool, bus: Bus) -> None:
    """List the Neurons and Engrams on the bus.

    A Neuron with several replicas is one row, with the capabilities that all replicas have and the number of
    TASKs that run or wait on all of them. With --watch and --json there is one line for each change.
    """
    if watch:
        asyncio.run(_watch(bus, as_json))
    elif as_json:
        print_json(asyncio.run(_snapshot(bus)).as_json())
    else:
        click.echo(printable(str(asyncio.run(_snapshot(bus)))))


@attrs.frozen
class Snapshot:
    """The Neurons and Engrams of a namespace at one moment. As a string it is a table.

    Attributes:
        namespace: The namespace.
        neurons: One JSON object for each Neuron; its load is the sum over all replicas.
        engrams: One JSON object for each Engram.
    """

    namespace: str
    neurons: Sequence[dict[str, Any]]
    engrams: Sequence[dict[str, Any]]

    @classmethod
    def of(cls, dendrite: Dendrite) -> Snapshot:
        """Return what a Dendrite knows now."""
        neurons = groupby(dendrite.find_neurons(), lambda record: record.neuron_id)
        engrams = groupby(
            dendrite.find_engrams(), lambda record: {"id": record.engram_id, "kind": record.kind}
        )
        return cls(
            dendrite.namespace,
            [_neuron(id, list(replicas)) for id, replicas in neurons],
            [{**engram, "hosts": [record.dendrite for record in hosts]} for engram, hosts in engrams],
        )

    def as_json(self) -> dict[str, Any]:
        """Return the snapshot as a JSON object."""
        return attrs.asdict(self)

    def __str__(self) -> str:
        tables = []
        if self.neurons:
            headings = ("NEURON", "CAPABILITIES", "VERSION", "LOAD", "REPLICAS")
            tables.append(columns(headings, [_row(neuron) for neuron in self.neurons]))
        if self.engrams:
            rows = [(engram["id"], engram["kind"], str(len(engram["hosts"]))) for engram in self.engrams]
            tables.append(columns(("ENGRAM", "KIND", "HOSTS"), rows))
        return "\n\n".join(tables) or f"namespace {self.namespace!r} has no Neurons and no Engrams"


def _neuron(id: str, replicas: Sequence[NeuronRecord]) -> dict[str, Any]:
    # The bus decides which replica gets a TASK, so only capabilities of all replicas are certain.
    common = set.intersection(*(set(replica.capabilities) for replica in replicas))
    return {
        "id": id,
        "capabilities": sorted(common),
        "versions": sorted({replica.version for replica in replicas if replica.version is not None}),
        "load": sum(replica.load for replica in replicas),
        "hosts": [replica.dendrite for replica in replicas],
    }


def _row(neuron: dict[str, Any]) -> tuple[str, ...]:
    return (
        neuron["id"],
        ", ".join(neuron["capabilities"]) or "-",
        one_line(", ".join(neuron["versions"])) or "-",
        str(neuron["load"]),
        str(len(neuron["hosts"])),
    )


async def _snapshot(bus: Bus) -> Snapshot:
    async with open_dendrite(bus) as dendrite:
        await wait_for_announcements(dendrite)
        return Snapshot.of(dendrite)


async def _watch(bus: Bus, as_json: bool) -> None:
    async with open_dendrite(bus) as dendrite:
        await wait_for_announcements(dendrite)
        with _display(as_json) as show:
            async for snapshot in _changes(dendrite):
                show(snapshot)


async def _changes(dendrite: Dendrite) -> AsyncIterator[Snapshot]:
    """Yield a snapshot now, and again after each change."""
    heard = asyncio.Event()
    async with AsyncExitStack() as watchers:
        for type in PRESENCE_TYPES:
            await watchers.enter_async_context(await dendrite.watch(type, lambda _: heard.set()))
        shown = None
        while True:
            heard.clear()
            snapshot = Snapshot.of(dendrite)
            if snapshot != shown:
                yield snapshot
                shown = snapshot
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await heard.wait()


@contextmanager
def _display(as_json: bool) -> Iterator[Callable[[Snapshot], None]]:
    """Yield a function that shows a snapshot; on a terminal it replaces the one before."""
    if as_json:
        yield lambda snapshot: print_json_line(snapshot.as_json())
    elif sys.stdout.isatty():
        # Imported on use: only this needs it.
        from rich.live import Live
        from rich.text import Text

        with Live(auto_refresh=False) as live:
            yield lambda snapshot: live.update(Text(printable(str(snapshot))), refresh=True)
    else:
        yield lambda snapshot: click.echo(printable(f"{snapshot}\n"))
