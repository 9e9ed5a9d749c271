"""How a worker handles TASK_AWARDED."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from cosmo_core import Directed, Pathway, Signal, SignalType

if TYPE_CHECKING:
    from tests.bus.auctions.conftest import AuctionDriver, BlockedNeuron, DropSignals, MakeAxon
    from tests.bus.common import Start


@pytest.mark.clause("P-3.12", "P-7.7", "P-7.8")
@pytest.mark.parametrize("by", ["BID", "TASK_OFFER"])
async def test_broadcast_award_runs_once(
    start: Start, by: str, blocked: BlockedNeuron, make_axon: MakeAxon
) -> None:
    """Other implementations of the protocol broadcast their awards."""
    blocked.release.set()
    worker = await start(make_axon("a", blocked), role="worker")
    orchestrator = await start()
    offer = Signal.new(SignalType.TASK_OFFER, {"input": {}, "capabilities": ["x"]})
    bid = await worker.bid(offer, cost=1)
    parent = bid if by == "BID" else offer
    award = parent.reply(SignalType.TASK_AWARDED, {"input": {}}, directed=Directed("a"))
    pathway = Pathway(orchestrator._pathways, award.trace_id, award.id, "a")
    orchestrator._pathways.add(pathway)
    answers: list[Signal] = []
    await orchestrator.watch(SignalType.AGENT_OUTPUT, answers.append)
    for _ in range(3):
        await orchestrator.emit(award)
    await worker.stop()
    assert blocked.calls == 1
    assert [answer.parent_id for answer in answers] == [award.id]
    assert worker.counters["unbid_awards"] == 2
    pathway.close()


@pytest.mark.clause("P-7.7")
async def test_award_without_matching_bid_is_ignored_and_counted(
    start: Start, blocked: BlockedNeuron, make_axon: MakeAxon
) -> None:
    worker = await start(make_axon("a", blocked), role="worker")
    bystander = await start(make_axon("z"), role="worker")
    orchestrator = await start()
    offer = Signal.new(SignalType.TASK_OFFER, {"input": {}, "capabilities": ["x"]})
    bid = await worker.bid(offer, cost=1)
    award = bid.reply(SignalType.TASK_AWARDED, {"input": {}, "winning_bid": bid.id}, directed=Directed("a"))
    forged = [
        award.replace(parent_id=Signal.new(SignalType.STOP, {"rollback": False}).id),
        award.replace(parent_id=None),
        award.replace(payload={"input": {}, "winning_bid": offer.id}),
    ]
    subject = worker._link.subjects.inbox(SignalType.TASK_AWARDED, worker._inbox)
    for signal in forged:
        await orchestrator.emit(signal)
        await orchestrator._link.send(subject, signal)
    await orchestrator.emit(award.replace(directed=Directed("other")))
    assert worker.counters["unbid_awards"] == 6
    assert bystander.counters["unbid_awards"] == 0
    await orchestrator.emit(bid.reply(SignalType.TASK_DECLINED, {}, directed=Directed("a")))
    await orchestrator.emit(award)
    assert worker.counters["unbid_awards"] == 7
    assert blocked.calls == 0


async def test_full_winner_rejects_award_and_next_best_is_awarded(
    start: Start, auction: AuctionDriver, make_axon: MakeAxon, blocked: BlockedNeuron
) -> None:
    promised = asyncio.Event()
    full = await start(make_axon("full", blocked, max_concurrency=1, max_backlog=0), role="worker")
    await start(make_axon("spare", max_concurrency=1), role="worker")
    orchestrator = await start()

    @full.on_task_offer
    async def promise(offer: Signal) -> None:
        await full.bid(offer, cost=-1)
        await orchestrator.dispatch_task(neuron="full", input={})
        promised.set()

    offering = auction.start_offer(orchestrator)
    await auction.wait_until_sent(SignalType.BID, 2)
    await promised.wait()
    auction.end_bidding(orchestrator)
    async with await offering as pathway:
        assert (await pathway.wait()).payload["output"] == {"done": True}
        assert pathway.neuron == "spare"
    blocked.release.set()


@pytest.mark.clause("P-7.7")
async def test_award_after_deadline_is_rejected(
    start: Start, auction: AuctionDriver, make_axon: MakeAxon
) -> None:
    await start(make_axon("a"), role="worker")
    orchestrator = await start()
    async with await orchestrator.dispatch_offer(**auction.work, deadline_s=-1) as pathway:
        assert (await pathway.wait()).payload["code"] == "DEADLINE"


async def test_leaving_neuron_rejects_award(
    start: Start, blocked: BlockedNeuron, make_axon: MakeAxon
) -> None:
    worker = await start(make_axon("a", blocked), make_axon("b"), role="worker")
    orchestrator = await start()
    offer = Signal.new(SignalType.TASK_OFFER, {"input": {}, "capabilities": ["x"]})
    bid = await worker.bid(offer, neuron="a", cost=1)
    pathway = await orchestrator.dispatch(neuron="a", input={})
    await blocked.running.wait()
    detaching = asyncio.create_task(worker.detach_axon("a"))
    await orchestrator._directory.wait_for_change()
    answers: asyncio.Queue[Signal] = asyncio.Queue()
    await orchestrator.watch(SignalType.ERROR, answers.put_nowait)
    award = bid.reply(SignalType.TASK_AWARDED, {"input": {}}, directed=Directed("a"))
    await orchestrator.emit(award)
    error = await answers.get()
    assert error.parent_id == award.id
    assert error.payload["code"] == "OVERLOADED"
    assert error.payload["recoverable"]
    blocked.release.set()
    await detaching
    assert (await pathway.wait()).payload["output"] == {"done": True}
    assert blocked.calls == 1


@pytest.mark.parametrize("directly", [True, False])
async def test_award_dropped_by_middleware_is_answered_with_error(
    start: Start, directly: bool, drop_signals: DropSignals, auction: AuctionDriver, make_axon: MakeAxon
) -> None:
    worker = await start(
        make_axon("a"), role="worker", plugins=drop_signals("inbound", SignalType.TASK_AWARDED)
    )
    orchestrator = await start()
    answers: asyncio.Queue[Signal] = asyncio.Queue()
    await orchestrator.watch(SignalType.ERROR, answers.put_nowait)
    if directly:
        await orchestrator.dispatch_offer(**auction.work)
    else:
        bid = await worker.bid(Signal.new(SignalType.TASK_OFFER, {"input": {}}), cost=1)
        await orchestrator.emit(bid.reply(SignalType.TASK_AWARDED, {"input": {}}, directed=Directed("a")))
    assert (await answers.get()).payload["code"] == "REJECTED"
    assert len(worker.extension("auctions")._bidder._bids) == 0
