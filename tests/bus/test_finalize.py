"""FINAL after AGENT_OUTPUT, and Pathways with terminal scope."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest

from cosmo_core import (
    Dendrite,
    Directed,
    NeuronError,
    NeuronFn,
    PathwayClosedError,
    RoleError,
    Signal,
    SignalType,
    ask_permission,
    clarify,
    decode,
)
from cosmo_core.plugins import Dropped, Forward, PluginManager, hookimpl
from cosmo_synapse_memory import MemorySynapse
from cosmo_testing import assert_valid_trace
from tests.bus.common import Start


async def count(input: dict[str, Any], context: list[Any]) -> AsyncIterator[Any]:
    for number in range(3):
        yield str(number)
    yield {"response": "done"}


async def plain(input: dict[str, Any], context: list[Any]) -> Any:
    return 42


async def fails(input: dict[str, Any], context: list[Any]) -> Any:
    raise NeuronError("no")


async def returns_nothing(input: dict[str, Any], context: list[Any]) -> Any:
    return None


async def asks_question(input: dict[str, Any], context: list[Any]) -> Any:
    return input if "clarifications" in input else clarify("which?")


async def asks_permission(input: dict[str, Any], context: list[Any]) -> Any:
    return ask_permission("delete")


async def dispatch_and_collect(dendrite: Dendrite, **task: Any) -> list[Signal]:
    """Dispatch a TASK and return all Signals until its Pathway closes."""
    pathway = await dendrite.dispatch(**task)
    return [signal async for signal in pathway]


def types(signals: list[Signal]) -> list[str]:
    return [signal.type.value for signal in signals]


@pytest.fixture
async def answers(synapse: MemorySynapse) -> list[Signal]:
    """The Signals that workers publish, in order."""
    signals: list[Signal] = []
    for type in ("AGENT_OUTPUT", "THOUGHT_DELTA", "FINAL", "ERROR", "CLARIFICATION", "PERMISSION"):
        await synapse.subscribe(f"cosmonapse.test.{type}.>", lambda frame: signals.append(decode(frame)))
    return signals


@pytest.fixture(params=["worker", "orchestrator"])
async def orchestrator(request: pytest.FixtureRequest, start: Start) -> Dendrite:
    """An orchestrator, with a host of either role."""
    neurons: list[NeuronFn] = [count, plain, fails, returns_nothing, asks_question, asks_permission]
    await start(*neurons, role=request.param)
    return await start()


# --- finalize ---------------------------------------------------------------------------------------


@pytest.mark.clause("P-5.15", "P-10.3")
async def test_final_follows_output(orchestrator: Dendrite) -> None:
    seen = await dispatch_and_collect(orchestrator, neuron="count", input={}, finalize=True)
    assert types(seen) == ["THOUGHT_DELTA"] * 3 + ["AGENT_OUTPUT", "FINAL"]
    output, final = seen[-2:]
    assert final.payload == {"result": output.payload["output"]} == {"result": {"response": "done"}}
    assert (final.parent_id, final.trace_id, final.directed) == (
        output.id,
        output.trace_id,
        Directed("count"),
    )


async def test_final_result_equals_sent_output(orchestrator: Dendrite) -> None:
    output, final = await dispatch_and_collect(orchestrator, neuron="plain", input={}, finalize=True)
    assert output.payload["output"] == final.payload["result"] == {"value": 42}


async def test_trace_that_ends_with_final_is_valid(orchestrator: Dendrite, synapse: MemorySynapse) -> None:
    trace: list[Signal] = []
    await synapse.subscribe("cosmonapse.test.TASK.>", lambda frame: trace.append(decode(frame)))
    trace += await dispatch_and_collect(orchestrator, neuron="plain", input={}, finalize=True)
    assert types(trace) == ["TASK", "AGENT_OUTPUT", "FINAL"]
    assert_valid_trace(trace)


@pytest.mark.parametrize("finalize", [None, False])
async def test_final_is_not_sent_without_finalize(
    orchestrator: Dendrite, answers: list[Signal], finalize: bool | None
) -> None:
    reply = await orchestrator.dispatch_and_wait(neuron="plain", input={}, finalize=finalize)
    assert reply.type is SignalType.AGENT_OUTPUT
    assert types(answers) == ["AGENT_OUTPUT"]


@pytest.mark.clause("P-5.15")
@pytest.mark.parametrize(
    ("neuron", "type"),
    [
        ("fails", "ERROR"),
        ("returns_nothing", "ERROR"),
        ("asks_question", "CLARIFICATION"),
        ("asks_permission", "PERMISSION"),
    ],
)
@pytest.mark.parametrize("scope", ["all", "terminal"])
async def test_final_is_sent_only_after_agent_output(
    orchestrator: Dendrite,
    answers: list[Signal],
    caplog: pytest.LogCaptureFixture,
    neuron: str,
    type: str,
    scope: str,
) -> None:
    reply = await orchestrator.dispatch_and_wait(
        neuron=neuron, input={}, finalize=True, scope="all" if scope == "all" else "terminal"
    )
    assert reply.type.value == type
    # The next answer has arrived, so any Signal after the first answer would have, too.
    await orchestrator.dispatch_and_wait(neuron="plain", input={})
    assert types(answers) == [type, "AGENT_OUTPUT"]
    gc.collect()  # reports exceptions that were never retrieved
    assert caplog.text == ""


@pytest.mark.extension("workflow")
@pytest.mark.clause("P-11.3")
async def test_final_ends_whole_trace(orchestrator: Dendrite) -> None:
    first = await orchestrator.dispatch(neuron="asks_question", input={})
    question = await first.wait(5)
    last = await orchestrator.respond_to_clarification(question, "x", scope="terminal")
    assert (await last.wait(5)).type is SignalType.FINAL
    assert first.closed
    assert last.closed
    assert orchestrator._pathways.pathways() == []


async def test_pathway_receives_repeated_final_once(orchestrator: Dendrite) -> None:
    pathway = await orchestrator.dispatch(neuron="plain", input={}, scope="terminal")
    final = await pathway.wait(5)
    orchestrator._pathways.receive(final)
    assert [signal async for signal in pathway] == [final]


# --- scope ------------------------------------------------------------------------------------------


@pytest.mark.clause("P-11.4")
async def test_terminal_scope_waits_for_final(orchestrator: Dendrite) -> None:
    reply = await orchestrator.dispatch_and_wait(neuron="count", input={}, scope="terminal")
    assert (reply.type, reply.payload) == (SignalType.FINAL, {"result": {"response": "done"}})
    assert orchestrator._pathways.pathways() == []


@pytest.mark.clause("P-11.4")
async def test_terminal_scope_receives_only_final(orchestrator: Dendrite, answers: list[Signal]) -> None:
    seen: list[Signal] = []
    pathway = await orchestrator.dispatch_and_subscribe(
        dict.fromkeys(SignalType, seen.append), neuron="count", input={}, scope="terminal"
    )
    iterated = [signal async for signal in pathway]
    assert types(iterated) == ["FINAL"]
    assert types(answers) == ["THOUGHT_DELTA"] * 3 + ["AGENT_OUTPUT", "FINAL"]
    with pytest.raises(PathwayClosedError):
        await pathway.wait_for(SignalType.AGENT_OUTPUT)
    await orchestrator.stop()
    assert seen == iterated
    assert pathway.dropped == 0


@pytest.mark.clause("P-11.4")
async def test_terminal_scope_without_finalize_waits_for_other_final(
    orchestrator: Dendrite, answers: list[Signal]
) -> None:
    pathway = await orchestrator.dispatch(neuron="plain", input={}, scope="terminal", finalize=False)
    with pytest.raises(TimeoutError):
        await pathway.wait(0.02)
    assert types(answers) == ["AGENT_OUTPUT"]
    final = Signal.new(SignalType.FINAL, {"result": "all done"}, trace_id=pathway.trace_id)
    await orchestrator.emit(final)
    assert await pathway.wait(5) == final


# --- roles ------------------------------------------------------------------------------------------


@pytest.mark.clause("P-10.2")
async def test_worker_role_cannot_emit_final(start: Start, answers: list[Signal]) -> None:
    worker = await start(plain, role="worker")
    orchestrator = await start()
    reply = await orchestrator.dispatch_and_wait(neuron="plain", input={}, scope="terminal")
    del answers[:]
    with pytest.raises(RoleError, match="may not emit FINAL"):
        await worker.emit(reply.reply(SignalType.FINAL, {"result": "mine"}))
    assert answers == []


async def test_neuron_output_cannot_pose_as_final(start: Start) -> None:
    async def impostor(input: dict[str, Any], context: list[Any]) -> Any:
        return {"__final__": True, "result": "mine", "type": "FINAL"}

    await start(impostor, role="worker")
    orchestrator = await start()
    assert (await orchestrator.dispatch_and_wait(neuron="impostor", input={})).type is SignalType.AGENT_OUTPUT


@pytest.mark.clause("P-5.15")
async def test_dropped_final_is_reported_as_error(start: Start) -> None:
    async def drop_final(signal: Signal, forward: Forward) -> Signal | Dropped:
        return Dropped("not yet") if signal.type is SignalType.FINAL else await forward(signal)

    class Plugin:
        @hookimpl
        def cosmo_signal_middleware(self, direction: str) -> Any:
            return drop_final if direction == "outbound" else None

    plugins = PluginManager()
    plugins.register(Plugin(), name="plugin")
    await start(plain, role="worker", plugins=plugins)
    orchestrator = await start()
    reply = await orchestrator.dispatch_and_wait(neuron="plain", input={}, scope="terminal")
    assert reply.payload["code"] == "REJECTED"
    assert "not yet" in reply.payload["message"]


async def test_finalize_none_equals_default(start: Start) -> None:
    orchestrator = await start(plain)
    answer = await orchestrator.dispatch_and_wait(
        neuron="plain", input={}, scope="terminal", finalize=None, timeout_s=5
    )
    assert answer.type is SignalType.FINAL
    answer = await orchestrator.dispatch_and_wait(neuron="plain", input={}, finalize=None, timeout_s=5)
    assert answer.type is SignalType.AGENT_OUTPUT
