"""Hosting Axons and Engrams until the process is told to end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import attrs
import click

from cosmo_core import Axon, Dendrite, Engram
from cosmo_core_cli.connecting import connected
from cosmo_core_cli.failing import Mistake
from cosmo_core_cli.progress import Progress
from cosmo_core_cli.run.axons import axons_of, check_distinct
from cosmo_core_cli.run.ending import end_signals
from cosmo_core_cli.run.engrams import load_engram
from cosmo_core_cli.run.loading import Target

if TYPE_CHECKING:
    from cosmo_core import Synapse
    from cosmo_core_cli.bus import Bus


@attrs.frozen
class Residents:
    """Who is to be hosted."""

    axons: Sequence[Axon]
    engrams: Sequence[Engram]

    @classmethod
    def load(cls, targets: Sequence[Target], engrams: Sequence[str]) -> Residents:
        """Import what is named.

        Raises:
            Mistake: A module does not import, or has not what is named.
            CosmoError: An Axon or an Engram cannot be made of it.
        """
        axons = [axon for target in targets for axon in axons_of(target.load(), target.name)]
        check_distinct(axons)
        return cls(axons, [load_engram(text) for text in engrams])

    def attach_to(self, dendrite: Dendrite) -> None:
        """Attach them all, before the Dendrite starts.

        Raises:
            Mistake: Two Engrams have one id.
            CosmoError: A plugin's Neuron wrapper cannot be used.
        """
        for axon in self.axons:
            dendrite.attach_axon(axon)
        try:
            for engram in self.engrams:
                dendrite.attach_engram(engram)
        except ValueError as error:
            raise Mistake(str(error)) from error


async def host(bus: Bus, residents: Residents, grace_s: float, announce: Callable[[], None]) -> None:
    """Serve until SIGTERM or Ctrl-C, then drain. Raises as `connected` and `Dendrite.start` do.

    Args:
        bus: Where.
        residents: Who.
        grace_s: For how many seconds what runs may finish.
        announce: Called when they are served.
    """
    async with connected(bus) as synapse:
        dendrite = _dendrite(synapse, bus, grace_s)
        residents.attach_to(dendrite)
        with end_signals() as ended:
            with Progress("starting"):
                await dendrite.start()
            try:
                announce()
                await ended.wait()
                click.echo(f"leaving; what runs may finish within {grace_s:g} s", err=True)
            finally:
                await dendrite.stop("its process ends")


def _dendrite(synapse: Synapse, bus: Bus, grace_s: float) -> Dendrite:
    return Dendrite(synapse=synapse, namespace=bus.namespace, role="worker", grace_s=grace_s)
