"""TASKs, stopping, roles and versions on the wire (sections 5 and 9 to 12)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest

from cosmo_core import (
    Axon,
    Dendrite,
    Directed,
    RetryStrategy,
    RoleError,
    Signal,
    SignalType,
    clarify,
    encode,
)
from cosmo_core.protocol.ids import SeenIds
from cosmo_core.protocol.payloads import PAYLOADS
from cosmo_core.protocol.signal import decode
from cosmo_core.protocol.signal_type import AXON_TYPES, ORCHESTRATION_TYPES
from cosmo_testing import FakeClock

Start = Callable[..., Awaitable[Dendrite]]
ANYTHING: dict[str, Any] = {
    **{key: {} for key in ("input", "args")},
    **{key: [] for key in ("steps", "issues", "members", "hits", "capabilities")},
    **dict.fromkeys(("recoverable", "granted", "rollback", "truncated"), False),
    **dict.fromkeys(("cost", "seq", "attempt"), 1),
    "op": "add",
}
"""A value for each key that is not a string."""

MINIMAL = {
    type: {
        field.encode_name: ANYTHING.get(field.encode_name, "x")
        for field in msgspec.structs.fields(payload)
        if field.required
    }
    for type, payload in PAYLOADS.items()
} | {SignalType.TOOL_RESULT: {"tool": "x", "result": 1}}


async def talk(input: dict[str, Any], context: list[Any]) -> AsyncIterator[Any]:
    for word in input.get("words", ()):
        yield word
    yield {"done": True}


async def ask(input: dict[str, Any], context: list[Any]) -> Any:
    return clarify("which?")


async def fail(input: dict[str, Any], context: list[Any]) -> Any:
    raise ValueError("broken")


class Stuck:
    """A Neuron that never answers and signals that it runs."""

    __name__ = "stuck"

    def __init__(self) -> None:
        self.running = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def __call__(self, input: dict[str, Any], context: list[Any]) -> Any:
        self.running.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()


@pytest.mark.clause("P-5.2")
async def test_task_lists_the_wanted_capabilities(start: Start, synapse: Any) -> None:
    await start(Axon(neuron_id="a", neuron_fn=ask, capabilities=["x", "y", "z"]), role="worker")
    orchestrator = await start()
    await orchestrator.dispatch_and_wait(capabilities=["z", "x"], input={})
    [task] = synapse.of(SignalType.TASK)
    assert task.subject == "cosmonapse.test.TASK.neuron.a"
    assert task.signal.payload["capabilities"] == ["z", "x"]
    assert task.signal.directed == Directed("a")


@pytest.mark.clause("P-5.4", "P-5.5", "P-6.1", "P-6.2", "P-8.2")
@pytest.mark.parametrize("directed", [Directed("N"), Directed("N", "neuron", ("any",))])
@pytest.mark.parametrize(
    ("neuron", "types"),
    [
        (talk, ["THOUGHT_DELTA", "THOUGHT_DELTA", "AGENT_OUTPUT", "FINAL"]),
        (ask, ["CLARIFICATION"]),
        (fail, ["ERROR"]),
    ],
)
async def test_answers_have_the_trace_and_parent_of_their_task(
    start: Start, synapse: Any, neuron: Any, types: list[str], directed: Directed
) -> None:
    worker = await start(Axon(neuron_id="N", neuron_fn=neuron), role="worker", grace_s=5)
    payload = {"input": {"words": ["a", "b"]}, "finalize": True}
    task = Signal.new(SignalType.TASK, payload, directed=directed)
    await synapse.publish("cosmonapse.test.TASK.neuron.N", encode(task))
    await worker.stop()
    answers = [sent.signal for sent in synapse.sent if sent.signal.trace_id == task.trace_id][1:]
    assert [answer.type.value for answer in answers] == types
    for answer in answers:
        final = answer.type is SignalType.FINAL
        assert answer.parent_id == (answers[-2].id if final else task.id)
        asks = answer.type is SignalType.CLARIFICATION
        assert answer.directed == (Directed("N") if asks else directed)
    deltas = [answer.payload["seq"] for answer in answers if answer.type is SignalType.THOUGHT_DELTA]
    assert deltas == list(range(len(deltas)))


@pytest.mark.clause("P-5.10")
async def test_timeout_is_sent_as_deadline(start: Start, synapse: Any) -> None:
    dendrite = await start(talk)
    for timeout_s in (60, None):
        await dendrite.dispatch_and_wait(neuron="talk", input={}, timeout_s=timeout_s)
    assert [("deadline_ms" in sent.signal.payload) for sent in synapse.of(SignalType.TASK)] == [True, False]


@pytest.mark.clause("P-5.11")
async def test_waiting_tasks_run_in_the_order_of_arrival(start: Start) -> None:
    ran: list[int] = []

    async def note(input: dict[str, Any], context: list[Any]) -> Any:
        ran.append(input["n"])
        await asyncio.sleep(0)
        return {}

    dendrite = await start(Axon(neuron_id="note", neuron_fn=note, max_concurrency=1, max_backlog=9))
    pathways = [await dendrite.dispatch(neuron="note", input={"n": n}) for n in range(10)]
    for pathway in pathways:
        await pathway.wait()
    assert ran == list(range(10))


@pytest.mark.clause("P-5.6")
async def test_deduplication_window_has_the_documented_length() -> None:
    clock = FakeClock()
    recent = SeenIds(clock.now)
    assert recent.add("first")
    assert [recent.add(f"id{n}") for n in range(10_000)] == [True] * 10_000
    assert not recent.add("first")
    clock = FakeClock()
    recent = SeenIds(clock.now)
    await clock.advance(119)
    assert recent.add("second")
    await clock.advance(119)
    assert not recent.add("second")


@pytest.mark.clause("P-5.16")
async def test_abandoned_attempt_is_stopped_and_has_its_own_id(start: Start, synapse: Any) -> None:
    await start(Stuck(), role="worker")
    orchestrator = await start()
    with pytest.raises(TimeoutError):
        await orchestrator.dispatch_and_wait(
            neuron="stuck", input={}, retry=RetryStrategy(max_attempts=3, timeout_s=0.2, backoff=0)
        )
    await orchestrator.stop()
    tasks = [sent.signal.id for sent in synapse.of(SignalType.TASK)]
    assert len(set(tasks)) == 3
    assert [sent.signal.parent_id for sent in synapse.of(SignalType.STOP)] == tasks


# --- stopping ---------------------------------------------------------------------------------------


@pytest.mark.clause("P-9.1", "P-9.7")
async def test_stop_of_one_task_goes_to_its_neuron_and_the_task_answers(start: Start, synapse: Any) -> None:
    stuck = Stuck()
    worker = await start(stuck, role="worker")
    orchestrator = await start()
    pathway = await orchestrator.dispatch(neuron="stuck", input={})
    await stuck.running.wait()
    stop = Signal.new(
        SignalType.STOP,
        {"rollback": False},
        trace_id=pathway.trace_id,
        parent_id=pathway.task_id,
        directed=Directed("stuck"),
        meta={"reply_to": "me"},
    )
    await orchestrator.emit(stop)
    assert (await pathway.wait()).payload["code"] == "CANCELLED"
    await worker.stop()
    assert [sent.subject for sent in synapse.of(SignalType.STOP)] == ["cosmonapse.test.STOP.neuron.stuck"]
    assert synapse.of(SignalType.STOPPED) == []


@pytest.mark.clause("P-11.1")
@pytest.mark.parametrize("type", SignalType)
async def test_wait_ends_with_a_terminal_type(start: Start, synapse: Any, type: SignalType) -> None:
    await start(Stuck(), role="worker")
    orchestrator = await start()
    pathway = await orchestrator.dispatch(neuron="stuck", input={})
    [task] = [sent.signal for sent in synapse.of(SignalType.TASK)]
    waiting = asyncio.create_task(pathway.wait())
    await asyncio.sleep(0)
    signal = task.reply(type, MINIMAL[type])
    await synapse.publish(f"cosmonapse.test.{type.value}.inbox.{task.meta['reply_to']}", encode(signal))
    assert await pathway.wait_for(type) == signal
    await asyncio.sleep(0)
    ends = {"AGENT_OUTPUT", "CLARIFICATION", "PERMISSION", "ERROR", "FINAL"}
    assert waiting.done() == (type.value in ends)
    waiting.cancel()
    await asyncio.wait([waiting])


@pytest.mark.clause("P-11.5")
async def test_pathway_that_ends_with_its_dendrite_sends_nothing(start: Start, synapse: Any) -> None:
    stuck = Stuck()
    await start(stuck, role="worker")
    orchestrator = await start()
    pathway = await orchestrator.dispatch(neuron="stuck", input={})
    await stuck.running.wait()
    before = len(synapse.sent)
    await orchestrator.stop()
    assert pathway.closed
    assert len(synapse.sent) == before
    assert not stuck.cancelled.is_set()


@pytest.mark.clause("P-11.5", "P-9.8")
@pytest.mark.parametrize("kept", [False, True])
async def test_leaving_a_pathway_stops_its_task_unless_it_is_to_keep_running(
    start: Start, synapse: Any, kept: bool
) -> None:
    stuck = Stuck()
    await start(stuck, role="worker")
    orchestrator = await start()
    async with await orchestrator.dispatch(neuron="stuck", input={}) as pathway:
        await stuck.running.wait()
        if kept:
            pathway.keep_running()
    await orchestrator.stop()
    stops = [sent.signal for sent in synapse.of(SignalType.STOP)]
    assert [stop.parent_id for stop in stops] == ([] if kept else [pathway.task_id])


# --- roles ------------------------------------------------------------------------------------------


@pytest.mark.clause("P-10.1")
@pytest.mark.parametrize("type", SignalType)
async def test_axon_sends_only_answer_types(start: Start, synapse: Any, type: SignalType) -> None:
    worker = await start(talk, role="worker")
    task = Signal.new(SignalType.TASK, {"input": {}}, directed=Directed("talk"))
    before = len(synapse.sent)
    signal = task.reply(type, MINIMAL[type])
    if type in AXON_TYPES:
        sending = worker._replies.emitter(task, type)(signal)
        assert sending is None or await sending is None
    else:
        with pytest.raises(ValueError, match=f"may not produce {type.value}"):
            worker._replies.emitter(task, type)
    assert len(synapse.sent) - before == (type in AXON_TYPES)


@pytest.mark.clause("P-10.2")
@pytest.mark.parametrize("type", SignalType)
async def test_worker_cannot_send_orchestration_types(start: Start, synapse: Any, type: SignalType) -> None:
    worker = await start(role="worker")
    signal = Signal.new(type, MINIMAL[type])
    before = len(synapse.sent)
    if type in ORCHESTRATION_TYPES:
        with pytest.raises(RoleError, match=f"may not emit {type.value};"):
            await worker.emit(signal)
    else:
        await worker.emit(signal)
    assert len(synapse.sent) - before == (type not in ORCHESTRATION_TYPES)


# --- versions ---------------------------------------------------------------------------------------


@pytest.mark.clause("P-12.1")
async def test_sent_signals_have_version_1(start: Start, synapse: Any) -> None:
    dendrite = await start(talk)
    await dendrite.dispatch_and_wait(neuron="talk", input={"words": ["a"]}, scope="terminal")
    assert {sent.signal.v for sent in synapse.sent} == {"1"}
    assert decode(encode(synapse.sent[0].signal)) == synapse.sent[0].signal


@pytest.mark.clause("P-12.4")
async def test_meta_keys_of_the_core_are_documented(start: Start, synapse: Any) -> None:
    clock = FakeClock()
    worker = await start(talk, ask, Stuck(), role="worker", clock=clock)
    orchestrator = await start()
    question = await orchestrator.dispatch_and_wait(neuron="ask", input={}, meta={"tenant": 7})
    async with await orchestrator.dispatch(neuron="stuck", input={}, backpressure=True):
        await clock.advance(1)
    await orchestrator.stop_trace(question.trace_id)
    async with await orchestrator.dispatch_offer(capabilities=["any"], input={}) as pathway:
        await pathway.wait()
    await worker.stop()
    keys = {key for sent in synapse.sent for key in sent.signal.meta}
    presence = {
        "dendrite",
        "role",
        "heartbeat_s",
        "load",
        "pulse_s",
        "pulse_to",
        "tasks",
        "neurons",
        "batches",
    }
    assert keys == presence | {"reply_to", "task", "asked", "tenant"}
