"""What a bus really does is a valid trace."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from cosmo_core import Axon, Bid, Dendrite, NeuronError, RetryStrategy, Signal, SignalType, clarify
from cosmo_core.plugins import PluginManager, SignalEvent, hookimpl
from cosmo_synapse_memory import MemorySynapse
from cosmo_testing import assert_valid_trace
from cosmo_testing.life_cycle import PRESENCE


class Recorder:
    """A hook plugin that keeps what all Dendrites send, by trace."""

    def __init__(self) -> None:
        self.traces: dict[str, list[Signal]] = {}

    @hookimpl
    def cosmo_signal_observers(self) -> Callable[[SignalEvent], None]:
        return self.observe

    def observe(self, event: SignalEvent) -> None:
        if event.kind == "sent" and event.signal is not None and event.signal.type not in PRESENCE:
            self.traces.setdefault(event.signal.trace_id, []).append(event.signal)

    def types(self) -> list[list[str]]:
        return [[signal.type.value for signal in trace] for trace in self.traces.values()]


@pytest.fixture
async def recorder() -> AsyncIterator[Recorder]:
    yield (recorder := Recorder())
    assert recorder.traces
    for trace in recorder.traces.values():
        assert_valid_trace(trace)


@pytest.fixture
async def bus(recorder: Recorder) -> AsyncIterator[Dendrite]:
    """An orchestrator beside two Dendrites that host the Neurons below; all are recorded."""
    plugins = PluginManager()
    plugins.register(recorder, name="recorder")
    async with contextlib.AsyncExitStack() as stack:
        synapse = MemorySynapse()
        await synapse.connect()
        stack.push_async_callback(synapse.close)
        for neurons in ((echo, words, slow), (echo, refuse, ask)):
            worker = Dendrite(synapse=synapse, role="worker", plugins=plugins, grace_s=0)
            for neuron in neurons:
                name = neuron.__name__
                worker.attach_axon(Axon(neuron_id=name, neuron_fn=neuron, capabilities=[name, "any"]))
            await stack.enter_async_context(worker)
        yield await stack.enter_async_context(Dendrite(synapse=synapse, plugins=plugins))


async def echo(input: dict[str, Any], context: list[Any]) -> Any:
    return input


async def words(input: dict[str, Any], context: list[Any]) -> AsyncIterator[str]:
    for word in ("one", "two"):
        yield word


async def slow(input: dict[str, Any], context: list[Any]) -> Any:
    await asyncio.Event().wait()


async def refuse(input: dict[str, Any], context: list[Any]) -> Any:
    raise NeuronError("not today", recoverable=True)


async def ask(input: dict[str, Any], context: list[Any]) -> Any:
    return {"ok": True} if "clarifications" in input else clarify("which?")


@pytest.mark.clause("P-5.5", "P-6.2")
async def test_answers_streams_and_finals_of_a_bus_are_valid(bus: Dendrite, recorder: Recorder) -> None:
    await bus.dispatch_and_wait(neuron="echo", input={})
    await bus.dispatch_and_wait(neuron="words", input={}, scope="terminal")
    await bus.dispatch_and_wait(neuron="ask", input={})
    assert recorder.types() == [
        ["TASK", "AGENT_OUTPUT"],
        ["TASK", "THOUGHT_DELTA", "THOUGHT_DELTA", "AGENT_OUTPUT", "FINAL"],
        ["TASK", "CLARIFICATION"],
    ]


async def test_failures_and_retries_of_a_bus_are_valid(bus: Dendrite, recorder: Recorder) -> None:
    await bus.dispatch_and_wait(neuron="refuse", input={}, retry=RetryStrategy(max_attempts=2, backoff=0))
    with pytest.raises(TimeoutError):
        await bus.dispatch_and_wait(neuron="slow", input={}, timeout_s=0.2)
    await bus.stop()  # The STOP is sent in the background.
    assert recorder.types()[0] == ["TASK", "ERROR", "TASK", "ERROR"]
    assert recorder.types()[1][:2] == ["TASK", "STOP"]


async def test_a_stopped_trace_of_a_bus_is_valid(bus: Dendrite, recorder: Recorder) -> None:
    pathway = await bus.dispatch(neuron="slow", input={})
    other = await bus.dispatch(neuron="echo", input={}, trace_id=pathway.trace_id, parent_id=pathway.task_id)
    await other.wait()
    stopped = await bus.stop_trace(pathway.trace_id, timeout_s=5)
    assert len(stopped) == 2
    assert (await pathway.wait()).payload["code"] == "CANCELLED"
    (types,) = recorder.types()
    assert sorted(types) == ["AGENT_OUTPUT", "ERROR", "STOP", "STOPPED", "STOPPED", "TASK", "TASK"]


async def test_clarification_on_a_bus_is_valid(bus: Dendrite, recorder: Recorder) -> None:
    question = await bus.dispatch_and_wait(neuron="ask", input={}, finalize=True)
    answered = await bus.respond_to_clarification(question, "that")
    await answered.wait_for(SignalType.FINAL)
    assert recorder.types() == [
        ["TASK", "CLARIFICATION", "CLARIFICATION_ANSWER", "TASK", "AGENT_OUTPUT", "FINAL"]
    ]


@pytest.mark.clause("P-7.10")
async def test_offer_on_a_bus_is_valid_despite_failures(bus: Dendrite, recorder: Recorder) -> None:
    def refusing_first(bids: list[Bid]) -> Bid:
        return min(bids, key=lambda bid: (bid.neuron != "refuse", bid.neuron != "echo"))

    await bus.wait_until_ready(neuron="refuse")
    pathway = await bus.dispatch_offer(
        capabilities=["any"], input={}, deadline_ms=300, select=refusing_first, finalize=True
    )
    assert (await pathway.wait()).type is SignalType.AGENT_OUTPUT
    await bus.stop()  # Declining goes on in the background.
    (types,) = recorder.types()
    assert types[:7] == ["TASK_OFFER", *["BID"] * 6]
    assert types[7:11] == ["TASK_AWARDED", "ERROR", "TASK_AWARDED", "AGENT_OUTPUT"]
    assert sorted(types[11:]) == ["FINAL", *["TASK_DECLINED"] * 4]
