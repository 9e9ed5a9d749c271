"""Subjects, addressing and the receivers of each Signal (section 3)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from cosmo_core import (
    Axon,
    Dendrite,
    Directed,
    FrameTooLargeError,
    Signal,
    SignalType,
    clarify,
    decode,
    encode,
)
from cosmo_core.contracts.delivery import DEFAULT_MAX_FRAME
from cosmo_core.protocol.ids import is_token
from cosmo_core.protocol.subjects import Subjects

Start = Callable[..., Awaitable[Dendrite]]


async def talk(input: dict[str, Any], context: list[Any]) -> AsyncIterator[Any]:
    yield "one"
    yield {"done": True}


async def ask(input: dict[str, Any], context: list[Any]) -> Any:
    return input if "clarifications" in input else clarify("which?")


class Runs:
    """A Neuron that counts how often it runs."""

    __name__ = "runs"

    def __init__(self) -> None:
        self.count = 0

    async def __call__(self, input: dict[str, Any], context: list[Any]) -> Any:
        self.count += 1
        return {}


async def everything_happens(start: Start) -> None:
    """Make two Dendrites send as many types as they send on their own."""
    worker = await start(talk, ask, role="worker")
    orchestrator = await start()
    await orchestrator.dispatch_and_wait(neuron="talk", input={}, scope="terminal")
    question = await orchestrator.dispatch_and_wait(neuron="ask", input={})
    await (await orchestrator.respond_to_clarification(question, "that")).wait()
    async with await orchestrator.dispatch_offer(capabilities=["any"], input={}) as pathway:
        await pathway.wait()
    await orchestrator.emit_plan(question.trace_id, ["think"])
    await orchestrator.stop_trace(question.trace_id)
    await worker.stop()
    await orchestrator.stop()


@pytest.mark.clause("P-3.3")
def test_subjects_address_neurons_inboxes_and_everyone() -> None:
    subjects = Subjects("shop")
    assert subjects.broadcast(SignalType.TASK) == "cosmonapse.shop.TASK"
    assert subjects.neuron(SignalType.TASK, "cook") == "cosmonapse.shop.TASK.neuron.cook"
    assert subjects.inbox(SignalType.ERROR, "me") == "cosmonapse.shop.ERROR.inbox.me"


@pytest.mark.clause("P-3.3", "P-3.11", "P-5.1", "P-7.1", "P-7.6", "P-8.5")
async def test_signals_are_sent_on_a_subject_of_their_type(start: Start, synapse: Any) -> None:
    await everything_happens(start)
    kinds: dict[str, set[str]] = {}
    for sent in synapse.sent:
        root, namespace, type, *address = sent.subject.split(".")
        assert (root, namespace, type) == ("cosmonapse", "test", sent.signal.type.value)
        if address[:1] == ["neuron"]:
            assert address[1] == sent.signal.directed.id
        kinds.setdefault(address[0] if address else "everybody", set()).add(type)
    assert kinds["neuron"] == {"TASK"}
    answers = {"AGENT_OUTPUT", "THOUGHT_DELTA", "FINAL", "CLARIFICATION", "STOPPED", "REGISTER"}
    assert kinds["inbox"] == answers | {"BID", "TASK_AWARDED", "TASK_DECLINED"}
    told = {"PLAN", "STOP", "TASK_OFFER", "CLARIFICATION_ANSWER"}
    assert kinds["everybody"] == told | {"REGISTER", "HEARTBEAT", "DEREGISTER", "DISCOVER"}


@pytest.mark.clause("P-3.5")
async def test_dendrite_receives_every_type_in_its_inbox(start: Start, synapse: Any) -> None:
    inboxes = set()
    for _ in range(2):
        dendrite = await start(talk)
        before = len(synapse.of(SignalType.TASK))
        pathway = await dendrite.dispatch(neuron="talk", input={})
        inbox = synapse.of(SignalType.TASK)[before].signal.meta["reply_to"]
        assert is_token(inbox)
        inboxes.add(inbox)
        for type in (SignalType.CRITIQUE, SignalType.AUDIT, SignalType.PLAN):
            payload = {"target_event_id": "", "issues": [], "verdict": 1, "steps": []}
            payload |= {"kind": "", "domain": "", "outcome": "", "attempt": 1}
            signal = Signal.new(type, payload, trace_id=pathway.trace_id)
            await synapse.publish(f"cosmonapse.test.{type.value}.inbox.{inbox}", encode(signal))
            assert await pathway.wait_for(type, 5) == signal
        pathway.close()
    assert len(inboxes) == 2


@pytest.mark.clause("P-3.7")
async def test_answer_goes_only_to_the_requester(start: Start, synapse: Any) -> None:
    await start(talk, role="worker")
    asker, _ = await start(), await start()
    await asker.dispatch_and_wait(neuron="talk", input={}, scope="terminal")
    [task] = synapse.of(SignalType.TASK)
    answers = synapse.of(SignalType.THOUGHT_DELTA, SignalType.AGENT_OUTPUT, SignalType.FINAL)
    inbox = task.signal.meta["reply_to"]
    assert [sent.subject for sent in answers] == [
        f"cosmonapse.test.{type}.inbox.{inbox}" for type in ("THOUGHT_DELTA", "AGENT_OUTPUT", "FINAL")
    ]


@pytest.mark.clause("P-3.8", "P-3.4")
@pytest.mark.parametrize("reply_to", ["a.b", "*", ">", "other.AGENT_OUTPUT", "", 7, None, ["a"]])
async def test_invalid_reply_to_means_the_broadcast_subject(
    start: Start, synapse: Any, reply_to: Any
) -> None:
    await start(Axon(neuron_id="runs", neuron_fn=Runs()), role="worker")
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    await synapse.subscribe("cosmonapse.test.AGENT_OUTPUT", heard.put_nowait)
    task = Signal.new(SignalType.TASK, {"input": {}}, directed=Directed("runs"), meta={"reply_to": reply_to})
    await synapse.publish("cosmonapse.test.TASK.neuron.runs", encode(task))
    assert decode(await heard.get()).parent_id == task.id


@pytest.mark.clause("P-3.9")
async def test_every_replica_runs_a_task_from_the_broadcast_subject(start: Start, synapse: Any) -> None:
    runs = Runs()
    for _ in range(2):
        await start(runs, role="worker")
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    await synapse.subscribe("cosmonapse.test.AGENT_OUTPUT", heard.put_nowait)
    task = Signal.new(SignalType.TASK, {"input": {}}, directed=Directed("runs"))
    await synapse.publish("cosmonapse.test.TASK", encode(task))
    assert {decode(await heard.get()).parent_id for _ in range(2)} == {task.id}
    assert runs.count == 2


@pytest.mark.clause("P-3.10")
@pytest.mark.parametrize(
    "directed",
    [None, Directed(), Directed(type="neuron"), Directed(capabilities=("any",)), Directed("other", "neuron")],
    ids=["none", "empty", "type", "capabilities", "other"],
)
async def test_only_directed_id_selects_a_host(start: Start, synapse: Any, directed: Directed | None) -> None:
    runs = Runs()
    await start(runs, role="worker")
    orchestrator = await start()
    payload = {"input": {}, "capabilities": ["any"]}
    task = Signal.new(SignalType.TASK, payload, directed=directed)
    await synapse.publish("cosmonapse.test.TASK", encode(task))
    await orchestrator.dispatch_and_wait(neuron="runs", input={})
    assert runs.count == 1


@pytest.mark.clause("P-5.7")
async def test_repeated_frame_may_reach_another_replica(start: Start, synapse: Any) -> None:
    neurons = [Runs(), Runs()]
    workers = [await start(neuron, role="worker") for neuron in neurons]
    orchestrator = await start()
    task = await orchestrator.dispatch_task(neuron="runs", input={})
    for _ in range(3):
        await synapse.publish("cosmonapse.test.TASK.neuron.runs", encode(task))
    await orchestrator.dispatch_and_wait(neuron="runs", input={})
    assert sum(neuron.count for neuron in neurons) == 3
    assert [worker.counters["duplicates"] for worker in workers] == [1, 1]


@pytest.mark.clause("P-1.12")
async def test_synapse_carries_the_largest_frame_and_rejects_a_larger_one(synapse: Any) -> None:
    frames: list[bytes] = []
    await synapse.subscribe("big", frames.append)
    publish = synapse.publish_raw
    assert synapse.guarantees.max_frame >= DEFAULT_MAX_FRAME == 1_044_480
    await publish("big", b"x" * DEFAULT_MAX_FRAME)
    with pytest.raises(FrameTooLargeError):
        await publish("big", b"x" * (synapse.guarantees.max_frame + 1))
    assert [len(frame) for frame in frames] == [DEFAULT_MAX_FRAME]


@pytest.mark.clause("P-1.10")
async def test_malformed_frames_are_counted_and_not_answered(start: Start, synapse: Any) -> None:
    runs = Runs()
    worker = await start(runs, role="worker")
    task = Signal.new(SignalType.TASK, {"input": {}}, directed=Directed("runs"), meta={"reply_to": "me"})
    for wrong in (b'"v":"2"', b'"v":1'):
        await synapse.publish_raw("cosmonapse.test.TASK.neuron.runs", encode(task).replace(b'"v":"1"', wrong))
    await worker.stop()
    assert runs.count == 0
    assert worker.counters["malformed"] == 2
    assert synapse.of(SignalType.ERROR, SignalType.AGENT_OUTPUT) == []
