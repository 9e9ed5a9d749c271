"""Dispatching of TASKs: routing, answers, timeouts and cancellation."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cosmo_core import (
    LifecycleError,
    MalformedSignalError,
    NoRouteError,
    PathwayClosedError,
    RoleError,
    Signal,
    SignalType,
    SynapseError,
    UnencodableError,
)
from cosmo_synapse_memory import MemorySynapse
from tests.bus.common import Start, count


async def echo(input: dict[str, Any], context: list[Any]) -> Any:
    return {"response": input.get("prompt")}


class Gate:
    """A Neuron that answers once `open` is set, and signals its start and its cancellation."""

    __name__ = "gate"

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.open = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.runs = 0

    async def __call__(self, input: dict[str, Any], context: list[Any]) -> Any:
        self.runs += 1
        self.entered.set()
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return {"runs": self.runs}


@pytest.mark.clause("P-5.1")
async def test_dispatch_and_wait_returns_reply(start: Start) -> None:
    await start(echo, role="worker")
    orchestrator = await start()
    reply = await orchestrator.dispatch_and_wait(neuron="echo", input={"prompt": "hi"})
    assert reply.type is SignalType.AGENT_OUTPUT
    assert reply.payload["output"] == {"response": "hi"}


async def test_dendrite_can_host_and_dispatch(start: Start) -> None:
    both = await start(echo)
    assert (await both.dispatch_and_wait(neuron="echo", input={})).type is SignalType.AGENT_OUTPUT


@pytest.mark.clause("P-4.9")
async def test_late_orchestrator_discovers_running_neuron(start: Start) -> None:
    await start(echo, role="worker")
    late = await start()
    assert (await late.dispatch_and_wait(neuron="echo", input={})).type is SignalType.AGENT_OUTPUT
    assert [record.neuron_id for record in late.find_neurons()] == ["echo"]


@pytest.mark.clause("P-5.2", "P-5.3")
async def test_dispatch_by_capabilities_finds_neuron(start: Start) -> None:
    await start(echo, role="worker", axon={"capabilities": ["text", "echo"]})
    await start(count, role="worker", axon={"capabilities": ["count"]})
    orchestrator = await start()
    for _ in range(4):
        reply = await orchestrator.dispatch_and_wait(capabilities=["echo", "text"], input={"prompt": "hi"})
        assert reply.payload["output"] == {"response": "hi"}
    with pytest.raises(NoRouteError, match=r"'count' and 'text'.*known: count, echo, text"):
        await orchestrator.dispatch_and_wait(capabilities=["count", "text"], input={})
    assert [record.neuron_id for record in orchestrator.find_neurons("count")] == ["count"]


def test_error_names_a_neuron_with_several_replicas_once() -> None:
    assert str(NoRouteError("Neuron 'ekko'", ["text", "echo", "text"])).endswith("known: echo, text")


@pytest.mark.clause("P-5.3")
async def test_dispatch_to_unknown_neuron_raises_error_with_known_names(start: Start) -> None:
    await start(echo, count, role="worker")
    orchestrator = await start()
    with pytest.raises(NoRouteError, match=r"Neuron 'ekko'.*known: count, echo") as caught:
        await orchestrator.dispatch_and_wait(neuron="ekko", input={})
    assert caught.value.known == ["count", "echo"]
    assert caught.value.code == "NO_ROUTE"


@pytest.mark.clause("P-11.2")
async def test_each_dispatch_on_shared_trace_gets_own_answer(start: Start) -> None:
    await start(echo, count, role="worker")
    orchestrator = await start()
    first = await orchestrator.dispatch(neuron="echo", input={"prompt": "0"})
    others = [
        await orchestrator.dispatch(neuron="echo", input={"prompt": str(n)}, trace_id=first.trace_id)
        for n in range(1, 5)
    ]
    for number, pathway in enumerate([first, *others]):
        assert (await pathway.wait()).payload["output"] == {"response": str(number)}
        pathway.close()
        assert len([signal async for signal in pathway]) == 1


@pytest.mark.clause("P-11.2")
async def test_pathway_ignores_late_answer_to_other_dispatch(start: Start) -> None:
    gate = Gate()
    await start(gate, role="worker")
    orchestrator = await start()
    closed = await orchestrator.dispatch(neuron="gate", input={})
    open = await orchestrator.dispatch(neuron="gate", input={}, trace_id=closed.trace_id)
    closed.close()
    gate.open.set()
    assert (await open.wait()).parent_id == open.task_id


@pytest.mark.clause("P-11.3")
async def test_final_closes_every_pathway_of_its_trace(start: Start) -> None:
    gate = Gate()
    await start(gate, role="worker", grace_s=0)
    orchestrator = await start()
    one = await orchestrator.dispatch(neuron="gate", input={})
    two = await orchestrator.dispatch(neuron="gate", input={}, trace_id=one.trace_id)
    final = Signal.new(SignalType.FINAL, {"result": 42}, trace_id=one.trace_id, parent_id=one.task_id)
    orchestrator._pathways.receive(final)
    assert one.closed
    assert two.closed
    assert (await two.wait()).payload == {"result": 42}


@pytest.mark.clause("P-11.3")
async def test_error_closes_pathway_and_is_returned(start: Start) -> None:
    async def fail(input: dict[str, Any], context: list[Any]) -> Any:
        raise ValueError("private")

    await start(fail, role="worker")
    orchestrator = await start()
    pathway = await orchestrator.dispatch(neuron="fail", input={})
    reply = await pathway.wait()
    assert reply.type is SignalType.ERROR
    assert pathway.closed
    with pytest.raises(PathwayClosedError, match="closed before AGENT_OUTPUT"):
        await pathway.wait_for(SignalType.AGENT_OUTPUT)


@pytest.mark.clause("P-9.8")
async def test_timeout_stops_worker(start: Start) -> None:
    gate = Gate()
    await start(gate, role="worker")
    orchestrator = await start()
    with pytest.raises(TimeoutError, match=r"no answer from Neuron 'gate' within 0\.2 s"):
        await orchestrator.dispatch_and_wait(neuron="gate", input={}, timeout_s=0.2)
    await gate.cancelled.wait()


async def test_pathway_stays_open_after_wait_timeout(start: Start) -> None:
    gate = Gate()
    await start(gate, role="worker")
    orchestrator = await start()
    pathway = await orchestrator.dispatch(neuron="gate", input={})
    with pytest.raises(TimeoutError, match=r"Neuron 'gate' did not answer evt_\w+ within 0\.02 s"):
        await pathway.wait(0.02)
    gate.open.set()
    assert (await pathway.wait(5)).type is SignalType.AGENT_OUTPUT


async def test_timeout_applies_while_publish_is_blocked(
    start: Start, synapse: MemorySynapse, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()
    await start(gate, role="worker")
    orchestrator = await start()
    publish, stuck = synapse.publish, asyncio.Event()

    async def full(subject: str, frame: bytes, **options: Any) -> None:
        if ".TASK." in subject:
            await publish(subject, frame, **options)
            await stuck.wait()
        await publish(subject, frame, **options)

    monkeypatch.setattr(synapse, "publish", full)
    with pytest.raises(TimeoutError, match="no answer from Neuron 'gate'"):
        await orchestrator.dispatch_and_wait(neuron="gate", input={}, timeout_s=0.2)
    await gate.cancelled.wait()


@pytest.mark.clause("P-9.8")
async def test_cancelled_caller_stops_worker(start: Start) -> None:
    gate = Gate()
    await start(gate, role="worker")
    orchestrator = await start()
    caller = asyncio.create_task(orchestrator.dispatch_and_wait(neuron="gate", input={}))
    await gate.entered.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await gate.cancelled.wait()


@pytest.mark.clause("P-9.8")
async def test_caller_cancelled_while_it_sends_stops_worker_and_closes_pathway(
    start: Start, synapse: MemorySynapse, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()
    await start(gate, role="worker")
    orchestrator = await start()
    publish = synapse.publish

    async def publish_and_hang(subject: str, frame: bytes, **options: Any) -> None:
        await publish(subject, frame, **options)
        if ".TASK." in subject:
            await asyncio.Event().wait()

    monkeypatch.setattr(synapse, "publish", publish_and_hang)
    caller = asyncio.create_task(orchestrator.dispatch(neuron="gate", input={}))
    await gate.entered.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await gate.cancelled.wait()
    assert orchestrator._pathways.pathways() == []


async def test_pathway_of_task_that_cannot_be_sent_is_closed_while_its_error_is_kept(
    start: Start, synapse: MemorySynapse, monkeypatch: pytest.MonkeyPatch
) -> None:
    await start(echo, role="worker")
    orchestrator = await start()
    publish = synapse.publish

    async def fail(subject: str, frame: bytes, **options: Any) -> None:
        if ".TASK." in subject:
            raise SynapseError("no bus")
        await publish(subject, frame, **options)

    with monkeypatch.context() as patch:
        patch.setattr(synapse, "publish", fail)
        # The error references the frames that raised it, and so the Pathway.
        with pytest.raises(SynapseError) as kept:
            await orchestrator.dispatch(neuron="echo", input={})
    assert orchestrator._pathways.pathways() == []
    assert str(kept.value) == "no bus"


@pytest.mark.clause("P-9.1")
async def test_stop_of_one_task_keeps_other_tasks_of_trace(start: Start) -> None:
    gate = Gate()
    await start(gate, role="worker")
    orchestrator = await start()
    kept = await orchestrator.dispatch(neuron="gate", input={})
    with pytest.raises(TimeoutError):
        await orchestrator.dispatch_and_wait(neuron="gate", input={}, trace_id=kept.trace_id, timeout_s=0.2)
    await gate.cancelled.wait()
    gate.open.set()
    assert (await kept.wait()).type is SignalType.AGENT_OUTPUT


async def test_wait_raises_when_dendrite_stops(start: Start) -> None:
    gate = Gate()
    await start(gate, role="worker", grace_s=0)
    orchestrator = await start()
    waiting = asyncio.create_task(orchestrator.dispatch_and_wait(neuron="gate", input={}))
    await gate.entered.wait()
    await orchestrator.stop()
    with pytest.raises(PathwayClosedError):
        await waiting


@pytest.mark.clause("P-10.2")
async def test_worker_role_cannot_dispatch_or_stop(start: Start) -> None:
    worker = await start(echo, role="worker")
    for call in (worker.dispatch, worker.dispatch_and_wait, worker.dispatch_task):
        with pytest.raises(RoleError, match="may not emit TASK"):
            await call(neuron="echo", input={})
    stop = Signal.new(SignalType.STOP, {"rollback": False})
    with pytest.raises(RoleError, match="may not emit STOP"):
        await worker.emit(stop)


async def test_dispatch_task_sends_without_pathway(start: Start) -> None:
    gate = Gate()
    await start(gate, role="worker", grace_s=0)
    orchestrator = await start()
    task = await orchestrator.dispatch_task(neuron="gate", input={"n": 1}, meta={"note": "x"})
    await gate.entered.wait()
    assert task.type is SignalType.TASK
    assert task.meta["note"] == "x"
    assert orchestrator._pathways.pathways() == []


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"neuron": "echo", "input": "hi"}, MalformedSignalError),
        ({"neuron": "echo", "input": {}, "trace_id": "t"}, MalformedSignalError),
        ({"neuron": "echo", "input": {}, "parent_id": "p"}, MalformedSignalError),
        ({"neuron": "echo.*", "input": {}}, MalformedSignalError),
        ({"neuron": "echo", "input": {}, "context_ref": 3}, MalformedSignalError),
        ({"neuron": "echo", "input": {"x": object()}}, UnencodableError),
        ({"input": {}}, TypeError),
        ({"input": {}, "capabilities": "echo"}, TypeError),
    ],
)
async def test_invalid_dispatch_raises_and_opens_no_pathway(
    start: Start, options: dict[str, Any], error: type[Exception]
) -> None:
    await start(echo, role="worker")
    orchestrator = await start()
    with pytest.raises(error):
        await orchestrator.dispatch_and_wait(**options)
    assert orchestrator._pathways.pathways() == []


async def test_stopped_dendrite_raises_lifecycle_error(start: Start) -> None:
    orchestrator = await start()
    await orchestrator.stop()
    with pytest.raises(LifecycleError, match="is not running"):
        await orchestrator.dispatch_and_wait(neuron="echo", input={})
    with pytest.raises(LifecycleError, match="make a new one"):
        await orchestrator.start()
