"""The Pathway behaves as that of cosmonapse: it goes on after the answer, and leaving it stops nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from cosmonapse import Axon, Dendrite, MemorySynapse, Pathway, PathwayClosedError, Signal, SignalType

OUTPUT = SignalType.AGENT_OUTPUT


class Gate:
    """A Neuron that answers when it is opened."""

    def __init__(self) -> None:
        self.entered, self.open = asyncio.Event(), asyncio.Event()

    async def __call__(self, input: dict[str, Any], context: list[Any]) -> Any:
        if input.get("fails"):
            return {"__error__": True, "message": "it fails"}
        self.entered.set()
        await self.open.wait()
        return {"done": input}


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
async def asker(synapse: MemorySynapse, gate: Gate) -> AsyncIterator[Dendrite]:
    async with Dendrite(synapse=synapse) as asker:
        await asker.add_axon(Axon(neuron_id="gate", neuron_fn=gate, capabilities=["wait"]))
        yield asker


async def test_iteration_goes_on_after_the_answer(asker: Dendrite, gate: Gate) -> None:
    gate.open.set()
    types = []
    async with asyncio.timeout(10), await asker.dispatch(neuron="gate", input={}) as pathway:
        async for signal in pathway:
            types.append(signal.type.value)
            if signal.type is OUTPUT:
                await asker.emit_plan(signal.trace_id, ["more"])
                await asker.emit_final(signal.trace_id, "done")
    assert types == ["AGENT_OUTPUT", "PLAN", "FINAL"]


@pytest.mark.parametrize("scope", ["all", "terminal"])
async def test_leaving_lets_the_task_run(asker: Dendrite, gate: Gate, scope: Any) -> None:
    outputs: asyncio.Queue[Signal] = asyncio.Queue()
    stops: list[Signal] = []
    asker.on_signal(OUTPUT, outputs.put_nowait)
    asker.on_signal(SignalType.STOP, stops.append)
    async with await asker.dispatch(neuron="gate", input={"n": 1}, scope=scope) as pathway:
        pass
    assert pathway.scope == scope
    second = await asker.dispatch_and_subscribe(capabilities=["wait"], input={"n": 2}, scope=scope)
    with pytest.raises(TimeoutError, match=f"arrived on {second.trace_id} within 0.01 s"):
        await second.wait(timeout_s=0.01)
    await second.close()
    gate.open.set()
    async with asyncio.timeout(10):
        assert [(await outputs.get()).payload["output"]["done"]["n"] for _ in range(2)] == [1, 2]
    assert stops == []


async def test_wait_returns_the_next_signal(asker: Dendrite, gate: Gate) -> None:
    pathway = await asker.dispatch(neuron="gate", input={}, finalize=True)
    await gate.entered.wait()
    waits = pathway.wait(10), pathway.wait_for(OUTPUT, timeout_s=10)
    both = [asyncio.create_task(wait) for wait in waits]
    gate.open.set()
    assert [(await each).type for each in both] == [OUTPUT, OUTPUT]
    assert (await pathway.wait(10)).type is SignalType.FINAL
    with pytest.raises(PathwayClosedError, match=f"on {pathway.trace_id} closed before AGENT_OUTPUT"):
        await pathway.wait_for(OUTPUT)


async def test_handler_closes_its_pathway(asker: Dendrite, gate: Gate) -> None:
    pathway = await asker.dispatch_and_subscribe(neuron="gate", input={})
    closed = asyncio.Event()

    @pathway.on(OUTPUT)
    async def close(signal: Signal) -> None:
        await pathway.close()
        closed.set()

    gate.open.set()
    async with asyncio.timeout(10):
        await closed.wait()
    assert pathway.closed


async def test_handlers_can_be_given_with_the_task(asker: Dendrite, gate: Gate) -> None:
    gate.open.set()
    outputs: asyncio.Queue[Signal] = asyncio.Queue()
    pathway = await asker.dispatch_and_subscribe({OUTPUT: outputs.put_nowait}, neuron="gate", input={})
    assert await outputs.get() == await pathway.wait(10)


async def test_observer_ends_with_an_error(asker: Dendrite) -> None:
    trace_id = Signal.new(SignalType.TASK, {"input": {}}).trace_id
    observer = await asker.observe_pathway(trace_id=trace_id)
    task = await asker.dispatch_task(neuron="gate", input={"fails": True}, trace_id=trace_id)
    async with asyncio.timeout(10):
        seen = [signal.type.value async for signal in observer]
    assert (seen, observer.role, task.trace_id) == (["ERROR"], "observer", trace_id)
    await observer.close()


async def test_pathway_has_the_attributes_of_the_core(asker: Dendrite, gate: Gate) -> None:
    pathway = await asker.dispatch(neuron="gate", input={})
    assert isinstance(pathway, Pathway)
    assert (pathway.neuron, pathway.closed, pathway.dropped, pathway.role) == ("gate", False, 0, "originator")
    assert (
        repr(pathway) == f"<originator of <Pathway open {pathway.task_id} to 'gate' on {pathway.trace_id}>>"
    )
    with pytest.raises(AttributeError, match="object has no attribute 'other'"):
        pathway.other  # noqa: B018
    await pathway.close()
    gate.open.set()
