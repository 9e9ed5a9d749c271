"""Emitters: one method per workflow Signal type."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from cosmo_core import (
    Dendrite,
    Directed,
    LifecycleError,
    MalformedSignalError,
    RoleError,
    Signal,
    SignalType,
    decode,
)
from cosmo_core.protocol.ids import new_trace_id
from cosmo_core.protocol.signal_type import ORCHESTRATION_TYPES
from cosmo_synapse_memory import MemorySynapse
from tests.bus.common import Start

Emit = Callable[[Dendrite, str], Awaitable[Signal]]

EVENT = "evt_01J00000000000000000000000"

EMITTED: list[tuple[SignalType, Emit, dict[str, Any]]] = [
    (SignalType.FINAL, lambda d, t: d.emit_final(t, {"n": 1}), {"result": {"n": 1}}),
    (SignalType.FINAL, lambda d, t: d.emit_final(t, None, cost=0), {"result": None, "cost": 0}),
    (
        SignalType.ERROR,
        lambda d, t: d.emit_error(t, "BUDGET", "spent"),
        {"code": "BUDGET", "message": "spent", "recoverable": False},
    ),
    (SignalType.PLAN, lambda d, t: d.emit_plan(t, ("look", "write")), {"steps": ["look", "write"]}),
    (
        SignalType.PLAN,
        lambda d, t: d.emit_plan(t, [], rationale="nothing to do"),
        {"steps": [], "rationale": "nothing to do"},
    ),
    (
        SignalType.TOOL_CALL,
        lambda d, t: d.emit_tool_call(t, "search", {"q": "x"}, call_id="1"),
        {"tool": "search", "args": {"q": "x"}, "call_id": "1"},
    ),
    (
        SignalType.TOOL_RESULT,
        lambda d, t: d.emit_tool_result(t, "search", [1], call_id="1"),
        {"tool": "search", "result": [1], "call_id": "1"},
    ),
    (
        SignalType.TOOL_RESULT,
        lambda d, t: d.emit_tool_result(t, "delete"),
        {"tool": "delete", "result": None},
    ),
    (
        SignalType.TOOL_RESULT,
        lambda d, t: d.emit_tool_result(t, "search", error="offline"),
        {"tool": "search", "error": "offline"},
    ),
    (SignalType.MEMORY_APPEND, lambda d, t: d.emit_memory_append(t, "k", None), {"key": "k", "value": None}),
    (
        SignalType.CRITIQUE,
        lambda d, t: d.emit_critique(t, EVENT, ["too long"], "revise"),
        {"target_event_id": EVENT, "issues": ["too long"], "verdict": "revise"},
    ),
    (
        SignalType.ESCALATION,
        lambda d, t: d.emit_escalation(t, "unsure", target="human", context={"n": 1}),
        {"reason": "unsure", "target": "human", "context": {"n": 1}},
    ),
    (
        SignalType.CONSENSUS,
        lambda d, t: d.emit_consensus(t, ("a", "b"), "yes", votes={"a": 1}),
        {"members": ["a", "b"], "verdict": "yes", "votes": {"a": 1}},
    ),
    (
        SignalType.CONTEXT_SYNC,
        lambda d, t: d.emit_context_sync(t, {"goal": "x"}, version=3),
        {"snapshot": {"goal": "x"}, "version": 3},
    ),
    (
        SignalType.AUDIT,
        lambda d, t: d.emit_audit(t, "policy", "tools", "deny", details={"policy_id": "p1", "attempt": 9}),
        {"policy_id": "p1", "kind": "policy", "domain": "tools", "outcome": "deny", "attempt": 1},
    ),
]
CASES = pytest.mark.parametrize(
    ("type", "emit", "payload"), EMITTED, ids=[f"{type.value}-{n}" for n, (type, *_) in enumerate(EMITTED)]
)


@pytest.mark.clause("P-3.11")
@CASES
async def test_emitter_broadcasts_one_signal(
    start: Start, synapse: MemorySynapse, type: SignalType, emit: Emit, payload: dict[str, Any]
) -> None:
    frames: list[bytes] = []
    await synapse.subscribe(f"cosmonapse.test.{type.value}", frames.append)
    trace_id = new_trace_id()
    signal = await emit(await start(), trace_id)
    assert [decode(frame) for frame in frames] == [signal]
    assert (signal.type, signal.trace_id, signal.parent_id) == (type, trace_id, None)
    assert signal.payload == payload


@pytest.mark.clause("P-10.2")
@CASES
async def test_worker_role_cannot_emit_orchestration_types(
    start: Start, synapse: MemorySynapse, type: SignalType, emit: Emit, payload: dict[str, Any]
) -> None:
    worker = await start(role="worker")
    frames: list[bytes] = []
    await synapse.subscribe("cosmonapse.test.>", frames.append)
    if type in ORCHESTRATION_TYPES:
        with pytest.raises(RoleError, match=f"may not emit {type.value}"):
            await emit(worker, new_trace_id())
    else:
        await emit(worker, new_trace_id())
    assert len(frames) == (type not in ORCHESTRATION_TYPES)


async def test_emitter_sets_parent_address_and_meta(start: Start) -> None:
    cause = Signal.new(SignalType.PLAN, {"steps": []})
    signal = await (await start()).emit_tool_call(
        cause.trace_id, "search", {}, parent_id=cause.id, directed=Directed("browser"), meta={"hop": 1}
    )
    assert (signal.parent_id, signal.directed, signal.meta) == (cause.id, Directed("browser"), {"hop": 1})


@pytest.mark.clause("P-11.2")
async def test_pathway_of_emitter_sees_emitted_signal_once(start: Start) -> None:
    async def echo(input: dict[str, Any], context: list[Any]) -> Any:
        return input

    both = await start(echo)
    pathway = await both.dispatch(neuron="echo", input={})
    answer = await pathway.wait()
    await both.emit_plan(pathway.trace_id, ["stop here"])
    await both.emit_final(pathway.trace_id, "done", parent_id=answer.id)
    assert pathway.closed
    assert [signal.type.value async for signal in pathway.signals(follow=True)] == [
        "AGENT_OUTPUT",
        "PLAN",
        "FINAL",
    ]


async def test_emitted_error_answers_its_parent_task(start: Start) -> None:
    go = asyncio.Event()

    async def stuck(input: dict[str, Any], context: list[Any]) -> Any:
        await go.wait()
        return input

    both = await start(stuck)
    one = await both.dispatch(neuron="stuck", input={})
    two = await both.dispatch(neuron="stuck", input={}, trace_id=one.trace_id)
    await both.emit_error(one.trace_id, "BUDGET", "spent", recoverable=True, parent_id=two.task_id)
    assert (await two.wait()).payload == {"code": "BUDGET", "message": "spent", "recoverable": True}
    go.set()
    assert (await one.wait()).type is SignalType.AGENT_OUTPUT


@pytest.mark.clause("P-2.4")
async def test_emitter_rejects_invalid_arguments_and_sends_nothing(
    start: Start, synapse: MemorySynapse
) -> None:
    dendrite = await start()
    frames: list[bytes] = []
    await synapse.subscribe("cosmonapse.test.>", frames.append)
    with pytest.raises(MalformedSignalError, match="trace_id"):
        await dendrite.emit_plan("my trace", [])
    with pytest.raises(MalformedSignalError, match=r"payload\.code"):
        await dendrite.emit_error(new_trace_id(), 7, "seven")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a result or an error, not both"):
        await dendrite.emit_tool_result(new_trace_id(), "search", 1, error="offline")
    await dendrite.stop()
    with pytest.raises(LifecycleError):
        await dendrite.emit_plan(new_trace_id(), [])
    assert frames == []


async def test_pathway_of_the_sender_gets_what_others_get(start: Start) -> None:
    async def echo(input: dict[str, Any], context: list[Any]) -> Any:
        await asyncio.sleep(0)
        return input

    dendrite = await start(echo)
    pathway = await dendrite.dispatch(neuron="echo", input={})
    payload: dict[str, Any] = {"steps": ["look"], "pair": (1, 2), "number": float("nan"), "later": [1]}
    await dendrite.emit(Signal.new(SignalType.PLAN, payload, trace_id=pathway.trace_id))
    payload["later"].append(2)
    async with asyncio.timeout(5):
        [plan] = [signal async for signal in pathway if signal.type is SignalType.PLAN]
    assert plan.payload == {"steps": ["look"], "pair": [1, 2], "number": None, "later": [1]}
