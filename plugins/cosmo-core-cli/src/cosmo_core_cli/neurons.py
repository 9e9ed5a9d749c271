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
import msgspec

from cosmo_core import Dendrite, NeuronDescription, NeuronRecord, SignalType, SynapseError
from cosmo_core_cli.bus import Bus, open_dendrite, wait_for_announcements
from cosmo_core_cli.errors import UserError
from cosmo_core_cli.options import bus_options, complete_neuron, json_option
from cosmo_core_cli.output import one_line, print_json, print_json_line, print_table, printable, rich_table
from cosmo_core_cli.questions import Questions

CHANGE_TYPES: Final = (SignalType.REGISTER, SignalType.HEARTBEAT, SignalType.DEREGISTER)
"""The types of Signals after which the list may have changed."""

PRESENCE_TYPES: Final = frozenset({*CHANGE_TYPES, SignalType.DISCOVER})
"""The types of Signals that announce participants, each on a trace of its own."""

POLL_S: Final = 1.0
"""Seconds between two DISCOVERs with --watch: hosts announce their load every 30 s, unless they are asked."""


@click.command()
@click.argument("name", metavar="[NEURON]", required=False, shell_complete=complete_neuron)
@click.option("--watch", is_flag=True, help="Keep running, and show every change.")
@json_option
@bus_options
def neurons(name: str | None, watch: bool, as_json: bool, bus: Bus) -> None:
    """List the Neurons and Engrams on the bus, or describe one Neuron.

    With NEURON, its description and the JSON Schemas of its input and output are printed, as its host gives
    them.

    In the list, a Neuron with several replicas is one row, with the capabilities that all replicas have and
    the number of TASKs that run or wait on all of them. With --watch and --json there is one line for each
    change.
    """
    if name is not None:
        if watch:
            raise UserError("--watch shows all Neurons: leave out NEURON, or --watch")
        description = asyncio.run(_described(bus, name))
        if as_json:
            print_json(msgspec.structs.asdict(description))
        else:
            _print_description(description)
    elif watch:
        asyncio.run(_watch(bus, as_json))
    elif as_json:
        print_json(asyncio.run(_snapshot(bus)).as_json())
    else:
        asyncio.run(_snapshot(bus)).print()


async def _described(bus: Bus, name: str) -> NeuronDescription:
    async with open_dendrite(bus) as dendrite:
        return await dendrite.describe_neuron(name)


def _print_description(described: NeuronDescription) -> None:
    """Print a description: one line for each short part, and the schemas as JSON."""
    capabilities = ", ".join(described.capabilities) or "-"
    click.secho(described.neuron_id, fg="cyan", nl=False)
    click.echo(f"  capabilities: {capabilities}  version: {one_line(described.version or '-')}")
    if described.description:
        click.echo(f"\n{printable(described.description.strip())}")
    for what, schema, without in (
        ("input", described.input_schema, "any object"),
        ("output", described.output_schema, "not checked"),
    ):
        click.secho(f"\n{what}", fg="cyan", nl=False)
        click.echo(f": {without}" if schema is None else "")
        if schema is not None:
            print_json(schema)


@attrs.frozen
class Snapshot:
    """The Neurons and Engrams of a namespace at one moment.

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

    def tables(self) -> list[tuple[Sequence[str], list[Sequence[str]]]]:
        """Return up to two tables, each with its headings and its rows: the Neurons, and the Engrams."""
        engrams = [(engram["id"], engram["kind"], str(len(engram["hosts"]))) for engram in self.engrams]
        both: list[tuple[Sequence[str], list[Sequence[str]]]] = [
            (("NEURON", "CAPABILITIES", "VERSION", "LOAD", "REPLICAS"), [*map(_row, self.neurons)]),
            (("ENGRAM", "KIND", "HOSTS"), [*engrams]),
        ]
        return [(headings, rows) for headings, rows in both if rows]

    def print(self) -> None:
        """Print the tables."""
        tables = self.tables()
        for place, (headings, rows) in enumerate(tables):
            click.echo("\n" if place else "", nl=False)
            print_table(headings, rows)
        if not tables:
            click.echo(self.nothing)

    @property
    def nothing(self) -> str:
        """The text in place of tables."""
        return f"namespace {self.namespace!r} has no Neurons and no Engrams"


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
        for type in CHANGE_TYPES:
            await watchers.enter_async_context(await dendrite.watch(type, lambda _: heard.set()))
        shown = None
        questions: Questions = dendrite.extension("questions")
        clock = asyncio.get_running_loop().time
        polls_at = clock() + POLL_S
        while True:
            heard.clear()
            snapshot = Snapshot.of(dendrite)
            if snapshot != shown:
                yield snapshot
                shown = snapshot
            with suppress(TimeoutError):
                async with asyncio.timeout_at(polls_at):
                    await heard.wait()
            if clock() >= polls_at:
                polls_at = clock() + POLL_S
                # While the bus is out of reach, the list shrinks as records expire.
                with suppress(SynapseError):
                    await questions.discover()


@contextmanager
def _display(as_json: bool) -> Iterator[Callable[[Snapshot], None]]:
    """Yield a function that shows a snapshot; on a terminal it replaces the one before."""
    if as_json:
        yield lambda snapshot: print_json_line(snapshot.as_json())
    elif sys.stdout.isatty():
        # Imported on use: only this needs it.
        from rich.console import Group
        from rich.live import Live

        with Live(auto_refresh=False) as live:

            def show(snapshot: Snapshot) -> None:
                tables = [rich_table(headings, rows) for headings, rows in snapshot.tables()]
                live.update(Group(*tables) if tables else snapshot.nothing, refresh=True)

            yield show
    else:

        def print_snapshot(snapshot: Snapshot) -> None:
            snapshot.print()
            click.echo()

        yield print_snapshot
