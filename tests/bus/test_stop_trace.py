"""`stop_trace`: all TASKs of a trace, on every Dendrite."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from cosmo_core import Axon, LifecycleError, MalformedSignalError, RoleError, Signal, SignalType
from cosmo_core.dendrite.hosting.stopped_work import MAX_STOPPED, StoppedWork
from cosmo_core.protocol.ids import new_trace_id
from cosmo_core.protocol.signal import address
from tests.bus.common import Start


class Stuck:
    """A Neuron that never answers and counts its cancellations."""

    def __init__(self, name: str) -> None:
        self.__name__ = name
        self.started = asyncio.Semaphore(0)
        self.cancelled = 0

    async def __call__(self, input: dict[str, Any], context: list[Any]) -> Any:
        self.started.release()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


@pytest.mark.clause("P-9.2", "P-9.3", "P-9.6")
async def test_stop_trace_reaches_every_dendrite_and_collects_acknowledgements(start: Start) -> None:
    one, two = Stuck("one"), Stuck("two")
    await start(one, role="worker")
    await start(two, Axon(neuron_id="crowded", neuron_fn=two, max_concurrency=1), role="worker")
    orchestrator = await start()
    trace_id = new_trace_id()
    wanted = ("one", "one", "two", "crowded", "crowded")
    pathways = [await orchestrator.dispatch(neuron=name, input={}, trace_id=trace_id) for name in wanted]
    other = await orchestrator.dispatch(neuron="one", input={})
    async with asyncio.timeout(5):
        for neuron, begun in ((one, 3), (two, 2)):
            for _ in range(begun):
                await neuron.started.acquire()
        acknowledged = await orchestrator.stop_trace(trace_id, reason="enough", timeout_s=5)
        answers = [await pathway.wait() for pathway in pathways]
    assert {stopped.type for stopped in acknowledged} == {SignalType.STOPPED}
    assert sorted(stopped.payload["cancelled"] for stopped in acknowledged) == [2, 3]
    assert {answer.payload["code"] for answer in answers} == {"CANCELLED"}
    assert (one.cancelled, two.cancelled) == (2, 2)
    assert not other.closed
    await orchestrator.stop_trace(other.trace_id)


@pytest.mark.clause("P-9.6", "P-9.9")
async def test_idle_dendrite_acknowledges_stop_at_once(start: Start) -> None:
    await start(Stuck("one"), role="worker")
    orchestrator = await start()
    async with asyncio.timeout(5):
        (stopped,) = await orchestrator.stop_trace(new_trace_id(), timeout_s=60)
    assert stopped.payload == {"cancelled": 0, "rolled_back": 0}


async def test_stop_trace_returns_empty_list_without_hosts(start: Start) -> None:
    orchestrator = await start()
    async with asyncio.timeout(5):
        assert await orchestrator.stop_trace(new_trace_id(), timeout_s=60) == []


async def test_stop_trace_omits_dendrite_that_times_out(start: Start) -> None:
    orchestrator = await start()
    stale = Signal.new(
        SignalType.REGISTER,
        {"role": "neuron", "capabilities": []},
        directed=address("stale"),
        meta={"dendrite": "stopped"},
    )
    await orchestrator.emit(stale)
    assert orchestrator.find_neurons()
    async with asyncio.timeout(5):
        assert await orchestrator.stop_trace(new_trace_id(), timeout_s=0.01) == []
    assert orchestrator._dispatcher._collectors == {}


@pytest.mark.clause("P-9.5")
async def test_task_that_arrives_after_stop_of_trace_does_not_run(start: Start) -> None:
    one = Stuck("one")
    worker = await start(one, role="worker")
    orchestrator = await start()
    late = Signal.new(SignalType.TASK, {"input": {}}, directed=address("one"))
    await orchestrator.stop_trace(late.trace_id)
    hosted = worker._host._runners["one"]
    answering = hosted.accept(late)
    assert answering is not None
    await answering
    assert hosted.load == 0
    answer = orchestrator.dispatch_and_wait(neuron="one", input={}, trace_id=late.trace_id, timeout_s=60)
    reply = asyncio.create_task(answer)
    async with asyncio.timeout(5):
        await one.started.acquire()
    await orchestrator.stop_trace(late.trace_id)
    assert (await reply).payload["code"] == "CANCELLED"


@pytest.mark.clause("P-10.2")
async def test_worker_role_cannot_stop_trace(start: Start) -> None:
    worker = await start(Stuck("one"), role="worker")
    with pytest.raises(RoleError, match="STOP"):
        await worker.stop_trace(new_trace_id())


async def test_stop_trace_rejects_malformed_trace_id(start: Start) -> None:
    orchestrator = await start()
    with pytest.raises(MalformedSignalError, match="trace_id"):
        await orchestrator.stop_trace("trc_")
    await orchestrator.stop()
    with pytest.raises(LifecycleError):
        await orchestrator.stop_trace(new_trace_id())


@pytest.mark.clause("P-9.5")
def test_stopped_traces_are_bounded() -> None:
    stopped = StoppedWork(time.monotonic)
    tasks = [Signal.new(SignalType.TASK, {"input": {}}) for _ in range(MAX_STOPPED + 1)]
    assert not stopped.any
    for task in tasks:
        stopped.add(Signal.new(SignalType.STOP, {"rollback": False}, trace_id=task.trace_id))
    assert bool(stopped.any)
    assert [stopped.covers(task) for task in (tasks[0], tasks[1], tasks[-1])] == [False, True, True]
    after = Signal.new(SignalType.TASK, {"input": {}}, trace_id=tasks[-1].trace_id)
    assert not stopped.covers(after)
