"""An echo in cosmonapse, over its bus in one process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cosmonapse import Axon, Dendrite, MemoryRegistryStore, MemorySynapse
from tests.bench.bus import CAPABILITY, INPUT, NAMESPACE, NEURON, echo


class Caller:
    """Sends TASKs to the Neuron."""

    def __init__(self, orchestrator: Dendrite) -> None:
        self._dispatch_and_wait = orchestrator.dispatch_and_wait

    async def round_trips(self, count: int) -> None:
        """Send ``count`` TASKs, each after the answer to the previous one."""
        for _ in range(count):
            reply = await self._dispatch_and_wait(neuron=NEURON, input=INPUT)
            assert reply.payload["output"] == {"response": INPUT["prompt"]}, reply


@asynccontextmanager
async def greeter() -> AsyncIterator[Caller]:
    """Start a bus with a worker that hosts the echo Neuron, and an orchestrator."""
    synapse = MemorySynapse()
    await synapse.connect()
    worker = Dendrite(synapse=synapse, namespace=NAMESPACE, role="worker")
    worker.attach_axon(Axon(neuron_id=NEURON, neuron_fn=echo, capabilities=[CAPABILITY]))
    async with (
        worker,
        Dendrite(synapse=synapse, namespace=NAMESPACE, registry_store=MemoryRegistryStore()) as orchestrator,
    ):
        yield Caller(orchestrator)
    await synapse.close()
