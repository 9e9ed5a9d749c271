"""Observed Pathways: all Signals of a trace."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from cosmo_core import (
    MalformedSignalError,
    ObservedPathway,
    PathwayClosedError,
    Signal,
    SignalType,
)
from cosmo_core.protocol.ids import new_trace_id
from tests.bus.common import Patterns, Start, WaitUntilIdle, echo


async def talk(input: dict[str, Any], context: list[Any]) -> AsyncIterator[Any]:
    yield "a"
    yield "b"
    yield {"response": "ab"}


async def broken(input: dict[str, Any], context: list[Any]) -> Any:
    raise ValueError("broken")


@pytest.mark.clause("P-11.7")
async def test_observer_sees_whole_workflow_in_order(start: Start, wait_until_idle: WaitUntilIdle) -> None:
    await start(talk, role="worker")
    orchestrator = await start()
    observer = await start(role="worker")
    trace_id = new_trace_id()
    seen: list[str] = []
    pathway = await observer.observe_pathway(trace_id)

    @pathway.on(SignalType.THOUGHT_DELTA)
    async def on_delta(signal: Signal) -> None:
        seen.append(signal.payload["delta"])

    await orchestrator.emit_plan(trace_id, ["talk"])
    reply = await orchestrator.dispatch_and_wait(neuron="talk", input={}, trace_id=trace_id)
    assert await pathway.wait() == reply
    await orchestrator.dispatch_and_wait(neuron="talk", input={})
    await orchestrator.emit_final(trace_id, "done")
    assert pathway.closed
    kinds = ["PLAN", "TASK", "THOUGHT_DELTA", "THOUGHT_DELTA", "AGENT_OUTPUT", "FINAL"]
    assert [signal.type.value async for signal in pathway] == kinds
    await wait_until_idle(observer)
    assert seen == ["a", "b"]


@pytest.mark.clause("P-11.7")
async def test_dispatching_and_observing_pathway_each_see_signal_once(start: Start) -> None:
    both = await start(echo)
    trace_id = new_trace_id()
    observed = await both.observe_pathway(trace_id)
    pathway = await both.dispatch(neuron="echo", input={}, trace_id=trace_id)
    await pathway.wait()
    await both.emit_final(trace_id, "done")
    followed = [signal.type.value async for signal in pathway.signals(follow=True)]
    assert followed == ["AGENT_OUTPUT", "FINAL"]
    assert [signal.type.value async for signal in observed] == ["TASK", "AGENT_OUTPUT", "FINAL"]


@pytest.mark.clause("P-11.7")
async def test_observed_pathway_stays_open_after_error(start: Start) -> None:
    both = await start(broken)
    trace_id = new_trace_id()
    async with await both.observe_pathway(trace_id) as pathway:
        assert isinstance(pathway, ObservedPathway)
        for n in (1, 2):
            await both.dispatch_and_wait(neuron="broken", input={}, trace_id=trace_id)
            assert not pathway.closed, n
        await both.emit_error(trace_id, "BUDGET", "spent")
        assert not pathway.closed
    assert [signal.type.value async for signal in pathway] == ["TASK", "ERROR", "TASK", "ERROR", "ERROR"]


@pytest.mark.clause("P-11.7")
async def test_observed_pathway_ignores_signals_after_final(start: Start) -> None:
    dendrite = await start()
    pathway = await dendrite.observe_pathway(new_trace_id())
    await dendrite.emit_final(pathway.trace_id, 1)
    await dendrite.emit_plan(pathway.trace_id, [])
    assert [signal.type.value async for signal in pathway] == ["FINAL"]


@pytest.mark.clause("P-11.6")
async def test_namespace_subscription_is_shared_and_ends_with_last_observer(
    start: Start, wait_until_idle: WaitUntilIdle, patterns: Patterns
) -> None:
    dendrite = await start()
    before = patterns()
    trace_id = new_trace_id()
    pathways = [
        await dendrite.observe_pathway(trace_id),
        await dendrite.observe_pathway(trace_id),
        await dendrite.observe_pathway(new_trace_id()),
    ]
    assert patterns() - before == {"cosmonapse.test.>"}
    pathways.pop().close()
    await dendrite.emit_final(trace_id, 1)
    for pathway in pathways:
        assert [signal.type.value async for signal in pathway] == ["FINAL"]
    await wait_until_idle(dendrite)
    assert patterns() == before
    assert not dendrite.extension("watching")._observed
    again = await dendrite.observe_pathway(trace_id)
    await dendrite.emit_final(trace_id, 2)
    assert (await again.wait()).payload["result"] == 2


@pytest.mark.parametrize("in_thread", [False, True])
async def test_unreferenced_observed_pathway_is_collected(
    start: Start, in_thread: bool, wait_until_idle: WaitUntilIdle, patterns: Patterns
) -> None:
    dendrite = await start()
    before = patterns()
    held: list[Any] = [await dendrite.observe_pathway(new_trace_id())]
    held.append(held)
    assert patterns() != before
    del held
    if in_thread:
        asyncio.get_running_loop().set_debug(True)  # debug mode raises on calls that are not thread-safe
        collector = threading.Thread(target=gc.collect)
        collector.start()
        collector.join()
    else:
        gc.collect()
    await wait_until_idle(dendrite)
    assert patterns() == before
    assert not dendrite.extension("watching")._observed


async def test_observed_pathway_errors_name_missing_type(start: Start) -> None:
    dendrite = await start()
    pathway = await dendrite.observe_pathway(new_trace_id())
    with pytest.raises(TimeoutError, match=rf"no FINAL arrived on {pathway.trace_id} within 0\.01 s"):
        await pathway.wait_for(SignalType.FINAL, timeout_s=0.01)
    assert repr(pathway) == f"<ObservedPathway open on {pathway.trace_id}>"
    waiting = asyncio.create_task(pathway.wait_for(SignalType.PLAN))
    await asyncio.sleep(0)
    pathway.close()
    with pytest.raises(PathwayClosedError, match=rf"observes {pathway.trace_id} closed before PLAN"):
        await waiting


async def test_observed_pathway_buffer_is_bounded_and_counts_drops(start: Start) -> None:
    dendrite = await start(pathway_buffer=10)
    pathway = await dendrite.observe_pathway(new_trace_id())
    for n in range(25):
        await dendrite.emit_plan(pathway.trace_id, [n])
    pathway.close()
    assert [signal.payload["steps"][0] async for signal in pathway] == list(range(15, 25))
    assert pathway.dropped == 15


async def test_observe_pathway_rejects_malformed_trace_id(start: Start) -> None:
    with pytest.raises(MalformedSignalError, match="trace_id"):
        await (await start()).observe_pathway("my trace")
