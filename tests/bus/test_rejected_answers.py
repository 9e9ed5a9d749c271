"""An answer that an inbound middleware of the caller drops, or fails on, is ERROR REJECTED at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from cosmo_core import Signal, SignalType, clarify, decode
from cosmo_core.plugins import Dropped, Forward, PluginManager, hookimpl
from cosmo_core.protocol.signal import address, encode
from cosmo_core.protocol.subjects import Subjects
from cosmo_synapse_memory import MemorySynapse
from cosmo_testing import FakeClock
from tests.bus.common import Start, count, echo


class Refuses:
    """Drops the inbound Signals of some types, or fails on them."""

    def __init__(self, fault: str, *types: SignalType) -> None:
        self.fault = fault
        self.types = types
        self.refused: list[Signal] = []

    @hookimpl
    def cosmo_signal_middleware(
        self, direction: str
    ) -> Callable[[Signal, Forward], Awaitable[Signal | Dropped]] | None:
        return self.refuse if direction == "inbound" else None

    async def refuse(self, signal: Signal, forward: Forward) -> Signal | Dropped:
        if signal.type not in self.types:
            return await forward(signal)
        self.refused.append(signal)
        if self.fault == "drops":
            return Dropped("not before noon")
        if self.fault == "returns":
            return {"password": "s3cret"}  # type: ignore[return-value]
        raise {"raises": ValueError, "exits": GeneratorExit}[self.fault]("s3cret")


def plugins(**hooks: object) -> PluginManager:
    manager = PluginManager()
    for name, hook in hooks.items():
        manager.register(hook, name=name)
    return manager


async def ask_back(input: dict[str, Any], context: list[Any]) -> Any:
    return clarify("which one?")


async def fail(input: dict[str, Any], context: list[Any]) -> Any:
    raise LookupError


@pytest.mark.clause("P-5.12")
@pytest.mark.parametrize("fault", ["drops", "raises", "exits", "returns"])
@pytest.mark.parametrize(
    ("neuron", "type"),
    [
        (echo, SignalType.AGENT_OUTPUT),
        (ask_back, SignalType.CLARIFICATION),
        (fail, SignalType.ERROR),
    ],
)
async def test_refused_answer_is_rejected_at_once(
    start: Start, fault: str, neuron: Any, type: SignalType
) -> None:
    await start(neuron, role="worker")
    caller = await start(plugins=plugins(outer=Refuses("drops"), guard=Refuses(fault, type)))
    reply = await caller.dispatch_and_wait(neuron=neuron.__name__, input={}, timeout_s=None)
    assert reply.type is SignalType.ERROR
    assert (reply.payload["code"], reply.payload["recoverable"]) == ("REJECTED", False)
    message = reply.payload["message"]
    assert f"a middleware of this Dendrite dropped {type.value}" in message
    assert ("not before noon" if fault == "drops" else "the middleware of guard failed") in message
    assert "s3cret" not in message
    assert caller._pathways.pathways() == []


@pytest.mark.clause("P-5.12")
async def test_failed_middleware_of_worker_is_named_to_caller(start: Start) -> None:
    guard = Refuses("raises", SignalType.TASK)
    await start(echo, role="worker", plugins=plugins(outer=Refuses("drops"), guard=guard))
    caller = await start()
    reply = await caller.dispatch_and_wait(neuron="echo", input={}, timeout_s=None)
    assert reply.payload == {
        "code": "REJECTED",
        "message": "the middleware of guard failed",
        "recoverable": False,
    }


@pytest.mark.extension("auctions")
async def test_refused_answer_of_winner_rejects_offer_at_once(start: Start) -> None:
    await start(echo, role="worker", axon={"capabilities": ["x"]})
    guard = Refuses("raises", SignalType.AGENT_OUTPUT)
    caller = await start(plugins=plugins(guard=guard))
    await caller.wait_until_ready(capabilities=["x"], timeout_s=5)
    pathway = await caller.dispatch_offer(capabilities=["x"], input={})
    assert (await pathway.wait(timeout_s=5)).payload["code"] == "REJECTED"
    assert len(guard.refused) == 1


@pytest.mark.parametrize("scope", ["all", "terminal"])
async def test_refused_final_is_rejected_at_once(start: Start, scope: Any) -> None:
    await start(echo, role="worker")
    caller = await start(plugins=plugins(guard=Refuses("raises", SignalType.FINAL)))
    pathway = await caller.dispatch(neuron="echo", input={}, finalize=True, scope=scope)
    types = [signal.type.value async for signal in pathway]
    assert types == (["AGENT_OUTPUT", "ERROR"] if scope == "all" else ["ERROR"])
    assert pathway.closed


async def test_refused_repetition_of_answer_is_ignored(start: Start) -> None:
    await start(echo, role="worker")
    caller = await start()
    pathway = await caller.dispatch(neuron="echo", input={}, finalize=True)
    answer = await pathway.wait_for(SignalType.AGENT_OUTPUT)
    await caller._pathways.refuse(answer, "seen before")
    assert [signal.type.value async for signal in pathway] == ["AGENT_OUTPUT", "FINAL"]


async def test_refused_thought_delta_rejects_nothing(start: Start) -> None:
    await start(count, role="worker")
    guard = Refuses("raises", SignalType.THOUGHT_DELTA)
    caller = await start(plugins=plugins(guard=guard))
    reply = await caller.dispatch_and_wait(neuron="count", input={"to": 3})
    assert reply.type is SignalType.AGENT_OUTPUT
    assert len(guard.refused) == 3


async def test_refused_answer_for_another_task_of_the_trace_is_ignored(start: Start) -> None:
    opened = asyncio.Event()

    async def slow(input: dict[str, Any], context: list[Any]) -> Any:
        await opened.wait()
        return {"done": True}

    await start(echo, slow, role="worker")

    class RefusesEcho(Refuses):
        async def refuse(self, signal: Signal, forward: Forward) -> Signal | Dropped:
            echoed = signal.payload.get("output") == {"refused": True}
            return await super().refuse(signal, forward) if echoed else await forward(signal)

    caller = await start(plugins=plugins(guard=RefusesEcho("drops", SignalType.AGENT_OUTPUT)))
    pathway = await caller.dispatch(neuron="slow", input={})
    refused = await caller.dispatch_and_wait(
        neuron="echo", input={"refused": True}, trace_id=pathway.trace_id, timeout_s=None
    )
    assert refused.payload["code"] == "REJECTED"
    opened.set()
    assert (await pathway.wait(timeout_s=5)).payload["output"] == {"done": True}


async def test_refused_answer_with_backpressure_comes_after_what_waits_for_space(start: Start) -> None:
    async def recite(input: dict[str, Any], context: list[Any]) -> AsyncIterator[Any]:
        for number in range(8):
            yield str(number)
        yield {"done": True}

    await start(recite, role="worker")
    guard = Refuses("raises", SignalType.AGENT_OUTPUT)
    caller = await start(plugins=plugins(guard=guard), pathway_buffer=2)
    pathway = await caller.dispatch(neuron="recite", input={}, backpressure=True)
    async with asyncio.timeout(5):
        seen = [signal async for signal in pathway]
    assert [signal.payload.get("delta") for signal in seen[:-1]] == [str(number) for number in range(8)]
    assert seen[-1].payload["code"] == "REJECTED"
    assert pathway.dropped == 0


@pytest.mark.clause("P-5.19")
@pytest.mark.parametrize("fault", ["drops", "raises"])
async def test_worker_whose_work_heartbeats_are_refused_is_not_lost(start: Start, fault: str) -> None:
    opened = asyncio.Event()

    async def slow(input: dict[str, Any], context: list[Any]) -> Any:
        await opened.wait()
        return {"done": True}

    clock = FakeClock()
    await start(slow, role="worker", clock=clock)
    guard = Refuses(fault, SignalType.HEARTBEAT)
    caller = await start(clock=clock, plugins=plugins(guard=guard))
    pathway = await caller.dispatch(neuron="slow", input={})
    await clock.advance(30)
    assert guard.refused
    opened.set()
    assert (await pathway.wait(timeout_s=5)).payload == {"output": {"done": True}}


@pytest.mark.clause("P-5.12")
async def test_task_on_broadcast_subject_is_rejected_by_its_host_only(
    start: Start, synapse: MemorySynapse
) -> None:
    await start(echo, role="worker", plugins=plugins(guard=Refuses("drops", SignalType.TASK)))
    bystander = Refuses("drops", SignalType.TASK)
    await start(count, role="worker", plugins=plugins(guard=bystander))
    answers: asyncio.Queue[Signal] = asyncio.Queue()
    subjects = Subjects("test")
    await synapse.subscribe(
        subjects.inbox_pattern("foreign"), lambda frame: answers.put_nowait(decode(frame))
    )
    task = Signal.new(SignalType.TASK, {"input": {}}, directed=address("echo"), meta={"reply_to": "foreign"})
    await synapse.publish(subjects.broadcast(SignalType.TASK), encode(task))
    async with asyncio.timeout(5):
        answer = await answers.get()
    assert (answer.parent_id, answer.payload["code"]) == (task.id, "REJECTED")
    assert len(bystander.refused) == 1
    assert answers.empty()
