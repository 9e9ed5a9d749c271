"""Late, duplicate and invalid bids."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from cosmo_core import Directed, NoBidError, PathwayClosedError, Signal, SignalType
from cosmo_core.extensions.auctions import offers as module
from cosmo_core.plugins import Dropped, Forward
from cosmo_synapse_memory import MemorySynapse
from cosmo_testing import FakeClock, assert_valid_trace

if TYPE_CHECKING:
    from tests.bus.auctions.conftest import AuctionDriver, BlockedNeuron, WithMiddleware
    from tests.bus.common import Start, WaitUntilIdle


@pytest.mark.clause("P-7.9")
async def test_late_bids_are_declined(
    start: Start, auction: AuctionDriver, wait_until_idle: WaitUntilIdle
) -> None:
    await auction.start_bidder("a")
    late, offers = await auction.start_silent_bidder("late")
    orchestrator = await start()
    async with await orchestrator.dispatch_offer(**auction.work) as pathway:
        await pathway.wait()
    await late.bid(await offers.get(), cost=0)
    await wait_until_idle(orchestrator)
    assert auction.addressees(SignalType.TASK_DECLINED) == ["late"]
    assert auction.traffic[-1].payload["reason"] == "the bid arrived too late"
    assert_valid_trace(auction.traffic)
    auction.assert_nothing_open(orchestrator, late)
    await orchestrator.stop()
    even_later = Signal.new(
        SignalType.BID,
        {"cost": 0},
        parent_id=auction.traffic[0].id,
        directed=Directed("a"),
        meta={"dendrite": "d"},
    )
    orchestrator._pathways.receive(even_later)
    assert not orchestrator._pathways._background


@pytest.mark.clause("P-7.9")
async def test_bid_after_deadline_is_declined_while_winner_works(
    start: Start, auction: AuctionDriver, wait_until_idle: WaitUntilIdle, blocked: BlockedNeuron
) -> None:
    await auction.start_bidder("a", blocked)
    late, offers = await auction.start_silent_bidder("late")
    orchestrator = await start()
    async with await auction.offer(orchestrator, 1) as pathway:
        await late.bid(await offers.get(), cost=0)
        await wait_until_idle(orchestrator)
        assert auction.addressees(SignalType.TASK_DECLINED) == ["late"]
        blocked.release.set()
        await pathway.wait()


@pytest.mark.clause("P-7.9")
async def test_failed_decline_does_not_block_other_declines(
    start: Start,
    auction: AuctionDriver,
    wait_until_idle: WaitUntilIdle,
    with_middleware: WithMiddleware,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail_for_b(signal: Signal, forward: Forward) -> Signal | Dropped:
        if signal.type is SignalType.TASK_DECLINED and signal.directed == Directed("b"):
            raise ZeroDivisionError
        return await forward(signal)

    for name in "abc":
        await auction.start_bidder(name)
    orchestrator = await start(plugins=with_middleware("outbound", fail_for_b))
    for _ in range(2):
        async with await orchestrator.dispatch_offer(**auction.work) as pathway:
            await pathway.wait()
        await wait_until_idle(orchestrator)
    assert auction.addressees(SignalType.TASK_DECLINED) == ["c", "c"]
    assert caplog.text.count("could not be declined") == 2


async def test_closed_offers_are_forgotten_after_limit_and_time(
    start: Start, monkeypatch: pytest.MonkeyPatch, auction: AuctionDriver
) -> None:
    monkeypatch.setattr(module, "MAX_CLOSED", 2)
    clock = FakeClock()
    await auction.start_bidder("a")
    late, offers = await auction.start_silent_bidder("late")
    orchestrator = await start(clock=clock)
    for _ in range(3):
        async with await orchestrator.dispatch_offer(**auction.work) as pathway:
            await pathway.wait()
    assert len(orchestrator.extension("auctions")._offers._closed_offers) == 2
    await late.bid(await offers.get(), cost=0)
    await clock.advance(module.CLOSED_S)
    await late.bid(await offers.get(), cost=0)
    assert auction.addressees(SignalType.TASK_DECLINED) == []


@pytest.mark.clause("P-7.3")
async def test_bids_without_offer_neuron_or_dendrite_are_ignored(
    start: Start, synapse: MemorySynapse, auction: AuctionDriver
) -> None:
    worker, offers = await auction.start_silent_bidder("a")
    orchestrator = await start()
    offering = auction.start_offer(orchestrator, "first_bid")
    offer = await offers.get()
    host = {"dendrite": "h"}
    bids = [
        Signal.new(SignalType.BID, {"cost": 0}, trace_id=offer.trace_id, directed=Directed("a"), meta=host),
        offer.reply(SignalType.BID, {"cost": 0}, meta=host),
        offer.reply(SignalType.BID, {"cost": 0}, directed=Directed("a")),
        offer.reply(SignalType.BID, {"cost": 0}, directed=Directed("a"), meta={"dendrite": "not a token"}),
    ]
    for bid in bids:
        await worker._link.send(worker._link.subjects.inbox(SignalType.BID, offer.meta["reply_to"]), bid)
    auction.end_bidding(orchestrator)
    with pytest.raises(NoBidError, match="no Neuron bid"):
        await offering


@pytest.mark.clause("P-3.12", "P-7.4")
async def test_duplicate_bid_counts_once(start: Start, auction: AuctionDriver) -> None:
    worker, offers = await auction.start_silent_bidder("a")
    other = await auction.start_bidder("b", cost=0)
    orchestrator = await start()
    offering = asyncio.create_task(auction.offer(orchestrator, 3))
    offer = await offers.get()
    bid = await worker.bid(offer, cost=1)
    subject = worker._link.subjects.inbox(SignalType.BID, offer.meta["reply_to"])
    await worker._link.send(subject, bid)
    async with await offering as pathway:
        await pathway.wait()
    await worker._link.send(subject, bid)
    await orchestrator.stop()
    assert auction.addressees(SignalType.TASK_DECLINED) == ["a"]
    auction.assert_nothing_open(orchestrator, worker, other)


@pytest.mark.parametrize(
    ("type", "payload"),
    [
        (SignalType.AGENT_OUTPUT, {"output": {}}),
        (SignalType.ERROR, {"code": "X", "message": "", "recoverable": True}),
    ],
)
async def test_answer_to_unawarded_offer_is_ignored(
    start: Start, type: SignalType, payload: dict[str, Any], auction: AuctionDriver
) -> None:
    worker, offers = await auction.start_silent_bidder("a")
    orchestrator = await start()
    offering = auction.start_offer(orchestrator, "first_bid")
    offer = await offers.get()
    await orchestrator.emit(offer.reply(type, payload))
    await worker.bid(offer, cost=1)
    async with await offering as pathway:
        assert (await pathway.wait()).payload == {"output": {"done": True}}


async def test_final_of_trace_ends_bidding(
    start: Start, auction: AuctionDriver, wait_until_idle: WaitUntilIdle
) -> None:
    worker, offers = await auction.start_silent_bidder("a")
    orchestrator = await start()
    offering = auction.start_offer(orchestrator)
    offer = await offers.get()
    await worker.bid(offer, cost=1)
    await orchestrator.emit(Signal.new(SignalType.FINAL, {"result": 1}, trace_id=offer.trace_id))
    with pytest.raises(PathwayClosedError):
        await offering
    await wait_until_idle(orchestrator)
    assert auction.addressees(SignalType.TASK_DECLINED) == ["a"]
    auction.assert_nothing_open(orchestrator, worker)
