"""Automatic bids, and how long a bid stays open."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from cosmo_core import Directed, RejectedError, Signal, SignalType, decode
from cosmo_core.extensions.auctions.bidding import MARGIN_S, OpenBids
from cosmo_synapse_memory import MemorySynapse
from cosmo_testing import FakeClock

if TYPE_CHECKING:
    from tests.bus.auctions.conftest import AuctionDriver, BlockedNeuron, DropSignals, MakeAxon
    from tests.bus.common import Start


# --- automatic bids -------------------------------------------------------------------------------


@pytest.mark.clause("P-7.2", "P-7.3", "P-7.5")
async def test_each_capable_neuron_bids_its_load(
    start: Start, auction: AuctionDriver, blocked: BlockedNeuron, make_axon: MakeAxon
) -> None:
    await start(
        make_axon("half", blocked, ("x", "y"), max_concurrency=2),
        make_axon("idle", capabilities=("y", "x", "z")),
        make_axon("unable", capabilities=("y",)),
        role="worker",
    )
    orchestrator = await start()
    pathway = await orchestrator.dispatch(neuron="half", input={})
    await blocked.running.wait()
    await auction.offer_without_award(orchestrator, capabilities=["x", "y"])
    await auction.wait_until_sent(SignalType.BID, 2)
    assert [(bid.directed and bid.directed.id, bid.payload) for bid in auction.bids] == [
        ("half", {"cost": 0.5}),
        ("idle", {"cost": 0.0}),
    ]
    blocked.release.set()
    await pathway.wait()


@pytest.mark.clause("P-7.2")
async def test_full_neuron_does_not_bid(
    start: Start, auction: AuctionDriver, blocked: BlockedNeuron, make_axon: MakeAxon
) -> None:
    await start(make_axon("full", blocked, max_concurrency=1, max_backlog=0), role="worker")
    orchestrator = await start()
    pathway = await orchestrator.dispatch(neuron="full", input={})
    await blocked.running.wait()
    await auction.offer_without_award(orchestrator)
    assert auction.addressees(SignalType.BID) == []
    blocked.release.set()
    await pathway.wait()


@pytest.mark.clause("P-7.2")
async def test_offer_without_capabilities_gets_no_automatic_bid(
    start: Start, auction: AuctionDriver, make_axon: MakeAxon
) -> None:
    await start(make_axon("a"), role="worker")
    offers: asyncio.Queue[Signal] = asyncio.Queue()
    other = await start(make_axon("b"), role="worker")
    other.on_task_offer(offers.put_nowait)
    orchestrator = await start()
    offer = Signal.new(SignalType.TASK_OFFER, {"input": {}})
    await orchestrator.emit(offer)
    assert (await offers.get()).id == offer.id
    assert auction.addressees(SignalType.BID) == []


@pytest.mark.clause("P-3.12", "P-7.4")
async def test_duplicate_offer_gets_one_bid(
    start: Start, synapse: MemorySynapse, make_axon: MakeAxon
) -> None:
    # The offer names no inbox, so bids are broadcast.
    bids: asyncio.Queue[Signal] = asyncio.Queue()
    await synapse.subscribe("cosmonapse.test.BID", lambda frame: bids.put_nowait(decode(frame)))
    await start(make_axon("a"), role="worker")
    orchestrator = await start()
    payload = {"input": {}, "capabilities": ["x"]}
    one, two = Signal.new(SignalType.TASK_OFFER, payload), Signal.new(SignalType.TASK_OFFER, payload)
    for offer in (one, one):
        await orchestrator.emit(offer)
    bid = await bids.get()
    await orchestrator.emit(bid.reply(SignalType.TASK_DECLINED, {}))
    for offer in (one, two):
        await orchestrator.emit(offer)
    assert [bid.parent_id, (await bids.get()).parent_id] == [one.id, two.id]
    assert bids.empty()


async def test_dendrite_without_neurons_does_not_subscribe_to_offers(
    start: Start, patterns: Callable[[], set[str]], auction: AuctionDriver, make_axon: MakeAxon
) -> None:
    subject = "cosmonapse.test.TASK_OFFER"
    worker = await start(role="worker")
    orchestrator = await start()
    assert subject not in patterns()
    await worker.add_axon(make_axon("a"))
    await worker.add_axon(make_axon("b"))
    assert subject in patterns()
    await worker.detach_axon("a")
    await auction.offer_without_award(orchestrator)
    await auction.wait_until_sent(SignalType.BID, 1)
    assert auction.addressees(SignalType.BID) == ["b"]
    await worker.detach_axon("b")
    assert subject not in patterns()
    await worker.add_axon(make_axon("a"))
    assert subject in patterns()
    await worker.stop()
    assert subject not in patterns()


async def test_bid_dropped_by_middleware_is_not_open(
    start: Start, auction: AuctionDriver, drop_signals: DropSignals, make_axon: MakeAxon
) -> None:
    worker = await start(make_axon("a"), role="worker", plugins=drop_signals("outbound", SignalType.BID))
    orchestrator = await start()
    await auction.offer_without_award(orchestrator)
    assert len(worker.extension("auctions")._bidder._bids) == 0
    with pytest.raises(RejectedError):
        await worker.bid(Signal.new(SignalType.TASK_OFFER, {"input": {}}), cost=1)


@pytest.mark.clause("P-7.14")
async def test_dendrite_at_open_bid_limit_makes_no_bid(
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
    auction: AuctionDriver,
    caplog: pytest.LogCaptureFixture,
    make_axon: MakeAxon,
) -> None:
    monkeypatch.setattr("cosmo_core.extensions.auctions.bidding.MAX_OPEN_BIDS", 1)
    worker = await start(make_axon("a"), make_axon("b"), role="worker")
    orchestrator = await start()
    await auction.offer_without_award(orchestrator)
    await auction.wait_until_sent(SignalType.BID, 1)
    assert auction.addressees(SignalType.BID) == ["a"]
    assert "1 bids are open already" in caplog.text
    assert len(worker.extension("auctions")._bidder._bids) == 0


# --- open bids ------------------------------------------------------------------------------------


@pytest.mark.clause("P-7.13")
async def test_open_bids_expire_after_award_is_impossible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cosmo_core.extensions.auctions.bidding.MAX_OPEN_BIDS", 2)
    monkeypatch.setattr("cosmo_core.extensions.auctions.bidding.BIDS_STAND_S", 10.0)
    clock = FakeClock()
    bids = OpenBids(clock.now)
    bid_signals = []
    for deadline_ms in (5_000, 1_000):
        payload: dict[str, Any] = {"input": {}, "deadline_ms": deadline_ms}
        offer = Signal.new(SignalType.TASK_OFFER, payload)
        bid = offer.reply(SignalType.BID, {"cost": 1}, directed=Directed("a"))
        bids.add(offer, bid, "a")
        bid_signals.append(bid)
    full = bids.full
    assert full
    with pytest.raises(ValueError, match="2 bids of this Dendrite are open"):
        bids.add(Signal.new(SignalType.TASK_OFFER, {"input": {}}), bid_signals[0], "a")
    await clock.advance(11.0 + MARGIN_S)
    assert bids.remove_answered(bid_signals[1].reply(SignalType.TASK_AWARDED, {"input": {}})) is None
    assert bids.remove_answered(bid_signals[0].reply(SignalType.TASK_AWARDED, {"input": {}})) == "a"
    assert len(bids) == 0
    bids.add(Signal.new(SignalType.TASK_OFFER, {"input": {}}), bid_signals[0], "a")
    await clock.advance(1_000.0)
    assert not bids.full
    bids.add(Signal.new(SignalType.TASK_OFFER, {"input": {}}), bid_signals[1], "a")
    assert bids.remove("unknown") is None
