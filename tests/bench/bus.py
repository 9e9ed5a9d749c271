"""The measured buses: a memory Synapse with an echo Neuron, or with a stub of a host."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final

import attrs

from cosmo_core import Axon, Dendrite, Directed, Signal, SignalType, Synapse, decode, encode
from cosmo_core.plugins import PluginManager
from cosmo_core.protocol.ids import new_ulid
from cosmo_core.protocol.subjects import Subjects
from cosmo_synapse_memory import MemorySynapse

NAMESPACE: Final = "demo"
NEURON: Final = "greeter"
STREAMER: Final = "streamer"
THERE: Final = "frames.there"
BACK: Final = "frames.back"
INPUT: Final = {"prompt": "Say hello to a project called Cosmonapse in one line."}
SILENT: Final = "silent"
CAPABILITY: Final = "greet"
SUBJECTS: Final = Subjects(NAMESPACE)

_STUB: Final = new_ulid()


async def echo(input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
    """Return the prompt."""
    return {"response": input["prompt"]}


async def stream(input: dict[str, Any], context: list[Any]) -> AsyncIterator[str]:
    """Yield as many texts as the input says."""
    for _ in range(input["count"]):
        yield "a token "


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

    async def deltas(self, count: int) -> None:
        """Read a stream of ``count`` texts of the Neuron `STREAMER`, with back-pressure.

        Raises:
            RuntimeError: Another number of texts arrived.
        """
        pathway = await self.orchestrator.dispatch(neuron=STREAMER, input={"count": count}, backpressure=True)
        read = 0
        async with pathway:
            async for _ in pathway.text():
                read += 1
        if read != count:
            raise RuntimeError(f"{read} of {count} texts of a stream arrived")


@asynccontextmanager
async def echo_bus(plugins: PluginManager | None = None) -> AsyncIterator[Bus]:
    """Start a bus with a worker that hosts `echo` and `stream`; ``plugins`` are the hooks of both sides."""
    synapse = MemorySynapse()
    await synapse.connect()
    worker = Dendrite(synapse=synapse, namespace=NAMESPACE, role="worker", plugins=plugins)
    worker.attach_axon(Axon(neuron_id=NEURON, neuron_fn=echo, capabilities=[CAPABILITY]))
    worker.attach_axon(Axon(neuron_id=STREAMER, neuron_fn=stream))
    async with worker, Dendrite(synapse=synapse, namespace=NAMESPACE, plugins=plugins) as orchestrator:
        yield Bus(synapse, orchestrator)
    await synapse.close()


@asynccontextmanager
async def stub_bus(*, answers: bool, neurons: Iterable[str] = (NEURON,)) -> AsyncIterator[Bus]:
    """Start a bus with a stub of a worker: one subscription, which answers at once or never.

    The Neuron `SILENT`, if it is one of ``neurons``, never answers.
    """
    synapse = MemorySynapse()
    await synapse.connect()

    def answer(frame: bytes) -> Awaitable[None] | None:
        if not answers:
            return None
        task = decode(frame)
        if task.directed is not None and task.directed.id == SILENT:
            return None
        reply = task.reply(SignalType.AGENT_OUTPUT, {"output": {"response": INPUT["prompt"]}})
        return synapse.publish(SUBJECTS.inbox(reply.type, task.meta["reply_to"]), encode(reply))

    await synapse.subscribe(SUBJECTS.addressed_pattern(SignalType.TASK), answer, queue_group="stub")
    async with Dendrite(synapse=synapse, namespace=NAMESPACE) as orchestrator:
        for neuron in neurons:
            await announce(synapse, SignalType.REGISTER, neuron)
        yield Bus(synapse, orchestrator)
    await synapse.close()


async def announce(synapse: Synapse, type: SignalType, neuron: str, load: int = 0) -> None:
    """Publish a REGISTER or HEARTBEAT of a Neuron that the stub hosts; its record does not expire."""
    is_register = type is SignalType.REGISTER
    announcement = Signal.new(
        type,
        {"role": "neuron", "capabilities": [CAPABILITY]} if is_register else {"status": "ok"},
        directed=Directed(neuron),
        meta={"dendrite": _STUB, "role": "neuron", "heartbeat_s": 3600, "load": load},
    )
    await synapse.publish(SUBJECTS.broadcast(type), encode(announcement))
