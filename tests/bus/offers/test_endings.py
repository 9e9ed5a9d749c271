"""How an offer ends before it is answered."""

from __future__ import annotations

import asyncio
import gc
import logging
from typing import TYPE_CHECKING

import pytest

from cosmo_core import PathwayClosedError, SignalType, SynapseClosedError
from cosmo_synapse_memory import MemorySynapse

if TYPE_CHECKING:
    from tests.bus.offers.conftest import Blocked, Market, Settled, Start


@pytest.mark.clause("P-7.10")
async def test_stopped_trace_is_not_reawarded(start: Start, market: Market, blocked: Blocked) -> None:
    await market.bidding("a", blocked)
    await market.bidding("b", cost=9)
    orchestrator = await start()
    async with await market.offer(orchestrator, 2) as pathway:
        await blocked.running.wait()
        await orchestrator.stop_trace(pathway.trace_id)
        assert (await pathway.wait()).payload["code"] == "CANCELLED"
    await orchestrator.stop()
    assert market.to(SignalType.TASK_AWARDED) == ["a"]
    assert market.to(SignalType.TASK_DECLINED) == ["b"]


@pytest.mark.clause("P-7.12", "P-9.1")
async def test_closing_open_pathway_stops_work(start: Start, market: Market, blocked: Blocked) -> None:
    workers = [await market.bidding("a", blocked), await market.bidding("b", cost=9)]
    orchestrator = await start()
    async with await market.offer(orchestrator, 2) as pathway:
        await blocked.running.wait()
        task_id = pathway.task_id
    await blocked.stopped.wait()
    [stop] = [signal for signal in market.traffic if signal.type is SignalType.STOP]
    assert stop.parent_id == task_id
    await orchestrator.stop()
    assert market.to(SignalType.TASK_DECLINED) == ["b"]
    assert market.to(SignalType.TASK_AWARDED) == ["a"]
    market.nothing_left(orchestrator, *workers)


async def test_closing_answered_pathway_sends_no_stop(start: Start, market: Market) -> None:
    await market.bidding("a")
    orchestrator = await start()
    async with await orchestrator.dispatch_offer(**market.work) as pathway:
        await pathway.wait()
    await orchestrator.stop()
    assert market.to(SignalType.STOP) == []


async def test_collected_offer_pathway_does_not_stop_work(
    start: Start, market: Market, settled: Settled, blocked: Blocked
) -> None:
    await market.bidding("a", blocked)
    loser = await market.bidding("b", cost=9)
    orchestrator = await start()
    await market.offer(orchestrator, 2)
    await blocked.running.wait()
    gc.collect()
    await market.until(SignalType.TASK_DECLINED)
    await settled(orchestrator)
    assert market.to(SignalType.TASK_DECLINED) == ["b"]
    assert market.to(SignalType.STOP) == []
    market.nothing_left(orchestrator, loser)
    blocked.may_answer.set()


async def test_cancelled_offer_leaves_no_open_state(start: Start, market: Market) -> None:
    worker, offers = await market.holding("a")
    orchestrator = await start()
    offering = market.offering(orchestrator)
    await worker.bid(await offers.get(), cost=1)
    offering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await offering
    await orchestrator.stop()
    assert market.to(SignalType.TASK_DECLINED) == ["a"]
    market.nothing_left(orchestrator, worker)


async def test_stop_ends_open_offer(start: Start, market: Market) -> None:
    worker, offers = await market.holding("a")
    orchestrator = await start()
    offering = market.offering(orchestrator)
    await worker.bid(await offers.get(), cost=1)
    await orchestrator.stop()
    with pytest.raises(PathwayClosedError, match="before its work was awarded"):
        await offering
    assert market.to(SignalType.TASK_DECLINED) == ["a"]
    market.nothing_left(orchestrator, worker)


async def test_closed_synapse_raises_and_leaves_no_open_state(
    start: Start, synapse: MemorySynapse, caplog: pytest.LogCaptureFixture, market: Market
) -> None:
    caplog.set_level(logging.CRITICAL)
    orchestrator = await start()
    await synapse.close()
    with pytest.raises(SynapseClosedError):
        await orchestrator.dispatch_offer(**market.work)
    market.nothing_left(orchestrator)
