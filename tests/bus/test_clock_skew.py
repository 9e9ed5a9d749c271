"""Deadlines are sent as the time left, so they do not depend on wall clocks."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime, timedelta
from typing import Any

import pytest

from cosmo_core import Axon, Dendrite, HeldFrame, Signal, SignalType, current_task, encode
from cosmo_core.plugins import PluginManager, hookimpl
from cosmo_core.protocol.signal import address
from tests.bus.common import Start

RUNNER = "cosmo_core.dendrite.hosting.neuron_runner"
TASK_SUBJECT = "cosmonapse.test.TASK.neuron.left"
HOUR_S = 3600


async def left(input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
    task = current_task()
    assert task is not None
    return {"left": task.time_left_s()}


@pytest.mark.clause("P-5.9")
@pytest.mark.parametrize("off_s", [-HOUR_S, HOUR_S])
async def test_deadline_holds_when_caller_clock_is_an_hour_off(
    start: Start, connect_faulty: Any, monkeypatch: pytest.MonkeyPatch, off_s: int
) -> None:
    synapse = await connect_faulty()
    await start(left, synapse=synapse, role="worker")
    orchestrator = await start(synapse=synapse)
    true = time.time
    monkeypatch.setattr(time, "time", lambda: true() + off_s)
    answer = await orchestrator.dispatch_and_wait(neuron="left", input={}, timeout_s=2)
    assert 1.9 <= answer.payload["output"]["left"] <= 2
    # The same TASK from a machine with another wall clock.
    [sent] = synapse.sent_of(SignalType.TASK)
    there = datetime.fromisoformat(sent.ts) + timedelta(seconds=off_s)
    monkeypatch.undo()
    here = Signal.new(SignalType.TASK, sent.payload, directed=sent.directed)
    foreign = here.replace(ts=there.isoformat().replace("+00:00", "Z"))
    synapse.handlers[TASK_SUBJECT](encode(foreign))
    answers = await synapse.wait_until_sent(SignalType.AGENT_OUTPUT, 2)
    assert answers[1].parent_id == foreign.id
    assert 1.9 <= answers[1].payload["output"]["left"] <= 2


@pytest.mark.clause("P-5.9")
@pytest.mark.parametrize("off_ms", [-100, 100])
async def test_queued_task_expires_at_deadline(
    start: Start, connect_faulty: Any, monkeypatch: pytest.MonkeyPatch, off_ms: int
) -> None:
    go = asyncio.Event()

    async def wait(input: dict[str, Any], context: list[Any]) -> Any:
        await go.wait()
        return {}

    synapse = await connect_faulty()
    await start(Axon(neuron_id="wait", neuron_fn=wait, max_concurrency=1), synapse=synapse, role="worker")
    orchestrator = await start(synapse=synapse)
    await orchestrator.dispatch_task(neuron="wait", input={})
    pathway = await orchestrator.dispatch(neuron="wait", input={}, deadline_s=60)
    # The first TASK ends ``off_ms`` after the deadline of the second.
    monkeypatch.setattr(f"{RUNNER}.monotonic", lambda: time.monotonic() + 60 + off_ms / 1000)
    go.set()
    answer = await pathway.wait(timeout_s=5)
    assert answer.type is (SignalType.ERROR if off_ms > 0 else SignalType.AGENT_OUTPUT)


@pytest.mark.clause("P-5.10")
@pytest.mark.parametrize(("held_s", "seconds"), [(0.0, 60.0), (12.5, 47.5), (59.9, 0.1)])
async def test_time_held_by_synapse_reduces_time_left(
    start: Start, connect_faulty: Any, held_s: float, seconds: float
) -> None:
    synapse = await connect_faulty()
    await start(left, synapse=synapse, role="worker")
    task = Signal.new(SignalType.TASK, {"input": {}, "deadline_ms": 60_000}, directed=address("left"))
    synapse.handlers[TASK_SUBJECT](HeldFrame(encode(task), held_s))
    outputs = await synapse.wait_until_sent(SignalType.AGENT_OUTPUT)
    assert seconds - 0.1 <= outputs[0].payload["output"]["left"] <= seconds


@pytest.mark.clause("P-5.9")
async def test_task_held_past_deadline_gets_deadline_error(start: Start, connect_faulty: Any) -> None:
    synapse = await connect_faulty()
    await start(left, synapse=synapse, role="worker")
    task = Signal.new(SignalType.TASK, {"input": {}, "deadline_ms": 1000}, directed=address("left"))
    await synapse.handlers[TASK_SUBJECT](HeldFrame(encode(task), 1.5))
    [error] = synapse.sent_of(SignalType.ERROR)
    assert error.payload["code"] == "DEADLINE"


async def test_held_task_without_deadline_is_unchanged(start: Start, connect_faulty: Any) -> None:
    synapse = await connect_faulty()
    await start(left, synapse=synapse, role="worker")
    task = Signal.new(SignalType.TASK, {"input": {}}, directed=address("left"))
    synapse.handlers[TASK_SUBJECT](HeldFrame(encode(task), 1e6))
    outputs = await synapse.wait_until_sent(SignalType.AGENT_OUTPUT)
    assert outputs[0].payload["output"] == {"left": None}


class Slow:
    """A middleware that advances a fake monotonic clock by 20 seconds per Signal."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, direction: str) -> None:
        self.passed = 0.0
        self.direction = direction
        monkeypatch.setattr("cosmo_core.dendrite.transport.link.monotonic", lambda: self.passed)

    @hookimpl
    def cosmo_signal_middleware(self, dendrite: Dendrite, direction: str) -> Any:
        async def middleware(signal: Signal, forward: Any) -> Any:
            self.passed += 20
            return await forward(signal)

        return middleware if direction == self.direction else None


@pytest.mark.clause("P-5.10")
@pytest.mark.parametrize("direction", ["inbound", "outbound"])
async def test_time_spent_in_middleware_reduces_time_left(
    start: Start, connect_faulty: Any, monkeypatch: pytest.MonkeyPatch, direction: str
) -> None:
    plugins = PluginManager()
    plugins.register(Slow(monkeypatch, direction), name="slow")
    synapse = await connect_faulty()
    await start(Axon(neuron_id="left", neuron_fn=left), synapse=synapse, role="worker", plugins=plugins)
    orchestrator = await start(synapse=synapse, **({"plugins": plugins} if direction == "outbound" else {}))
    answer = await orchestrator.dispatch_and_wait(neuron="left", input={}, timeout_s=60)
    assert 39.9 <= answer.payload["output"]["left"] <= 40


@pytest.mark.extension("auctions")
@pytest.mark.clause("P-5.10")
async def test_bidding_time_reduces_deadline_of_award(start: Start, connect_faulty: Any) -> None:
    synapse = await connect_faulty()
    axon = Axon(neuron_id="left", neuron_fn=left, capabilities=["x"])
    await start(axon, synapse=synapse, role="worker")
    orchestrator = await start(synapse=synapse)
    async with asyncio.timeout(5):
        await orchestrator.dispatch_offer(
            capabilities=["x"], input={}, select="lowest_cost", deadline_ms=200, deadline_s=60
        )
    [award] = synapse.sent_of(SignalType.TASK_AWARDED)
    assert 59_000 <= award.payload["deadline_ms"] <= 59_800
