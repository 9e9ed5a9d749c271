"""STOP of one TASK and of a trace, and the stop of a Dendrite."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import Any

import pytest

from cosmo_core import (
    Axon,
    Directed,
    NoRouteError,
    Signal,
    SignalType,
)
from cosmo_synapse_memory import MemorySynapse
from tests.bus.common import Start, echo
from tests.counting import work_of


@pytest.mark.clause("P-9.1")
async def test_queued_task_can_be_stopped(start: Start) -> None:
    release = asyncio.Event()
    ran: list[int] = []

    async def slow(input: dict[str, Any], context: list[Any]) -> Any:
        ran.append(input["n"])
        await release.wait()
        return {}

    await start(Axon(neuron_id="slow", neuron_fn=slow, max_concurrency=1), role="worker")
    orchestrator = await start()
    first = await orchestrator.dispatch(neuron="slow", input={"n": 0})
    with pytest.raises(TimeoutError):
        await orchestrator.dispatch_and_wait(neuron="slow", input={"n": 1}, timeout_s=0.2)
    last = await orchestrator.dispatch(neuron="slow", input={"n": 2})
    release.set()
    await first.wait()
    await last.wait()
    assert ran == [0, 2]


@pytest.mark.clause("P-9.4")
async def test_task_that_arrives_after_its_stop_does_not_run(start: Start, synapse: MemorySynapse) -> None:
    ran: list[int] = []

    async def note(input: dict[str, Any], context: list[Any]) -> Any:
        ran.append(input["n"])
        return {}

    await start(note, role="worker")
    orchestrator = await start()
    late = Signal.new(SignalType.TASK, {"input": {"n": 1}}, directed=Directed("note"))
    await orchestrator.emit(late.reply(SignalType.STOP, {"rollback": False}))
    await orchestrator.emit(late)
    await orchestrator.dispatch_and_wait(neuron="note", input={"n": 2})
    assert ran == [2]


async def test_many_cancelled_callers_leave_no_running_task(start: Start) -> None:
    async def stuck(input: dict[str, Any], context: list[Any]) -> Any:
        await asyncio.Event().wait()

    worker = await start(Axon(neuron_id="stuck", neuron_fn=stuck, max_concurrency=100), role="worker")
    orchestrator = await start()
    callers = [
        asyncio.create_task(orchestrator.dispatch_and_wait(neuron="stuck", input={})) for _ in range(5000)
    ]
    await asyncio.wait(callers, return_when=asyncio.FIRST_COMPLETED)
    for caller in callers:
        caller.cancel()
    await asyncio.gather(*callers, return_exceptions=True)
    await orchestrator.stop()
    while running := worker._host._running(list(worker._host._runners.values())):
        await asyncio.wait(running)
    assert orchestrator._pathways._open.keys() <= {""}
    assert not orchestrator._pathways.deadlines.open


@pytest.mark.clause("P-9.2", "P-9.3")
async def test_stop_signal_stops_whole_trace(start: Start) -> None:
    async def stuck(input: dict[str, Any], context: list[Any]) -> Any:
        await asyncio.Event().wait()

    await start(stuck, role="worker")
    orchestrator = await start()
    one = await orchestrator.dispatch(neuron="stuck", input={})
    two = await orchestrator.dispatch(neuron="stuck", input={}, trace_id=one.trace_id)
    await orchestrator.emit(Signal.new(SignalType.STOP, {"rollback": False}, trace_id=one.trace_id))
    for pathway in (one, two):
        assert (await pathway.wait()).payload["code"] == "CANCELLED"


@pytest.mark.clause("P-4.5", "P-9.10")
async def test_stop_drains_running_tasks(start: Start, synapse: MemorySynapse) -> None:
    entered, release = asyncio.Event(), asyncio.Event()

    async def slow(input: dict[str, Any], context: list[Any]) -> Any:
        entered.set()
        await release.wait()
        return {"done": True}

    worker = await start(slow, role="worker")
    orchestrator = await start()
    draining = asyncio.Event()
    await synapse.subscribe("cosmonapse.test.HEARTBEAT", lambda _: draining.set())
    pathway = await orchestrator.dispatch(neuron="slow", input={})
    await entered.wait()
    stopping = asyncio.create_task(worker.stop("maintenance"))
    await draining.wait()
    with pytest.raises(NoRouteError):
        await orchestrator.dispatch_and_wait(neuron="slow", input={})
    release.set()
    await stopping
    assert (await pathway.wait()).payload["output"] == {"done": True}
    assert orchestrator.find_neurons() == []


@pytest.mark.clause("P-9.10")
async def test_stop_cancels_and_answers_tasks_after_grace_period(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    async def stuck(input: dict[str, Any], context: list[Any]) -> Any:
        await asyncio.Event().wait()

    worker = await start(
        Axon(neuron_id="stuck", neuron_fn=stuck, max_concurrency=1), role="worker", grace_s=0.02
    )
    orchestrator = await start()
    pathways = [await orchestrator.dispatch(neuron="stuck", input={}) for _ in range(3)]
    await worker.stop()
    for pathway in pathways:
        assert (await pathway.wait()).payload["code"] == "CANCELLED"
    assert "3 TASKs did not finish within 0.02 s" in caplog.text


@pytest.mark.parametrize("asynchronous", [True, False])
async def test_answer_that_cannot_be_sent_is_cancelled_after_grace_period(
    start: Start, synapse: MemorySynapse, monkeypatch: pytest.MonkeyPatch, asynchronous: bool
) -> None:
    async def waits(input: dict[str, Any], context: list[Any]) -> Any:
        await asyncio.sleep(0)
        return {}

    async def returns(input: dict[str, Any], context: list[Any]) -> Any:
        return {}

    sending, cancelled = asyncio.Event(), asyncio.Event()
    worker = await start(
        Axon(neuron_id="n", neuron_fn=waits if asynchronous else returns), role="worker", grace_s=0.02
    )
    orchestrator = await start()
    publish = synapse.publish

    async def hang(subject: str, frame: bytes, **options: Any) -> None:
        if ".AGENT_OUTPUT." not in subject:
            await publish(subject, frame, **options)
            return
        sending.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    monkeypatch.setattr(synapse, "publish", hang)
    pathway = await orchestrator.dispatch(neuron="n", input={})
    await sending.wait()
    await worker.stop()
    # Before the bound for work that ignores its cancellation.
    assert cancelled.is_set()
    pathway.close()


async def test_stop_closes_neuron_once(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    class Pooled:
        __name__ = "pooled"
        closed = 0

        async def __call__(self, input: dict[str, Any], context: list[Any]) -> Any:
            return {}

        async def aclose(self) -> None:
            self.closed += 1
            raise OSError("already gone")

    neuron = Pooled()
    worker = await start(neuron, role="worker")
    await worker.stop()
    await worker.stop()
    assert neuron.closed == 1
    assert "'pooled' did not close cleanly" in caplog.text


async def test_dendrite_stops_after_synapse_is_closed(
    start: Start, synapse: MemorySynapse, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    worker = await start(echo, role="worker")
    await synapse.close()
    await worker.stop()
    assert "DEREGISTER could not be sent" in caplog.text


async def _work_of_a_stop_beside(start: Start, others: int) -> list[int]:
    """Return the work of stopping one TASK that runs, and one that waits, beside others."""

    release = asyncio.Event()

    async def stuck(input: dict[str, Any], context: list[Any]) -> Any:
        await release.wait()

    name = f"stuck{others}"
    axon = Axon(neuron_id=name, neuron_fn=stuck, max_concurrency=others // 2, max_backlog=others)
    worker, orchestrator = await start(axon, role="worker"), await start()
    pathways = [await orchestrator.dispatch(neuron=name, input={}) for _ in range(others)]
    runner = worker._host._runners[name]
    work = []
    for index in (0, 1, others // 2, others - 1):
        pathway = pathways[index]
        stop = Signal.new(
            SignalType.STOP, {"rollback": False}, trace_id=pathway.trace_id, parent_id=pathway.task_id
        )
        work.append(work_of(partial(worker._host._stop, stop)))
        assert (await pathway.wait(timeout_s=5)).payload["code"] == "CANCELLED"
        assert pathway.task_id not in {task.id for task in runner.tasks}
    release.set()
    return work[1:]


@pytest.mark.clause("P-9.8")
async def test_work_of_stopping_a_task_is_the_same_beside_thousands(start: Start) -> None:
    few, many = [await _work_of_a_stop_beside(start, others) for others in (10, 2_000)]
    # A new millisecond, which starts new ids, costs some calls.
    assert max(many) <= max(few) + 100
