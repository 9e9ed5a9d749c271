"""The measured buses: a memory Synapse with an echo Neuron, or with a stub of a host."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any, Final

import attrs

from cosmo_core import Axon, Dendrite, Directed, Signal, SignalType, Synapse, decode, encode
from cosmo_core.protocol.subjects import Subjects
from cosmo_synapse_memory import MemorySynapse

NAMESPACE: Final = "demo"
NEURON: Final = "greeter"
INPUT: Final = {"prompt": "Say hello to a project called Cosmonapse in one line."}


async def echo(input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
    """Return the prompt."""
    return {"response": input["prompt"]}


@attrs.frozen
class Bus:
    """A Synapse, and an orchestrator on it that has discovered the Neuron ``greeter``."""

    synapse: Synapse
    orchestrator: Dendrite

    async def round_trips(self, count: int) -> None:
        """Send the Neuron ``count`` TASKs, one after the other."""
        dispatch_and_wait = self.orchestrator.dispatch_and_wait
        for _ in range(count):
            reply = await dispatch_and_wait(neuron=NEURON, input=INPUT)
            if reply.type is not SignalType.AGENT_OUTPUT:
                reply.raise_for_error()


@asynccontextmanager
async def echo_bus() -> AsyncIterator[Bus]:
    """Start a bus with a worker that hosts `echo`."""
    synapse = MemorySynapse()
    await synapse.connect()
    worker = Dendrite(synapse=synapse, namespace=NAMESPACE, role="worker")
    worker.attach_axon(Axon(neuron_id=NEURON, neuron_fn=echo, capabilities=["greet"]))
    async with worker, Dendrite(synapse=synapse, namespace=NAMESPACE) as orchestrator:
        yield Bus(synapse, orchestrator)
    await synapse.close()


@asynccontextmanager
async def stub_bus(*, answers: bool) -> AsyncIterator[Bus]:
    """Start a bus with a stub of a worker: one subscription, which answers at once or never."""
    synapse = MemorySynapse()
    await synapse.connect()
    subjects = Subjects(NAMESPACE)

    def answer(frame: bytes) -> Awaitable[None] | None:
        if not answers:
            return None
        task = decode(frame)
        reply = task.reply(SignalType.AGENT_OUTPUT, {"output": {"response": INPUT["prompt"]}})
        return synapse.publish(subjects.inbox(reply.type, task.meta["reply_to"]), encode(reply))

    await synapse.subscribe(subjects.neuron(SignalType.TASK, NEURON), answer, queue_group=NEURON)
    async with Dendrite(synapse=synapse, namespace=NAMESPACE) as orchestrator:
        announcement = Signal.new(
            SignalType.REGISTER, {"role": "neuron", "capabilities": []}, directed=Directed(NEURON)
        )
        await synapse.publish(subjects.broadcast(SignalType.REGISTER), encode(announcement))
        yield Bus(synapse, orchestrator)
    await synapse.close()
