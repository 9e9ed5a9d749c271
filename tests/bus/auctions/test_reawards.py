"""Re-awards: the next best bidder replaces a winner that fails or leaves."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from cosmo_core import Directed, NeuronError, NeuronFn, Signal, SignalType
from cosmo_core.dendrite.discovery.directory import Directory
from cosmo_testing import FakeClock, assert_valid_trace

if TYPE_CHECKING:
    from tests.bus.auctions.conftest import AuctionDriver, BlockedNeuron, MakeAxon
    from tests.bus.common import Start, WaitUntilIdle


@pytest.mark.clause("P-7.10")
async def test_failed_winner_is_replaced_by_next_best_bidder(
    start: Start, auction: AuctionDriver, wait_until_idle: WaitUntilIdle, failing: NeuronFn
) -> None:
    async def fail_after_delta(input: dict[str, Any], context: list[Any]) -> Any:
        yield "I think"
        raise NeuronError("cannot")

    workers = [
        await auction.start_bidder("third", cost=3),
        await auction.start_bidder("first", fail_after_delta, cost=1),
        await auction.start_bidder("second", failing, cost=2),
        await auction.start_bidder("fourth", cost=4),
    ]
    orchestrator = await start()
    async with await auction.offer(orchestrator, 4) as pathway:
        answer = await pathway.wait()
        assert answer.payload["output"] == {"done": True}
        assert (pathway.neuron, pathway.task_id) == ("third", answer.parent_id)
    types = [signal.type async for signal in pathway]
    assert types == [*[SignalType.BID] * 4, SignalType.THOUGHT_DELTA, SignalType.AGENT_OUTPUT]
    await wait_until_idle(orchestrator)
    assert auction.addressees(SignalType.TASK_AWARDED) == ["first", "second", "third"]
    assert auction.addressees(SignalType.TASK_DECLINED) == ["fourth"]
    assert_valid_trace(auction.traffic)
    auction.assert_nothing_open(orchestrator, *workers)


@pytest.mark.clause("P-7.11")
async def test_last_error_is_delivered_when_all_bidders_fail(
    start: Start, auction: AuctionDriver, failing: NeuronFn
) -> None:
    await auction.start_bidder("a", failing, cost=1)
    await auction.start_bidder("b", failing, cost=2)
    orchestrator = await start()
    async with await auction.offer(orchestrator, 2) as pathway:
        error = await pathway.wait()
    assert error.payload["code"] == "BROKEN"
    assert error.directed is not None
    assert error.directed.id == "b"
    assert pathway.closed
    auction.assert_nothing_open(orchestrator)


async def test_failed_first_bid_is_replaced_by_bid_before_deadline(
    start: Start, auction: AuctionDriver, blocked: BlockedNeuron
) -> None:
    async def fail(input: dict[str, Any], context: list[Any]) -> Any:
        await blocked(input, context)
        raise NeuronError("cannot")

    await auction.start_bidder("a", fail)
    slow, offers = await auction.start_silent_bidder("b")
    orchestrator = await start()
    async with await orchestrator.dispatch_offer(**auction.work, deadline_ms=10_000) as pathway:
        blocked.release.set()
        await auction.wait_until_sent(SignalType.ERROR)
        await slow.bid(await offers.get(), cost=1)
        assert (await pathway.wait()).payload["output"] == {"done": True}


async def test_error_of_first_bid_is_delivered_without_further_bid(
    start: Start, auction: AuctionDriver, failing: NeuronFn
) -> None:
    await auction.start_bidder("a", failing)
    orchestrator = await start()
    async with await orchestrator.dispatch_offer(**auction.work, deadline_ms=60_000) as pathway:
        await auction.wait_until_sent(SignalType.ERROR)
        assert not pathway.closed
        auction.end_bidding(orchestrator)
        assert (await pathway.wait()).payload["code"] == "BROKEN"


@pytest.mark.clause("P-7.10")
async def test_silent_winner_is_replaced_by_next_best_bidder(
    start: Start, auction: AuctionDriver, make_axon: MakeAxon, blocked: BlockedNeuron
) -> None:
    clock = FakeClock()
    worker = await start(
        make_axon("dead", blocked), role="worker", heartbeat_s=1, clock=FakeClock(), grace_s=0.01
    )
    other = await start(make_axon("alive"), role="worker", heartbeat_s=1, clock=clock)
    orchestrator = await start(heartbeat_s=1, clock=clock)
    async with await auction.offer(
        orchestrator, 2, lambda bids: max(bids, key=lambda bid: bid.neuron)
    ) as pathway:
        await blocked.running.wait()
        await clock.advance(4)
        assert (await pathway.wait()).payload["output"] == {"done": True}
        assert pathway.neuron == "alive"
    await blocked.stopped.wait()
    assert_valid_trace(auction.traffic)
    auction.assert_nothing_open(orchestrator, worker, other)


@pytest.mark.clause("P-5.12", "P-7.10", "P-7.11")
async def test_draining_neuron_departs_when_it_falls_silent() -> None:
    clock = FakeClock()
    departed: list[tuple[str, str]] = []
    directory = Directory(clock.now, 10, departed=lambda *neuron: departed.append(neuron))

    def announce(type: SignalType, neuron: str, **payload: Any) -> None:
        directory.receive(Signal.new(type, payload, directed=Directed(neuron), meta={"dendrite": "d"}))

    for neuron in "abc":
        announce(SignalType.REGISTER, neuron, role="neuron", capabilities=[])
        announce(SignalType.HEARTBEAT, neuron, status="draining")
    assert not directory.records()
    assert not departed
    announce(SignalType.REGISTER, "b", role="neuron", capabilities=[])
    announce(SignalType.DEREGISTER, "c")
    assert departed == [("c", "d")]
    await clock.advance(25)
    announce(SignalType.HEARTBEAT, "b", status="ok")
    await clock.advance(10)
    directory.sweep()
    assert departed == [("c", "d"), ("a", "d")]


async def test_worker_lost_error_names_deregistered_winner(
    start: Start, auction: AuctionDriver, blocked: BlockedNeuron
) -> None:
    worker = await auction.start_bidder("a", blocked)
    orchestrator = await start()
    async with await auction.offer(orchestrator, 1) as pathway:
        await blocked.running.wait()
        [axon] = worker.axons
        await worker._announcer.deregister(worker._host.entity(axon), None)
        error = await pathway.wait()
    assert error.payload["code"] == "WORKER_LOST"
    assert "'a' left before it answered" in error.payload["message"]
    auction.assert_nothing_open(orchestrator)


async def test_draining_winner_can_finish(
    start: Start, auction: AuctionDriver, blocked: BlockedNeuron, make_axon: MakeAxon
) -> None:
    worker = await start(make_axon("a", blocked), role="worker", grace_s=10)
    await auction.start_bidder("b", cost=9)
    orchestrator = await start()
    async with await auction.offer(orchestrator, 2) as pathway:
        await blocked.running.wait()
        detaching = asyncio.create_task(worker.detach_axon("a"))
        await orchestrator._directory.wait_for_change()
        assert [record.neuron_id for record in orchestrator.find_neurons()] == ["b"]
        blocked.release.set()
        assert (await pathway.wait()).payload["output"] == {"done": True}
        await detaching
    assert auction.addressees(SignalType.TASK_AWARDED) == ["a"]


async def test_winner_that_does_not_finish_draining_is_replaced(
    start: Start, auction: AuctionDriver, blocked: BlockedNeuron
) -> None:
    worker = await auction.start_bidder("a", blocked)
    await auction.start_bidder("b", cost=9)
    orchestrator = await start()
    async with await auction.offer(orchestrator, 2) as pathway:
        await blocked.running.wait()
        await worker.stop()
        assert (await pathway.wait()).payload["output"] == {"done": True}
        assert pathway.neuron == "b"


async def test_bidder_that_leaves_is_not_awarded(start: Start, auction: AuctionDriver) -> None:
    worker = await auction.start_bidder("a", cost=0)
    await auction.start_bidder("b", cost=1)
    orchestrator = await start()
    offering = auction.start_offer(orchestrator)
    await auction.wait_until_sent(SignalType.BID, 2)
    await worker.stop()
    auction.end_bidding(orchestrator)
    async with await offering as pathway:
        assert (await pathway.wait()).type is SignalType.AGENT_OUTPUT
    assert auction.addressees(SignalType.TASK_AWARDED) == ["b"]


@pytest.mark.clause("P-7.13")
async def test_expired_bids_are_declined(
    start: Start, monkeypatch: pytest.MonkeyPatch, auction: AuctionDriver, blocked: BlockedNeuron
) -> None:
    monkeypatch.setattr("cosmo_core.extensions.auctions.offers.BIDS_STAND_S", 0.001)
    declined = asyncio.Event()
    await auction.start_bidder("a", blocked)
    loser = await auction.start_bidder("b", cost=9)
    orchestrator = await start()
    loser._pathways._receivers[SignalType.TASK_DECLINED] = lambda _: declined.set()
    async with await auction.offer(orchestrator, 1) as pathway:
        await declined.wait()
        blocked.release.set()
        assert (await pathway.wait()).type is SignalType.AGENT_OUTPUT
