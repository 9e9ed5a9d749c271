"""Acknowledgement: on a Synapse with takeover, a host acknowledges a TASK after its answer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cosmo_core import Axon, Dendrite, Signal, SignalType, encode
from cosmo_core.plugins import PluginManager, hookimpl
from cosmo_core.protocol.signal import address
from tests.bus.common import Start, run_loop_turns

TASK_SUBJECT = "cosmonapse.test.TASK.neuron.gate"


class Gate:
    """A Neuron that answers once `open` is set."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.ran: list[int] = []

    async def __call__(self, input: dict[str, Any], context: list[Any]) -> Any:
        self.ran.append(input["n"])
        await self.open.wait()
        return {}


@pytest.fixture
def gate() -> Gate:
    return Gate()


def axon(gate: Gate, **limits: int) -> Axon:
    return Axon(neuron_id="gate", neuron_fn=gate, **limits)  # type: ignore[arg-type]


def task(n: int = 0, **payload: Any) -> Signal:
    return Signal.new(SignalType.TASK, {"input": {"n": n}, **payload}, directed=address("gate"))


def deliver(synapse: Any, task: Signal) -> asyncio.Task[None] | None:
    """Deliver a TASK as a Synapse does; return the task that ends with the acknowledgement."""
    work = synapse.handlers[TASK_SUBJECT](encode(task))
    return None if work is None else asyncio.ensure_future(work)


async def test_handler_returns_no_awaitable_without_takeover(
    start: Start, connect_faulty: Any, gate: Gate
) -> None:
    synapse = await connect_faulty()
    await start(axon(gate), synapse=synapse, role="worker", grace_s=0)
    assert deliver(synapse, task()) is None


@pytest.mark.clause("P-5.17")
async def test_task_is_acknowledged_after_its_answer(start: Start, connect_faulty: Any, gate: Gate) -> None:
    synapse = await connect_faulty(takeover_s=4.0)
    await start(axon(gate, max_concurrency=1), synapse=synapse, role="worker")
    runs, waits = deliver(synapse, task(1)), deliver(synapse, task(2))
    assert runs is not None
    assert waits is not None
    await run_loop_turns(20)
    assert (gate.ran, runs.done(), waits.done()) == ([1], False, False)
    assert synapse.sent_of(SignalType.AGENT_OUTPUT) == []
    gate.open.set()
    async with asyncio.timeout(5):
        await asyncio.gather(runs, waits)
    assert len(synapse.sent_of(SignalType.AGENT_OUTPUT)) == 2


@pytest.mark.clause("P-5.17")
async def test_duplicate_of_running_task_is_acknowledged_with_first(
    start: Start, connect_faulty: Any, gate: Gate
) -> None:
    synapse = await connect_faulty(takeover_s=4.0)
    await start(axon(gate), synapse=synapse, role="worker")
    duplicate = task()
    first, second = deliver(synapse, duplicate), deliver(synapse, duplicate)
    assert first is not None
    assert second is not None
    # The Synapse may cancel one of the two deliveries.
    first.cancel()
    await run_loop_turns(20)
    assert first.cancelled()
    assert not second.done()
    gate.open.set()
    async with asyncio.timeout(5):
        await second
    assert gate.ran == [0]
    assert len(synapse.sent_of(SignalType.AGENT_OUTPUT)) == 1


async def test_handler_returns_separate_future_per_delivery(
    start: Start, connect_faulty: Any, gate: Gate
) -> None:
    synapse = await connect_faulty(takeover_s=4.0)
    await start(axon(gate), synapse=synapse, role="worker")
    works = [synapse.handlers[TASK_SUBJECT](encode(task)) for task in [task()] * 2]
    assert all(isinstance(work, asyncio.Future) and not isinstance(work, asyncio.Task) for work in works)
    assert works[0] is not works[1]
    gate.open.set()
    async with asyncio.timeout(5):
        await asyncio.gather(*works)


async def test_cancelled_deliveries_do_not_affect_answer(
    start: Start, connect_faulty: Any, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    synapse = await connect_faulty(takeover_s=4.0)
    worker = await start(axon(gate), synapse=synapse, role="worker")
    duplicate = task()
    for work in (deliver(synapse, duplicate), deliver(synapse, duplicate)):
        assert work is not None
        work.cancel()
    gate.open.set()
    await synapse.wait_until_sent(SignalType.AGENT_OUTPUT)
    await worker.stop()
    assert caplog.records == []


@pytest.mark.clause("P-5.17")
@pytest.mark.parametrize("stops", ["task", "trace"])
async def test_stopped_task_is_acknowledged(
    start: Start, connect_faulty: Any, gate: Gate, stops: str
) -> None:
    synapse = await connect_faulty(takeover_s=4.0)
    await start(axon(gate, max_concurrency=1), synapse=synapse, role="worker")
    orchestrator = await start(synapse=synapse)
    tasks = [task(1), task(2)]
    works = [deliver(synapse, each) for each in tasks]
    await run_loop_turns(20)
    for each in tasks:
        if stops == "task":
            await orchestrator.emit(each.reply(SignalType.STOP, {"rollback": False}))
        else:
            await orchestrator.stop_trace(each.trace_id, timeout_s=0)
    async with asyncio.timeout(5):
        await asyncio.gather(*(work for work in works if work is not None))
    assert [error.payload["code"] for error in synapse.sent_of(SignalType.ERROR)] == ["CANCELLED"] * 2


@pytest.mark.clause("P-5.17")
async def test_rejected_task_is_acknowledged(start: Start, connect_faulty: Any, gate: Gate) -> None:
    synapse = await connect_faulty(takeover_s=4.0)
    await start(axon(gate, max_concurrency=1, max_backlog=0), synapse=synapse, role="worker", grace_s=0)
    running = deliver(synapse, task(1))
    crowded, late = deliver(synapse, task(2)), deliver(synapse, task(3, deadline_ms=0))
    assert crowded is not None
    assert late is not None
    async with asyncio.timeout(5):
        await asyncio.gather(crowded, late)
    codes = [error.payload["code"] for error in synapse.sent_of(SignalType.ERROR)]
    assert codes == ["OVERLOADED", "DEADLINE"]
    assert running is not None
    assert not running.done()
    running.cancel()


@pytest.mark.clause("P-5.17")
async def test_draining_host_acknowledges_running_task_after_answer(
    start: Start, connect_faulty: Any, gate: Gate
) -> None:
    synapse = await connect_faulty(takeover_s=4.0)
    worker = await start(axon(gate), synapse=synapse, role="worker")
    work = deliver(synapse, task())
    assert work is not None
    await run_loop_turns(20)
    stopping = asyncio.create_task(worker.stop())
    await run_loop_turns(20)
    assert not work.done()
    gate.open.set()
    async with asyncio.timeout(5):
        await asyncio.gather(stopping, work)
    assert len(synapse.sent_of(SignalType.AGENT_OUTPUT)) == 1


class Passing:
    """A middleware that forwards every Signal."""

    @hookimpl
    def cosmo_signal_middleware(self, dendrite: Dendrite, direction: str) -> Any:
        async def middleware(signal: Signal, forward: Any) -> Any:
            return await forward(signal)

        return middleware


@pytest.mark.clause("P-5.17")
async def test_tasks_run_concurrently_behind_middleware_until_acknowledged(
    start: Start, connect_faulty: Any, gate: Gate
) -> None:
    plugins = PluginManager()
    plugins.register(Passing(), name="passing")
    synapse = await connect_faulty(takeover_s=4.0)
    await start(axon(gate), synapse=synapse, role="worker", plugins=plugins)
    works = [deliver(synapse, task(n)) for n in range(3)]
    await run_loop_turns(20)
    assert gate.ran == [0, 1, 2]
    assert not any(work.done() for work in works if work is not None)
    gate.open.set()
    async with asyncio.timeout(5):
        await asyncio.gather(*(work for work in works if work is not None))
