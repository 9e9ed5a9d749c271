"""A Dendrite belongs to one event loop: calls from another fail, and Neurons share the turns of their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from cosmo_core import Axon, Dendrite, LifecycleError, Pathway, Signal, SignalType
from cosmo_core.plugins import PluginManager
from cosmo_core.protocol.ids import new_trace_id
from cosmo_synapse_memory import MemorySynapse
from tests.bus.common import Start, echo

TRACE = new_trace_id()
OFFER = Signal.new(SignalType.TASK_OFFER, {"input": {}})
CALLS: dict[str, Callable[[Dendrite], Any]] = {
    "dispatch_and_wait": lambda it: it.dispatch_and_wait(neuron="echo", input={}),
    "without a limit": lambda it: it.dispatch_and_wait(neuron="echo", input={}, timeout_s=None),
    "dispatch": lambda it: it.dispatch(neuron="echo", input={}),
    "dispatch_task": lambda it: it.dispatch_task(neuron="echo", input={}),
    "emit": lambda it: it.emit(Signal.new(SignalType.PLAN, {"steps": []})),
    "stop_trace": lambda it: it.stop_trace(TRACE),
    "dispatch_offer": lambda it: it.dispatch_offer(capabilities=["x"], input={}),
    "bid": lambda it: it.bid(OFFER, cost=1),
    "recall": lambda it: it.recall("notes", {"text": "a"}),
    "add_axon": lambda it: it.add_axon(Axon(neuron_id="other", neuron_fn=echo)),
    "detach_axon": lambda it: it.detach_axon("echo"),
    "watch": lambda it: it.watch(SignalType.PLAN, print),
    "observe_pathway": lambda it: it.observe_pathway(TRACE),
    "wait_until_ready": lambda it: it.wait_until_ready(neuron="echo"),
    "stop": lambda it: it.stop(),
}


@pytest.mark.parametrize("name", CALLS)
async def test_call_from_another_thread_fails_and_harms_nothing(start: Start, name: str) -> None:
    dendrite = await start(echo)

    async def call() -> None:
        await CALLS[name](dendrite)

    with pytest.raises(LifecycleError, match="another event loop"):
        await asyncio.to_thread(asyncio.run, call())
    reply = await dendrite.dispatch_and_wait(neuron="echo", input={"a": 1}, timeout_s=5)
    assert reply.payload == {"output": {"a": 1}}


def test_call_after_its_event_loop_ended_fails() -> None:
    async def start() -> Dendrite:
        synapse = MemorySynapse()
        await synapse.connect()
        dendrite = Dendrite(synapse=synapse, plugins=PluginManager())
        # A plain function: no watchdog is left behind for it.
        dendrite.attach_axon(Axon(neuron_id="echo", neuron_fn=lambda input, context: input))
        await dendrite.start()
        return dendrite

    async def ask(dendrite: Dendrite) -> None:
        await dendrite.dispatch_and_wait(neuron="echo", input={}, timeout_s=5)

    dendrite = asyncio.run(start())
    for _ in range(2):
        with pytest.raises(LifecycleError, match="another event loop"):
            asyncio.run(ask(dendrite))

    async def call(name: str) -> None:
        await CALLS[name](dendrite)

    # The others work on a bus in the same process; waiting for an answer fails in any case.
    for name in CALLS.keys() - {"dispatch", "dispatch_task"}:
        with pytest.raises(LifecycleError, match="another event loop"):
            asyncio.run(call(name))


READS: dict[str, Callable[[Pathway], Any]] = {
    "wait": lambda pathway: pathway.wait(),
    "wait with a limit": lambda pathway: pathway.wait(timeout_s=5),
    "wait_for": lambda pathway: pathway.wait_for(SignalType.AGENT_OUTPUT),
    "iterate": lambda pathway: anext(aiter(pathway)),
}


@pytest.mark.parametrize("observed", [False, True])
async def test_pathway_cannot_be_read_in_another_event_loop(start: Start, observed: bool) -> None:
    release = asyncio.Event()

    async def held(input: dict[str, Any], context: list[Any]) -> Any:
        await release.wait()
        return {}

    dendrite = await start(held)
    pathway = await dendrite.dispatch(neuron="held", input={})
    if observed:
        pathway = await dendrite.observe_pathway(pathway.trace_id)
    for read in READS.values():

        async def call(read: Callable[[Pathway], Any] = read) -> None:
            async with asyncio.timeout(5):
                await read(pathway)

        with pytest.raises(LifecycleError, match="another event loop"):
            await asyncio.to_thread(asyncio.run, call())
    with pytest.raises(LifecycleError, match="another event loop"):
        await asyncio.to_thread(pathway.on(SignalType.AGENT_OUTPUT), print)
    release.set()
    assert (await pathway.wait(timeout_s=5)).payload == {"output": {}}
    pathway.close()


async def test_handler_cannot_be_registered_in_another_thread(start: Start) -> None:
    dendrite = await start()
    received: list[Signal] = []
    with pytest.raises(LifecycleError, match="another event loop"):
        await asyncio.to_thread(dendrite.on_plan, received.append)
    async with await dendrite.watch(SignalType.PLAN, print):
        await dendrite.emit(Signal.new(SignalType.PLAN, {"steps": []}))
    assert received == []


# --- turns of the event loop --------------------------------------------------------------------------


@pytest.mark.parametrize("item", ["a", {"not": "text"}])
async def test_stream_that_awaits_nothing_keeps_deadline_and_feeds_readers(start: Start, item: Any) -> None:
    yielded = 0
    ended = asyncio.Event()

    async def endless(input: dict[str, Any], context: list[Any]) -> AsyncIterator[Any]:
        nonlocal yielded
        try:
            while True:
                yielded += 1
                yield item
        finally:
            ended.set()

    await start(endless, role="worker")
    orchestrator = await start()
    with pytest.raises(TimeoutError):
        await orchestrator.dispatch_and_wait(neuron="endless", input={}, timeout_s=0.05)
    await asyncio.wait_for(ended.wait(), 5)
    assert yielded > 0


async def test_reader_sees_deltas_while_stream_awaits_nothing(start: Start) -> None:
    yielded = 0

    async def counting(input: dict[str, Any], context: list[Any]) -> AsyncIterator[Any]:
        nonlocal yielded
        while yielded < 1_000:
            yielded += 1
            yield "a"

    await start(counting, role="worker")
    orchestrator = await start()
    async with await orchestrator.dispatch(neuron="counting", input={}) as pathway:
        async for signal in pathway:
            assert signal.type is SignalType.THOUGHT_DELTA
            break
    assert yielded < 200
