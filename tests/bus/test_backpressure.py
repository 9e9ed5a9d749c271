"""Back-pressure: a slow reader delays the Neuron and loses no Signal."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest

from cosmo_core import Pathway, SignalType
from cosmo_synapse_memory import MemorySynapse
from tests.bus.common import Start, run_loop_turns


class Counter:
    """A Neuron that streams numbers and records the last one."""

    __name__ = "counter"

    def __init__(self) -> None:
        self.last = 0

    async def __call__(self, input: dict[str, Any], context: list[Any]) -> AsyncIterator[Any]:
        for number in range(input["to"]):
            self.last = number + 1
            yield str(number)
        yield {"done": True}


@pytest.fixture
async def synapse() -> AsyncIterator[MemorySynapse]:
    """A Synapse with a queue of four frames and four frames in flight per subscription."""
    synapse = MemorySynapse(max_in_flight=4, max_pending=4)
    await synapse.connect()
    yield synapse
    await synapse.close()


def numbers(signals: list[Any]) -> list[int]:
    return [int(signal.payload["delta"]) for signal in signals if signal.type is SignalType.THOUGHT_DELTA]


async def read_all(pathway: Pathway) -> list[int]:
    seen = []
    async for signal in pathway:
        seen.append(signal)
        if signal.type is SignalType.AGENT_OUTPUT:
            break
    return numbers(seen)


@pytest.mark.clause("P-6.6")
async def test_backpressure_blocks_neuron_until_read_and_loses_no_signal(start: Start) -> None:
    counter = Counter()
    dendrite = await start(counter, pathway_buffer=4)
    async with asyncio.timeout(5):
        pathway = await dendrite.dispatch(neuron="counter", input={"to": 100}, backpressure=True)
        await run_loop_turns(50)
        held_at = counter.last
        assert 4 <= held_at <= 4 + 4 + 4 + 1
        await run_loop_turns(50)
        assert counter.last == held_at
        assert await read_all(pathway) == list(range(100))
        assert pathway.dropped == 0
        pathway.close()


async def test_backpressure_follows_slowest_reader(start: Start) -> None:
    counter = Counter()
    dendrite = await start(counter, pathway_buffer=4)
    async with asyncio.timeout(5):
        pathway = await dendrite.dispatch(neuron="counter", input={"to": 60}, backpressure=True)
        slow = aiter(pathway)
        first = await anext(slow)
        fast = asyncio.create_task(read_all(pathway))
        await run_loop_turns(50)
        assert not fast.done()
        assert counter.last < 30
        rest = [first]
        async for signal in slow:
            rest.append(signal)
            if signal.type is SignalType.AGENT_OUTPUT:
                break
        assert numbers(rest) == await fast == list(range(60))
        pathway.close()


async def test_closed_reader_releases_backpressure(start: Start) -> None:
    dendrite = await start(Counter(), pathway_buffer=4)
    async with asyncio.timeout(5):
        pathway = await dendrite.dispatch(neuron="counter", input={"to": 60}, backpressure=True)
        leaving = aiter(pathway)
        await anext(leaving)
        staying = asyncio.create_task(read_all(pathway))
        await run_loop_turns(50)
        await leaving.aclose()
        assert await staying == list(range(60))
        pathway.close()


async def test_wait_for_answer_does_not_deadlock_under_backpressure(start: Start) -> None:
    dendrite = await start(Counter(), pathway_buffer=4)
    async with asyncio.timeout(5):
        answer = await dendrite.dispatch_and_wait(neuron="counter", input={"to": 100}, backpressure=True)
        assert answer.payload["output"] == {"done": True}
        pathway = await dendrite.dispatch(neuron="counter", input={"to": 100}, backpressure=True)
        await run_loop_turns(50)
        assert (await pathway.wait()).type is SignalType.AGENT_OUTPUT
        assert pathway.dropped == 101 - 4
        pathway.close()


@pytest.mark.clause("P-6.6")
async def test_backpressure_does_not_affect_other_tasks(start: Start) -> None:
    dendrite = await start(Counter(), pathway_buffer=4)
    async with asyncio.timeout(5):
        held = await dendrite.dispatch(neuron="counter", input={"to": 100}, backpressure=True)
        await run_loop_turns(50)
        answer = await dendrite.dispatch_and_wait(neuron="counter", input={"to": 100})
        assert answer.type is SignalType.AGENT_OUTPUT
        held.close()


async def test_close_releases_neuron_and_ends_subscription(start: Start, synapse: MemorySynapse) -> None:
    counter = Counter()
    dendrite = await start(counter, pathway_buffer=4)
    before = len(synapse._subscriptions)
    async with asyncio.timeout(5):
        pathway = await dendrite.dispatch(neuron="counter", input={"to": 100}, backpressure=True)
        async with pathway.keep_running():
            await run_loop_turns(50)
            assert len(synapse._subscriptions) == before + 1
        while counter.last < 100:
            await run_loop_turns(50)
    assert len(synapse._subscriptions) == before


async def test_unreferenced_backpressure_pathway_is_collected(start: Start, synapse: MemorySynapse) -> None:
    dendrite = await start(Counter(), pathway_buffer=4)
    before = len(synapse._subscriptions)
    pathway = await dendrite.dispatch(neuron="counter", input={"to": 3}, backpressure=True)
    await pathway.wait(timeout_s=5)
    del pathway
    gc.collect()
    await run_loop_turns(50)
    assert len(synapse._subscriptions) == before
    assert dendrite._pathways.pathways() == []


@pytest.mark.clause("P-6.5")
async def test_pathway_without_backpressure_counts_dropped_signals(start: Start) -> None:
    dendrite = await start(Counter(), pathway_buffer=4)
    pathway = await dendrite.dispatch(neuron="counter", input={"to": 100})
    await pathway.wait(timeout_s=5)
    assert await read_all(pathway) == [97, 98, 99]
    assert pathway.dropped == 101 - 4
