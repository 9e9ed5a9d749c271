"""Races of dispatches and Pathways with a stop, a slow Synapse or the garbage collector."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator
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
    SynapseError,
    decode,
)
from cosmo_core.plugins import PluginManager
from cosmo_core.protocol.ids import new_trace_id
from cosmo_synapse_memory import MemorySynapse
from tests.bus.common import Start, WaitUntilIdle, echo, run_loop_turns


class SlowBus:
    """Blocks `publish` on subjects that contain ``on``."""

    def __init__(self, synapse: MemorySynapse) -> None:
        self.on = "nothing"
        self.entered, self.open = asyncio.Event(), asyncio.Event()
        self._publish = synapse.publish

    async def publish(self, subject: str, frame: bytes, **options: Any) -> None:
        if self.on in subject:
            self.entered.set()
            await self.open.wait()
        await self._publish(subject, frame, **options)


@pytest.fixture
def slow(synapse: MemorySynapse, monkeypatch: pytest.MonkeyPatch) -> SlowBus:
    slow = SlowBus(synapse)
    monkeypatch.setattr(synapse, "publish", slow.publish)
    return slow


# --- stop during a dispatch -----------------------------------------------------------------------------


async def test_timeout_applies_after_dendrite_stopped(start: Start, slow: SlowBus) -> None:
    await start(echo)
    orchestrator = await start()
    slow.on = "TASK.neuron"
    reply = asyncio.create_task(orchestrator.dispatch_and_wait(neuron="echo", input={}, timeout_s=0.2))
    await slow.entered.wait()
    await orchestrator.stop()
    async with asyncio.timeout(5):
        with pytest.raises(TimeoutError):
            await reply


async def test_stop_during_discovery_sends_no_task(
    start: Start, synapse: MemorySynapse, slow: SlowBus
) -> None:
    orchestrator = await start()
    sent: list[bytes] = []
    await synapse.subscribe("cosmonapse.test.TASK.>", sent.append)
    slow.on = "DISCOVER"
    reply = asyncio.create_task(orchestrator.dispatch_and_wait(neuron="echo", input={}, timeout_s=None))
    await slow.entered.wait()
    slow.on = "nothing"
    await start(echo)
    await orchestrator.wait_until_ready(neuron="echo", timeout_s=5)
    await orchestrator.stop()
    slow.open.set()
    async with asyncio.timeout(5):
        with pytest.raises(LifecycleError):
            await reply
    assert sent == []


# --- back-pressure --------------------------------------------------------------------------------------


async def test_failed_dispatch_does_not_consume_answers_of_shared_trace(
    start: Start, synapse: MemorySynapse, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = asyncio.Event()

    async def slow(input: dict[str, Any], context: list[Any]) -> Any:
        await release.wait()
        return {}

    dendrite = await start(slow)
    first = await dendrite.dispatch(neuron="slow", input={})

    async def refuse(pattern: str, handler: FrameHandler, *, queue_group: str | None = None) -> Subscription:
        raise SynapseError("no more subscriptions")

    monkeypatch.setattr(synapse, "subscribe", refuse)
    with pytest.raises(SynapseError):
        await dendrite.dispatch(neuron="slow", input={}, trace_id=first.trace_id, backpressure=True)
    gc.collect()
    release.set()
    assert (await first.wait(timeout_s=5)).type is SignalType.AGENT_OUTPUT


async def test_collected_full_pathway_releases_backpressure(wait_until_idle: WaitUntilIdle) -> None:
    done = asyncio.Event()

    async def talk(input: dict[str, Any], context: list[Any]) -> AsyncIterator[Any]:
        for number in range(100):
            yield str(number)
        done.set()
        yield {}

    synapse = MemorySynapse(max_in_flight=4, max_pending=4)
    await synapse.connect()
    dendrite = Dendrite(synapse=synapse, namespace="test", pathway_buffer=4, plugins=PluginManager())
    dendrite.attach_axon(Axon(neuron_id="talk", neuron_fn=talk))
    async with dendrite:
        before = len(synapse._subscriptions)
        pathway = await dendrite.dispatch(neuron="talk", input={}, backpressure=True)
        async for _ in pathway:
            break
        await run_loop_turns(100)
        assert not done.is_set()
        held = weakref.ref(pathway)
        del pathway
        gc.collect()
        async with asyncio.timeout(5):
            await done.wait()
        await wait_until_idle(dendrite)
        assert held() is None
        assert len(synapse._subscriptions) == before
    await synapse.close()


async def test_pathway_collected_in_other_thread_ends_subscription(
    start: Start, synapse: MemorySynapse, wait_until_idle: WaitUntilIdle
) -> None:
    dendrite = await start(echo)
    before = len(synapse._subscriptions)
    pathway = await dendrite.dispatch(neuron="echo", input={}, backpressure=True)
    await pathway.wait(timeout_s=5)
    last = [pathway]
    del pathway
    await asyncio.to_thread(last.clear)
    await wait_until_idle(dendrite)
    assert len(synapse._subscriptions) == before


# --- handlers -------------------------------------------------------------------------------------------


async def test_handler_continues_after_awaited_future_was_cancelled(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    dendrite = await start()
    pathway = await dendrite.observe_pathway(new_trace_id())
    seen: asyncio.Queue[Any] = asyncio.Queue()

    @pathway.on(SignalType.PLAN)
    async def handle(plan: Signal) -> None:
        seen.put_nowait(plan.payload["steps"])
        cancelled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        cancelled.cancel()
        await cancelled

    for n in range(2):
        await dendrite.emit_plan(pathway.trace_id, [n])
    async with asyncio.timeout(5):
        assert [await seen.get(), await seen.get()] == [[0], [1]]
    assert "the PLAN handler of" in caplog.text
    pathway.close()


# --- offers ---------------------------------------------------------------------------------------------


async def test_late_award_failure_does_not_affect_current_winner(
    start: Start, synapse: MemorySynapse, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = asyncio.Event()

    async def work(input: dict[str, Any], context: list[Any]) -> Any:
        await release.wait()
        return {"done": True}

    first = await start(Axon(neuron_id="a", neuron_fn=work, capabilities=["x"]))
    await start(Axon(neuron_id="b", neuron_fn=work, capabilities=["x"]))
    orchestrator = await start()
    awarding, may_fail, failed, publish = asyncio.Event(), asyncio.Event(), asyncio.Event(), synapse.publish

    async def fail(subject: str, frame: bytes, **options: Any) -> None:
        if "TASK_AWARDED" in subject and decode(frame).payload["winning_bid"] == bid_of_a:
            awarding.set()
            await may_fail.wait()
            failed.set()
            raise SynapseError("gone")
        await publish(subject, frame, **options)

    bid_of_a = ""

    def select(bids: list[Any]) -> Any:
        nonlocal bid_of_a
        best = min(bids, key=lambda bid: bid.neuron)
        bid_of_a = bid_of_a or best.id
        return best

    monkeypatch.setattr(synapse, "publish", fail)
    async with asyncio.timeout(5):
        offering = asyncio.create_task(
            orchestrator.dispatch_offer(capabilities=["x"], input={}, select=select, deadline_ms=200)
        )
        await awarding.wait()
        await first.stop()
        pathway = await offering
        may_fail.set()
        await failed.wait()
        await asyncio.sleep(0)
        release.set()
        assert (await pathway.wait()).payload["output"] == {"done": True}
