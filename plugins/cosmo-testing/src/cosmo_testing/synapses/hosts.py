"""Dendrites on the peers of a bus, and Neurons that wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import attrs

from cosmo_core.contracts.axon import Axon
from cosmo_core.contracts.synapse import Synapse
from cosmo_core.dendrite import Dendrite
from cosmo_core.plugins import PluginManager
from cosmo_core.protocol.signal import Signal
from cosmo_testing.conformance.steps import bounded
from cosmo_testing.synapses.network import Network, running
from cosmo_testing.synapses.subject import SynapseUnderTest

NAMESPACE: Final = "kit"
DISCOVERY_S: Final = 0.3
"""Seconds for discovery: an answer over the bus may take some time."""


@attrs.frozen
class DendritePair:
    """A hosting and a calling Dendrite, each on its own peer, and a third peer.

    Attributes:
        network: The bus.
        worker: The Dendrite that hosts the Neurons.
        caller: The Dendrite that sends TASKs.
        spare: The third peer.
    """

    network: Network
    worker: Dendrite
    caller: Dendrite
    spare: Synapse


def dendrite(synapse: Synapse, **options: Any) -> Dendrite:
    """Make a Dendrite without the installed hooks."""
    options = {"namespace": NAMESPACE, "discovery_s": DISCOVERY_S, **options}
    return Dendrite(synapse=synapse, plugins=PluginManager(environ={}), **options)


@asynccontextmanager
async def dendrite_pair(
    under_test: SynapseUnderTest, *axons: Axon, **options: Any
) -> AsyncIterator[DendritePair]:
    """Run a bus with a Dendrite that hosts some Neurons, and one that can reach them."""
    async with running(under_test, 3) as (network, (there, here, spare)), AsyncExitStack() as stack:
        worker, caller = dendrite(there, role="worker", **options), dendrite(here)
        for axon in axons:
            worker.attach_axon(axon)
        for each in (worker, caller):
            await bounded("start()", each.start())
            stack.push_async_callback(each.stop)
        for axon in axons:
            await caller.wait_until_ready(neuron=axon.neuron_id)
        yield DendritePair(network, worker, caller, spare)


async def ask(caller: Dendrite, neuron: str, input: dict[str, Any] | None = None) -> Signal:
    """Send a TASK; return its answer."""
    return await bounded("dispatch_and_wait()", caller.dispatch_and_wait(neuron=neuron, input=input or {}))


async def greet(input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
    """Greet the person that the input names."""
    return {"greeting": f"Hello, {input.get('name')}!"}


def greeter() -> Axon:
    """Make an Axon that greets."""
    return Axon(neuron_id="greeter", neuron_fn=greet)


class Stuck:
    """A Neuron that waits until its gate opens.

    Attributes:
        running: The number of running calls.
        calls: The number of all calls.
        cancelled: The number of cancelled calls.
        gate: Set it to end the calls.
    """

    def __init__(self) -> None:
        self.running = 0
        self.calls = 0
        self.cancelled = 0
        self.gate = asyncio.Event()

    async def __call__(self, input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
        """Wait."""
        self.calls += 1
        self.running += 1
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
        return {"done": True}

    def axon(self, max_concurrency: int = 256, max_backlog: int = 1024) -> Axon:
        """Make an Axon of this Neuron."""
        return Axon(
            neuron_id="stuck", neuron_fn=self, max_concurrency=max_concurrency, max_backlog=max_backlog
        )
