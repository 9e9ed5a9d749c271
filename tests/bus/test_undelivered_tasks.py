"""TASKs that the Synapse cannot deliver: the caller gets an error at once."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from cosmo_core import NoRouteError, RetryStrategy, Signal, SignalType, Undelivered
from cosmo_core.protocol.signal import address
from tests.bus.common import Start, echo


@pytest.mark.clause("P-5.18")
@pytest.mark.parametrize(
    ("reason", "code", "recoverable", "advice"),
    [
        ("no_consumers", "NO_ROUTE", True, "host it again"),
        ("overloaded", "OVERLOADED", True, "try again later"),
        ("lost", "WORKER_LOST", True, "try again once it is hosted again"),
        ("failed", "WORKER_LOST", False, "it is now a dead letter"),
    ],
)
async def test_caller_gets_error_for_undelivered_task(
    start: Start, connect_faulty: Any, reason: Undelivered, code: str, recoverable: bool, advice: str
) -> None:
    synapse = await connect_faulty()
    await start(echo, synapse=synapse, role="worker")
    orchestrator = await start(synapse=synapse)
    synapse.task_fault = reason
    pathway = await orchestrator.dispatch(neuron="echo", input={})
    answer = await pathway.wait(timeout_s=5)
    assert (answer.payload["code"], answer.payload["recoverable"]) == (code, recoverable)
    assert advice in answer.payload["message"]
    assert "'echo'" in answer.payload["message"]
    assert (answer.type, answer.trace_id, answer.parent_id) == (
        SignalType.ERROR,
        pathway.trace_id,
        pathway.task_id,
    )
    assert answer.directed == address("echo")
    assert pathway.closed
    # The error is local to the caller and is not published.
    assert synapse.sent_of(SignalType.ERROR) == []


@pytest.mark.clause("P-5.18")
@pytest.mark.parametrize("reason", ["no_consumers", "lost"])
async def test_directory_drops_neuron_without_hosts(
    start: Start, connect_faulty: Any, reason: Undelivered
) -> None:
    synapse = await connect_faulty()
    worker = await start(echo, synapse=synapse, role="worker")
    orchestrator = await start(synapse=synapse)
    await orchestrator.wait_until_ready(neuron="echo", timeout_s=5)
    # It does not answer DISCOVER, as if it had crashed.
    worker._announcer._draining = True
    synapse.task_fault = reason
    assert (await orchestrator.dispatch_and_wait(neuron="echo", input={})).type is SignalType.ERROR
    assert orchestrator.find_neurons() == []
    sent = len(synapse.sent_of(SignalType.TASK))
    with pytest.raises(NoRouteError, match="'echo'"):
        await orchestrator.dispatch(neuron="echo", input={})
    assert len(synapse.sent_of(SignalType.TASK)) == sent


@pytest.mark.clause("P-5.18")
@pytest.mark.parametrize("reason", ["overloaded", "failed"])
async def test_directory_keeps_neuron_that_is_overloaded_or_failed(
    start: Start, connect_faulty: Any, reason: Undelivered
) -> None:
    synapse = await connect_faulty()
    await start(echo, synapse=synapse, role="worker")
    orchestrator = await start(synapse=synapse)
    synapse.task_fault = reason
    await orchestrator.dispatch_and_wait(neuron="echo", input={})
    synapse.task_fault = None
    answer = await orchestrator.dispatch_and_wait(neuron="echo", input={"a": 1})
    assert answer.payload["output"] == {"a": 1}


async def test_retry_reaches_neuron_that_came_back(start: Start, connect_faulty: Any) -> None:
    synapse = await connect_faulty()
    await start(echo, synapse=synapse, role="worker")
    orchestrator = await start(synapse=synapse)
    synapse.task_fault = "no_consumers"

    def deliver_next(attempt: int) -> float:
        synapse.task_fault = None
        return 0.0

    retry = RetryStrategy(max_attempts=2, timeout_s=5, backoff=deliver_next)
    answer = await orchestrator.dispatch_and_wait(neuron="echo", input={"a": 1}, retry=retry)
    assert answer.payload["output"] == {"a": 1}


async def test_undelivered_task_without_pathway_is_logged(
    start: Start, connect_faulty: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "cosmo_core.dendrite")
    synapse = await connect_faulty()
    await start(echo, synapse=synapse, role="worker")
    orchestrator = await start(synapse=synapse)
    synapse.task_fault = "overloaded"
    task = await orchestrator.dispatch_task(neuron="echo", input={})
    assert f"TASK {task.id} was not delivered, and no Pathway follows it: every host of" in caplog.text


async def test_only_tasks_are_published_with_message_id(start: Start, connect_faulty: Any) -> None:
    synapse = await connect_faulty()
    await start(echo, synapse=synapse, role="worker")
    orchestrator = await start(synapse=synapse)
    await orchestrator.dispatch_and_wait(neuron="echo", input={})
    await orchestrator.emit(Signal.new(SignalType.TASK, {"input": {}}, directed=address("echo")))
    for signal, id in zip(synapse.sent, synapse.message_ids, strict=True):
        assert id == (signal.id if signal.type is SignalType.TASK else None)


@pytest.mark.clause("P-5.18")
async def test_dispatch_gets_no_route_when_worker_synapse_is_closed(
    start: Start, connect_faulty: Any
) -> None:
    here = await connect_faulty()
    there = await connect_faulty(here._bus)
    await start(echo, synapse=there, role="worker")
    orchestrator = await start(synapse=here)
    await orchestrator.wait_until_ready(neuron="echo", timeout_s=5)
    await there.close()
    answer = await orchestrator.dispatch_and_wait(neuron="echo", input={}, timeout_s=60)
    assert answer.payload["code"] == "NO_ROUTE"
