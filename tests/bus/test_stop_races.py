"""Races of STOP with draining hosts, answers and other STOPs."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from cosmo_core import Axon, PathwayClosedError, RejectedError, Signal, SignalType
from cosmo_core.dendrite.hosting.stopped_work import StoppedWork
from cosmo_core.plugins import Dropped, Forward, PluginManager, SignalMiddleware, hookimpl
from cosmo_core.protocol.ids import new_trace_id
from tests.bus.common import Start, run_loop_turns


class Slow:
    """A Neuron that never answers, and cleans up until `clean` is set."""

    def __init__(self) -> None:
        self.running, self.cleaning, self.clean = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def __call__(self, input: dict[str, Any], context: list[Any]) -> Any:
        self.running.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.cleaning.set()
            await self.clean.wait()


@pytest.mark.clause("P-9.6")
async def test_stop_trace_waits_for_draining_host(start: Start) -> None:
    neuron = Slow()
    worker = await start(Axon(neuron_id="slow", neuron_fn=neuron))
    await start(Axon(neuron_id="idle", neuron_fn=neuron))
    orchestrator = await start()
    draining: asyncio.Queue[Signal] = asyncio.Queue()
    await orchestrator.watch(SignalType.HEARTBEAT, draining.put_nowait)
    pathway = await orchestrator.dispatch(neuron="slow", input={})
    await neuron.running.wait()
    async with asyncio.timeout(5):
        leaving = asyncio.create_task(worker.stop())
        await draining.get()
        stopping = asyncio.create_task(orchestrator.stop_trace(pathway.trace_id, timeout_s=5))
        await neuron.cleaning.wait()
        neuron.clean.set()
        assert sorted(stopped.payload["cancelled"] for stopped in await stopping) == [0, 1]
        await leaving


async def test_stop_trace_raises_when_middleware_drops_stop(start: Start) -> None:
    class Dropping:
        @hookimpl
        def cosmo_signal_middleware(self, direction: str) -> Any:
            async def drop(signal: Signal, forward: Forward) -> Any:
                return Dropped("no") if signal.type is SignalType.STOP else await forward(signal)

            return drop if direction == "outbound" else None

    plugins = PluginManager()
    plugins.register(Dropping(), name="dropping")
    orchestrator = await start(plugins=plugins)
    with pytest.raises(RejectedError, match="dropped STOP"):
        await orchestrator.stop_trace(new_trace_id())


async def test_stopped_task_is_not_counted_as_duplicate(start: Start) -> None:
    neuron = Slow()
    neuron.clean.set()
    worker = await start(Axon(neuron_id="slow", neuron_fn=neuron))
    orchestrator = await start()
    with pytest.raises(TimeoutError):
        await orchestrator.dispatch_and_wait(neuron="slow", input={}, timeout_s=0.2)
    await neuron.cleaning.wait()
    assert worker.counters["duplicates"] == 0


def test_earlier_stop_that_arrives_late_does_not_shorten_stop() -> None:
    trace_id, stopped = new_trace_id(), StoppedWork(time.monotonic)
    earlier, task, later = (
        Signal.new(type, payload, trace_id=trace_id)
        for type, payload in (
            (SignalType.STOP, {"rollback": False}),
            (SignalType.TASK, {"input": {}}),
            (SignalType.STOP, {"rollback": False}),
        )
    )
    stopped.add(later)
    stopped.add(earlier)
    assert stopped.covers(task)


@pytest.mark.clause("P-5.5")
async def test_stop_does_not_cancel_answer_that_is_being_sent(start: Start) -> None:
    sending, go = asyncio.Event(), asyncio.Event()

    async def hold(signal: Signal, forward: Forward) -> Signal | Dropped:
        if signal.type is SignalType.AGENT_OUTPUT:
            sending.set()
            await go.wait()
        return await forward(signal)

    class Plugin:
        @hookimpl
        def cosmo_signal_middleware(self, direction: str) -> SignalMiddleware | None:
            return hold if direction == "outbound" else None

    plugins = PluginManager()
    plugins.register(Plugin(), name="hold")

    async def echo(input: dict[str, Any], context: list[Any]) -> Any:
        return input

    await start(echo, role="worker", plugins=plugins)
    orchestrator = await start()
    async with asyncio.timeout(5):
        pathway = await orchestrator.dispatch(neuron="echo", input={"a": 1})
        await sending.wait()
        stopping = asyncio.create_task(orchestrator.stop_trace(pathway.trace_id, timeout_s=5))
        await run_loop_turns(20)
        go.set()
        assert (await pathway.wait()).payload == {"output": {"a": 1}}
        await stopping


@pytest.mark.parametrize("way", ["dispatch", "dispatch_offer"])
async def test_dendrite_that_stops_does_not_stop_work_whose_pathway_is_not_read(
    start: Start, way: str
) -> None:
    release, answered = asyncio.Event(), asyncio.Event()

    async def held(input: dict[str, Any], context: list[Any]) -> Any:
        await release.wait()
        answered.set()
        return {}

    worker = await start(Axon(neuron_id="held", neuron_fn=held, capabilities=["x"]), role="worker")
    caller, watcher = await start(), await start()
    stops: list[Signal] = []
    async with await watcher.watch(SignalType.STOP, stops.append):
        if way == "dispatch":
            pathway = await caller.dispatch(neuron="held", input={})
        else:
            pathway = await caller.dispatch_offer(capabilities=["x"], input={})
        await caller.stop()
        with pytest.raises(PathwayClosedError):
            await pathway.wait()
        release.set()
        await asyncio.wait_for(answered.wait(), 5)
        await worker.stop()
    assert stops == []
