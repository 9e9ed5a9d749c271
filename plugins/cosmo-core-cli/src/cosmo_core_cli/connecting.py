"""Reaching a bus, for as long as a command needs it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from cosmo_core import Dendrite, connect_synapse
from cosmo_core_cli.failing import Mistake
from cosmo_core_cli.progress import Progress

if TYPE_CHECKING:
    from cosmo_core import Synapse
    from cosmo_core_cli.bus import Bus

DISCOVERY_S: Final = 0.5
"""For how long an unknown Neuron is asked for: a person waits gladly for one that is far away."""


@asynccontextmanager
async def connected(bus: Bus) -> AsyncIterator[Synapse]:
    """Connect a Synapse, and close it in the end.

    Raises:
        Mistake: The URL or the options are none that it takes.
        CosmoError: There is no such Synapse, or the bus cannot be reached.
    """
    with Progress(f"connecting to {bus}"):
        synapse = await _connect(bus)
    try:
        yield synapse
    finally:
        await synapse.close()


@asynccontextmanager
async def joined(bus: Bus) -> AsyncIterator[Dendrite]:
    """Run a Dendrite that asks others, on a bus that reaches them. Raises as `connected` does."""
    check_reaches_others(bus)
    async with (
        connected(bus) as synapse,
        Dendrite(synapse=synapse, namespace=bus.namespace, discovery_s=DISCOVERY_S) as dendrite,
    ):
        yield dendrite


def check_reaches_others(bus: Bus) -> None:
    """Refuse a bus that ends with this process.

    Raises:
        Mistake: It does.
    """
    if bus.url.partition(":")[0] == "memory":
        raise Mistake(
            "memory:// ends with this process, so nobody is there: give the --synapse that the others use, "
            "such as zmq://127.0.0.1:7071"
        )


async def _connect(bus: Bus) -> Synapse:
    try:
        return await connect_synapse(bus.url, **bus.options)
    except OSError as error:
        raise Mistake(f"{bus} cannot be reached: {error}") from error
    except (TypeError, ValueError) as error:
        raise Mistake(f"{bus} cannot be used like that: {error}") from error
