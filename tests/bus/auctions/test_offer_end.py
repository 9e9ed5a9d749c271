"""Offers that end before they are answered."""

from __future__ import annotations

import asyncio
import gc
import logging
from typing import TYPE_CHECKING

import pytest

from cosmo_core import PathwayClosedError, SignalType, SynapseClosedError
from cosmo_synapse_memory import MemorySynapse

if TYPE_CHECKING:
    from tests.bus.auctions.conftest import AuctionDriver, BlockedNeuron
    from tests.bus.common import Start, WaitUntilIdle


@pytest.mark.clause("P-7.10")
async def test_stopped_trace_is_not_reawarded(
    start: Start, auction: AuctionDriver, blocked: BlockedNeuron
) -> None:
    await auction.start_bidder("a", blocked)
    await auction.start_bidder("b", cost=9)
    orchestrator = await start()
    async with await auction.offer(orchestrator, 2) as pathway:
        await blocked.running.wait()
        await orchestrator.stop_trace(pathway.trace_id)
        assert (await pathway.wait()).payload["code"] == "CANCELLED"
    await orchestrator.stop()
    assert auction.addressees(SignalType.TASK_AWARDED) == ["a"]
    assert auction.addressees(SignalType.TASK_DECLINED) == ["b"]


@pytest.mark.clause("P-7.12", "P-9.1")
async def test_closing_open_pathway_stops_work(
    start: Start, auction: AuctionDriver, blocked: BlockedNeuron
) -> None:
    workers = [await auction.start_bidder("a", blocked), await auction.start_bidder("b", cost=9)]
    orchestrator = await start()
    async with await auction.offer(orchestrator, 2) as pathway:
        await blocked.running.wait()
        task_id = pathway.task_id
    await blocked.stopped.wait()
    [stop] = [signal for signal in auction.traffic if signal.type is SignalType.STOP]
    assert stop.parent_id == task_id
    await orchestrator.stop()
    assert auction.addressees(SignalType.TASK_DECLINED) == ["b"]
    assert auction.addressees(SignalType.TASK_AWARDED) == ["a"]
    auction.assert_nothing_open(orchestrator, *workers)


async def test_closing_answered_pathway_sends_no_stop(start: Start, auction: AuctionDriver) -> None:
    await auction.start_bidder("a")
    orchestrator = await start()
    async with await orchestrator.dispatch_offer(**auction.work) as pathway:
        await pathway.wait()
    await orchestrator.stop()
    assert auction.addressees(SignalType.STOP) == []


async def test_collected_offer_pathway_does_not_stop_work(
    start: Start, auction: AuctionDriver, wait_until_idle: WaitUntilIdle, blocked: BlockedNeuron
) -> None:
    await auction.start_bidder("a", blocked)
    loser = await auction.start_bidder("b", cost=9)
    orchestrator = await start()
    await auction.offer(orchestrator, 2)
    await blocked.running.wait()
    gc.collect()
    await auction.wait_until_sent(SignalType.TASK_DECLINED)
    await wait_until_idle(orchestrator)
    assert auction.addressees(SignalType.TASK_DECLINED) == ["b"]
    assert auction.addressees(SignalType.STOP) == []
    auction.assert_nothing_open(orchestrator, loser)
    blocked.release.set()


async def test_cancelled_offer_leaves_no_open_state(start: Start, auction: AuctionDriver) -> None:
    worker, offers = await auction.start_silent_bidder("a")
    orchestrator = await start()
    offering = auction.start_offer(orchestrator)
    await worker.bid(await offers.get(), cost=1)
    offering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await offering
    await orchestrator.stop()
    assert auction.addressees(SignalType.TASK_DECLINED) == ["a"]
    auction.assert_nothing_open(orchestrator, worker)


async def test_stop_ends_open_offer(start: Start, auction: AuctionDriver) -> None:
    worker, offers = await auction.start_silent_bidder("a")
    orchestrator = await start()
    offering = auction.start_offer(orchestrator)
    await worker.bid(await offers.get(), cost=1)
    await orchestrator.stop()
    with pytest.raises(PathwayClosedError, match="before its work was awarded"):
        await offering
    assert auction.addressees(SignalType.TASK_DECLINED) == ["a"]
    auction.assert_nothing_open(orchestrator, worker)


async def test_closed_synapse_raises_and_leaves_no_open_state(
    start: Start, synapse: MemorySynapse, caplog: pytest.LogCaptureFixture, auction: AuctionDriver
) -> None:
    caplog.set_level(logging.CRITICAL)
    orchestrator = await start()
    await synapse.close()
    with pytest.raises(SynapseClosedError):
        await orchestrator.dispatch_offer(**auction.work)
    auction.assert_nothing_open(orchestrator)
