"""The life cycle of watchers and of their shared subscriptions."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cosmo_core import (
    Axon,
    Dendrite,
    FrameHandler,
    LifecycleError,
    Signal,
    SignalType,
    Subscription,
    SynapseClosedError,
    SynapseError,
)
from cosmo_core.plugins import PluginManager
from cosmo_core.protocol.ids import new_trace_id
from cosmo_synapse_memory import MemorySynapse
from tests.bus.common import Patterns, Start, WaitUntilIdle, echo


class Gate:
    """Blocks or fails `subscribe`."""

    def __init__(self, synapse: MemorySynapse) -> None:
        self.entered = asyncio.Event()
        self.open = asyncio.Event()
        self.refuse = False
        self._subscribe = synapse.subscribe
        self.open.set()

    async def subscribe(
        self, pattern: str, handler: FrameHandler, *, queue_group: str | None = None
    ) -> Subscription:
        if not self.open.is_set():
            self.entered.set()
        await self.open.wait()
        if self.refuse:
            raise SynapseError("no more subscriptions")
        return await self._subscribe(pattern, handler, queue_group=queue_group)


@pytest.fixture
def gate(synapse: MemorySynapse, monkeypatch: pytest.MonkeyPatch) -> Gate:
    gate = Gate(synapse)
    monkeypatch.setattr(synapse, "subscribe", gate.subscribe)
    return gate


async def test_watcher_registered_before_start_sees_every_signal(synapse: MemorySynapse) -> None:
    dendrite = Dendrite(synapse=synapse, namespace="test", plugins=PluginManager())
    dendrite.attach_axon(Axon(neuron_id="echo", neuron_fn=echo))
    seen: list[tuple[str, Any]] = []

    @dendrite.on_register
    @dendrite.on_deregister(neuron="echo")
    def note(signal: Signal) -> None:
        seen.append((signal.type.value, signal.directed and signal.directed.id))

    async with dendrite:
        pass
    # The second REGISTER answers its own DISCOVER.
    assert seen == [("REGISTER", "echo"), ("REGISTER", "echo"), ("DEREGISTER", "echo")]


@pytest.mark.clause("P-11.6")
async def test_watch_subscribes_with_first_watcher_until_last_ends(
    start: Start, wait_until_idle: WaitUntilIdle, patterns: Patterns
) -> None:
    dendrite = await start()
    before = patterns()
    first = await dendrite.watch(SignalType.PLAN, print)
    second = await dendrite.watch(SignalType.PLAN, print)
    assert patterns() - before == {"cosmonapse.test.PLAN", "cosmonapse.test.PLAN.>"}
    first.cancel()
    first.cancel()
    await wait_until_idle(dendrite)
    assert patterns() - before == {"cosmonapse.test.PLAN", "cosmonapse.test.PLAN.>"}
    second.cancel()
    await wait_until_idle(dendrite)
    assert patterns() == before
    assert dendrite.watchers == []


async def test_ended_watcher_sees_no_signals(start: Start, patterns: Patterns) -> None:
    dendrite = await start()
    before = patterns()
    seen: list[Signal] = []
    async with await dendrite.watch(SignalType.PLAN, seen.append):
        plan = await dendrite.emit_plan(new_trace_id(), [])
    assert patterns() == before
    await dendrite.emit_plan(new_trace_id(), [])
    assert seen == [plan]


async def test_cancelled_watcher_finishes_current_call_only(
    start: Start, wait_until_idle: WaitUntilIdle
) -> None:
    dendrite = await start()
    entered, release = asyncio.Event(), asyncio.Event()
    seen: list[Signal] = []

    async def slow(plan: Signal) -> None:
        entered.set()
        await release.wait()
        seen.append(plan)

    watcher = await dendrite.watch(SignalType.PLAN, slow)
    plans = [await dendrite.emit_plan(new_trace_id(), []) for _ in range(3)]
    await entered.wait()
    watcher.cancel()
    release.set()
    await wait_until_idle(dendrite)
    assert seen == plans[:1]


async def test_handler_can_cancel_itself_and_other_watchers(
    start: Start, wait_until_idle: WaitUntilIdle
) -> None:
    dendrite = await start()
    seen: list[Signal] = []

    def end_all(plan: Signal) -> None:
        seen.append(plan)
        for watcher in dendrite.watchers:
            watcher.cancel()

    await dendrite.watch(SignalType.PLAN, end_all)
    await dendrite.watch(SignalType.PLAN, seen.append)
    plan = await dendrite.emit_plan(new_trace_id(), [])
    await dendrite.emit_plan(new_trace_id(), [])
    await wait_until_idle(dendrite)
    assert seen == [plan]


async def test_handler_that_cancels_itself_does_not_affect_next_watcher(start: Start) -> None:
    dendrite = await start()
    seen: list[Signal] = []

    def once(_: Signal) -> None:
        watcher.cancel()

    watcher = await dendrite.watch(SignalType.PLAN, once)
    await dendrite.watch(SignalType.PLAN, seen.append)
    plans = [await dendrite.emit_plan(new_trace_id(), []) for _ in range(2)]
    assert seen == plans


async def test_second_watch_waits_for_pending_subscription(start: Start, gate: Gate) -> None:
    dendrite = await start()
    gate.open.clear()
    dendrite.on(SignalType.PLAN)(print)
    seen: list[Signal] = []
    watching = asyncio.create_task(dendrite.watch(SignalType.PLAN, seen.append))
    await gate.entered.wait()
    assert not watching.done()
    gate.open.set()
    await watching
    plan = await dendrite.emit_plan(new_trace_id(), [])
    assert seen == [plan]


async def test_cancelled_watch_leaves_no_subscription(
    start: Start, wait_until_idle: WaitUntilIdle, patterns: Patterns, gate: Gate
) -> None:
    dendrite = await start()
    before = patterns()
    gate.open.clear()
    watching = asyncio.create_task(dendrite.watch(SignalType.PLAN, print))
    await gate.entered.wait()
    watching.cancel()
    await asyncio.wait([watching])
    gate.open.set()
    await wait_until_idle(dendrite)
    assert watching.cancelled()
    assert (patterns(), dendrite.watchers) == (before, [])


async def test_failed_subscription_is_raised_or_logged(
    start: Start,
    synapse: MemorySynapse,
    caplog: pytest.LogCaptureFixture,
    wait_until_idle: WaitUntilIdle,
    gate: Gate,
) -> None:
    dendrite = await start()
    gate.refuse = True
    with pytest.raises(SynapseError, match="no more subscriptions"):
        await dendrite.watch(SignalType.PLAN, print)
    with pytest.raises(SynapseError, match="no more subscriptions") as held:
        await dendrite.observe_pathway(new_trace_id())
    assert held.tb is not None  # keeps the Pathway alive
    assert (dendrite.watchers, dendrite.extension("watching")._observed) == ([], {})
    dendrite.on(SignalType.PLAN)(print)
    await wait_until_idle(dendrite)
    assert "cosmonapse.test.PLAN failed: no more subscriptions" in caplog.text
    await synapse.close()
    gate.refuse = False
    with pytest.raises(SynapseClosedError):
        await dendrite.watch(SignalType.PLAN, print)


async def test_watch_requires_running_dendrite(synapse: MemorySynapse) -> None:
    dendrite = Dendrite(synapse=synapse, namespace="test", plugins=PluginManager())
    for _ in range(2):
        with pytest.raises(LifecycleError):
            await dendrite.watch(SignalType.PLAN, print)
        with pytest.raises(LifecycleError):
            await dendrite.observe_pathway(new_trace_id())
        if not dendrite.extension("watching")._closed:
            async with dendrite:
                pass
    with pytest.raises(LifecycleError, match="has stopped and cannot watch PLAN"):
        dendrite.on_plan(print)


async def test_stop_ends_all_watchers(start: Start, patterns: Patterns) -> None:
    dendrite = await start()
    await dendrite.watch(SignalType.PLAN, print)
    watcher = await dendrite.watch(SignalType.FINAL, print)
    pathway = await dendrite.observe_pathway(new_trace_id())
    await dendrite.stop()
    assert patterns() == set()
    assert pathway.closed
    assert dendrite.watchers == []
    watcher.cancel()
    assert not dendrite._pathways._background


async def test_stop_during_pending_subscription_leaves_no_subscription(
    start: Start, patterns: Patterns, gate: Gate
) -> None:
    dendrite = await start()
    gate.open.clear()
    watching = asyncio.create_task(dendrite.watch(SignalType.PLAN, print))
    observing = asyncio.create_task(dendrite.observe_pathway(new_trace_id()))
    await gate.entered.wait()
    stopping = asyncio.create_task(dendrite.stop())
    while not dendrite.extension("watching")._closed:  # noqa: ASYNC110 - it has no event to wait for
        await asyncio.sleep(0)
    gate.open.set()
    await stopping
    for task in (watching, observing):
        with pytest.raises(LifecycleError):
            await task
    assert patterns() == set()


async def test_handlers_finish_buffered_signals_on_stop(start: Start) -> None:
    dendrite = await start()
    seen: list[int] = []

    async def slow(plan: Signal) -> None:
        await asyncio.sleep(0)
        seen.append(plan.payload["steps"][0])

    await dendrite.watch(SignalType.PLAN, slow)
    for n in range(5):
        await dendrite.emit_plan(new_trace_id(), [n])
    await dendrite.stop()
    assert seen == list(range(5))


async def test_stop_cancels_handler_that_never_ends(
    start: Start, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cosmo_core.dendrite.dispatch.pathway_registry.BACKGROUND_GRACE_S", 0.02)
    dendrite = await start()
    entered = 0
    ended = asyncio.Event()

    async def stuck(_: Signal) -> None:
        nonlocal entered
        entered += 1
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    watcher = await dendrite.watch(SignalType.PLAN, stuck)
    for _ in range(3):
        await dendrite.emit_plan(new_trace_id(), [])
    watcher.cancel()
    await dendrite.stop()
    assert ended.is_set()
    assert entered == 1
    assert "1 handlers did not finish in time" in caplog.text


async def test_handler_can_stop_its_dendrite(start: Start) -> None:
    dendrite = await start()
    stopped = asyncio.Event()

    async def stop(_: Signal) -> None:
        await dendrite.stop()
        stopped.set()

    await dendrite.watch(SignalType.PLAN, stop)
    await dendrite.emit_plan(new_trace_id(), [])
    async with asyncio.timeout(5):
        await stopped.wait()
