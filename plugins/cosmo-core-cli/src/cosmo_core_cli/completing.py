"""What a shell completes beyond commands and options. It never says what went wrong: nobody would see it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import click

from cosmo_core import CosmoError, NeuronRecord
from cosmo_core.plugins import default_manager
from cosmo_core_cli.bus import Bus
from cosmo_core_cli.connecting import joined
from cosmo_core_cli.population import settled

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

PATIENCE_S: Final = 1.0
"""For how long a shell waits for who is on the bus."""


def synapse_urls(_context: click.Context, _option: click.Parameter, incomplete: str) -> list[str]:
    """Complete the scheme of a URL, from the Synapses that are installed."""
    return [f"{name}://" for name in default_manager().names("cosmo.synapses") if name.startswith(incomplete)]


def neuron_ids(context: click.Context, _option: click.Parameter, incomplete: str) -> list[str]:
    """Complete the id of a Neuron that is on the bus."""
    found = {record.neuron_id for record in _population(context)}
    return sorted(id for id in found if id.startswith(incomplete))


def capabilities(context: click.Context, _option: click.Parameter, incomplete: str) -> list[str]:
    """Complete a capability of a Neuron that is on the bus."""
    found = {name for record in _population(context) for name in record.capabilities}
    return sorted(name for name in found if name.startswith(incomplete))


def targets(_context: click.Context, _argument: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the path of a file."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="file")]


def _population(context: click.Context) -> list[NeuronRecord]:
    url = context.params.get("url")
    if not url:
        return []
    bus = Bus(url, context.params.get("namespace") or "default")

    async def ask() -> list[NeuronRecord]:
        async with asyncio.timeout(PATIENCE_S), joined(bus) as dendrite:
            await settled(dendrite)
            return dendrite.find_neurons()

    try:
        return asyncio.run(ask())
    except (CosmoError, TimeoutError, click.ClickException):
        return []
