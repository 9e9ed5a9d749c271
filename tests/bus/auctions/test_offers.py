"""Offers: the choice of a winner, and offers without one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import pytest

from cosmo_core import (
    Bid,
    LifecycleError,
    MalformedSignalError,
    NeuronFn,
    NoBidError,
    RejectedError,
    RoleError,
    Signal,
    SignalType,
    current_task,
)
from cosmo_core.extensions.auctions.offers import OfferPathway
from cosmo_core.plugins import Dropped, Forward
from cosmo_testing import assert_valid_trace

if TYPE_CHECKING:
    from tests.bus.auctions.conftest import AuctionDriver, DropSignals, MakeAxon, WithMiddleware
    from tests.bus.common import Start, WaitUntilIdle


# --- one winner -----------------------------------------------------------------------------------
@pytest.mark.clause("P-7.1", "P-7.6", "P-7.9")
async def test_one_bidder_is_awarded_and_others_are_declined(
    start: Start, auction: AuctionDriver, wait_until_idle: WaitUntilIdle
) -> None:
    workers = [await auction.start_bidder(name) for name in "abc"]
    orchestrator = await start()
    async with await orchestrator.dispatch_offer(**auction.work) as pathway:
        answer = await pathway.wait()
    await wait_until_idle(orchestrator)
    offer, award = (
        next(s for s in auction.traffic if s.type is t)
        for t in (SignalType.TASK_OFFER, SignalType.TASK_AWARDED)
    )
    winning = next(signal for signal in auction.traffic if signal.type is SignalType.BID)
    assert answer.payload["output"] == {"done": True}
    assert answer.parent_id == award.id == pathway.task_id
    assert pathway.neuron == "a"
    assert award.parent_id == award.payload["winning_bid"] == winning.id
    assert award.payload["input"] == {"n": 1}
    assert winning.parent_id == offer.id
    assert offer.payload == {"input": {"n": 1}, "capabilities": ["x"], "deadline_ms": 250}
    assert auction.addressees(SignalType.TASK_AWARDED) == ["a"]
    assert auction.addressees(SignalType.TASK_DECLINED) == ["b", "c"]
    assert_valid_trace(auction.traffic)
    auction.assert_nothing_open(orchestrator, *workers)
    assert cast("OfferPathway", pathway)._open_offer._timer is None


@pytest.mark.parametrize(
    ("select", "winner"),
    [
        ("lowest_cost", "b"),
        ("highest_confidence", "c"),
        (lambda bids: max(bids, key=lambda bid: bid.eta_ms), "a"),
    ],
)
async def test_select_rule_chooses_bid(
    start: Start, select: Any, winner: str, auction: AuctionDriver
) -> None:
    await auction.start_bidder("a", cost=2, eta_ms=9)
    await auction.start_bidder("b", cost=1, eta_ms=1, confidence=0.1)
    await auction.start_bidder("c", cost=3, eta_ms=2, confidence=0.2)
    orchestrator = await start()
    async with await auction.offer(orchestrator, 3, select) as pathway:
        assert (await pathway.wait()).type is SignalType.AGENT_OUTPUT
        assert pathway.neuron == winner


async def test_select_function_receives_bids_in_arrival_order(start: Start, auction: AuctionDriver) -> None:
    seen: list[list[Bid]] = []
    await auction.start_bidder("a", cost=2.5, eta_ms=9)
    await auction.start_bidder("b", cost=1, confidence=0.5)
    orchestrator = await start()

    def last(bids: list[Bid]) -> Bid:
        seen.append(bids)
        return bids[-1]

    async with await auction.offer(orchestrator, 2, last) as pathway:
        await pathway.wait()
    [[one, two]] = seen
    assert (one.neuron, one.cost, one.eta_ms, one.confidence) == ("a", 2.5, 9, None)
    assert (two.neuron, two.cost, two.eta_ms, two.confidence) == ("b", 1, None, 0.5)


@pytest.mark.clause("P-7.4", "P-7.6")
async def test_replicas_bid_separately_and_one_is_awarded(start: Start, auction: AuctionDriver) -> None:
    ran: list[str] = []
    for name in ("one", "two"):

        async def note(input: dict[str, Any], context: list[Any], name: str = name) -> Any:
            ran.append(name)
            return {}

        await auction.start_bidder("same", note, cost=len(ran))
    orchestrator = await start()
    async with await auction.offer(orchestrator, 2, lambda bids: bids[-1]) as p:
        await p.wait()
    assert ran == ["two"]
    assert auction.addressees(SignalType.BID) == ["same", "same"]
    assert_valid_trace(auction.traffic)


@pytest.mark.clause("P-7.6")
async def test_award_carries_options_of_offer(
    start: Start, auction: AuctionDriver, make_axon: MakeAxon
) -> None:
    fetched: list[str | None] = []

    async def fetch(ref: str | None) -> list[Any]:
        fetched.append(ref)
        return []

    async def describe_task(input: dict[str, Any], context: list[Any]) -> Any:
        task = current_task()
        assert task is not None
        return {"id": task.id, "trace": task.trace_id, "late": task.time_left_s() == 0}

    await start(make_axon("a", describe_task, context_fetcher=fetch), role="worker")
    orchestrator = await start()
    root = Signal.new(SignalType.PLAN, {"steps": []})
    async with await orchestrator.dispatch_offer(
        **auction.work,
        trace_id=root.trace_id,
        parent_id=root.id,
        context_ref="c1",
        meta={"tenant": 7},
        deadline_s=60,
        scope="terminal",
    ) as pathway:
        final = await pathway.wait()
        signals = [signal.type async for signal in pathway]
    assert signals == [SignalType.FINAL]
    assert final.payload["result"] == {"id": pathway.task_id, "trace": root.trace_id, "late": False}
    assert fetched == ["c1"]
    offer, _, award = auction.traffic[:3]
    assert (offer.parent_id, offer.trace_id) == (root.id, root.trace_id)
    assert offer.meta["tenant"] == award.meta["tenant"] == 7


async def test_offer_pathway_receives_bids_and_stream(start: Start, auction: AuctionDriver) -> None:
    async def stream(input: dict[str, Any], context: list[Any]) -> Any:
        yield "thinking"
        yield {"done": True}

    await auction.start_bidder("a", stream)
    orchestrator = await start()
    pathway = await orchestrator.dispatch_offer(**auction.work, finalize=True)
    types = [signal.type async for signal in pathway]
    assert types == [
        SignalType.BID,
        SignalType.THOUGHT_DELTA,
        SignalType.AGENT_OUTPUT,
        SignalType.FINAL,
    ]


async def test_dendrite_can_bid_for_its_own_offer(
    start: Start, auction: AuctionDriver, make_axon: MakeAxon
) -> None:
    both = await start(make_axon("a"))
    async with await both.dispatch_offer(**auction.work) as pathway:
        assert (await pathway.wait()).payload["output"] == {"done": True}
    auction.assert_nothing_open(both, both)


async def test_concurrent_offers_are_independent(
    start: Start, auction: AuctionDriver, make_axon: MakeAxon
) -> None:
    async def echo(input: dict[str, Any], context: list[Any]) -> Any:
        return input

    workers = [await start(make_axon(name, echo), role="worker") for name in "abc"]
    orchestrator = await start()
    trace = (await orchestrator.dispatch_task(neuron="a", input={})).trace_id

    async def ask(n: int) -> None:
        async with await orchestrator.dispatch_offer(
            capabilities=["x"], input={"n": n}, trace_id=trace if n % 2 else None
        ) as pathway:
            assert (await pathway.wait()).payload["output"] == {"n": n}

    await asyncio.gather(*map(ask, range(100)))
    await asyncio.gather(*(worker.stop() for worker in workers))
    auction.assert_nothing_open(orchestrator, *workers)


# --- no winner ------------------------------------------------------------------------------------
@pytest.mark.clause("P-7.11")
async def test_offer_without_bids_raises_no_bid_error(
    start: Start, auction: AuctionDriver, make_axon: MakeAxon
) -> None:
    await start(make_axon("a", capabilities=("y",)), role="worker")
    orchestrator = await start()
    with pytest.raises(NoBidError) as caught:
        await orchestrator.dispatch_offer(capabilities=["x", "y"], input={}, deadline_ms=5)
    assert str(caught.value) == "no Neuron bid for work that needs 'x' and 'y' within 0.005 s"
    assert isinstance(caught.value, TimeoutError)
    auction.assert_nothing_open(orchestrator)


@pytest.mark.clause("P-7.9", "P-7.11")
async def test_bids_are_declined_when_select_accepts_no_bid(
    start: Start, auction: AuctionDriver, wait_until_idle: WaitUntilIdle
) -> None:
    workers = [await auction.start_bidder(name) for name in "ab"]
    orchestrator = await start()
    with pytest.raises(NoBidError, match="none of 2 bids was accepted"):
        await auction.offer(orchestrator, 2, lambda _: None)
    await wait_until_idle(orchestrator)
    assert auction.addressees(SignalType.TASK_DECLINED) == ["a", "b"]
    auction.assert_nothing_open(orchestrator, *workers)


async def test_select_function_error_reaches_caller(start: Start, auction: AuctionDriver) -> None:
    worker = await auction.start_bidder("a")
    orchestrator = await start()

    def fail(bids: list[Bid]) -> Bid:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await auction.offer(orchestrator, 1, fail)
    await worker.stop()
    auction.assert_nothing_open(orchestrator, worker)


async def test_select_function_error_on_reaward_is_logged(
    start: Start, caplog: pytest.LogCaptureFixture, auction: AuctionDriver, failing: NeuronFn
) -> None:
    await auction.start_bidder("a", failing)
    await auction.start_bidder("b")
    orchestrator = await start()

    def only_once(bids: list[Bid]) -> Bid:
        assert len(bids) == 2, "asked again"
        return bids[0]

    pathway = await auction.offer(orchestrator, 2, only_once)
    assert (await pathway.wait()).payload["code"] == "BROKEN"
    assert "could not be awarded to another bidder: asked again" in caplog.text


@pytest.mark.clause("P-7.1")
@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"capabilities": "x"}, TypeError),
        ({"capabilities": []}, TypeError),
        ({"capabilities": None}, TypeError),
        ({"capabilities": ["a b"]}, MalformedSignalError),
        ({"select": "cheapest"}, ValueError),
        ({"deadline_ms": -1}, MalformedSignalError),
        ({"input": {"x": object()}}, TypeError),
    ],
)
async def test_invalid_offer_raises_before_any_signal_is_sent(
    start: Start, auction: AuctionDriver, options: dict[str, Any], error: type[Exception]
) -> None:
    orchestrator = await start()
    with pytest.raises(error):
        await orchestrator.dispatch_offer(**{**auction.work, **options})
    assert auction.traffic == []
    auction.assert_nothing_open(orchestrator)


@pytest.mark.clause("P-10.2")
async def test_worker_role_cannot_offer(start: Start, auction: AuctionDriver) -> None:
    worker = await start(role="worker")
    with pytest.raises(RoleError):
        await worker.dispatch_offer(**auction.work)
    await worker.stop()
    orchestrator = await start()
    await orchestrator.stop()
    with pytest.raises(LifecycleError):
        await orchestrator.dispatch_offer(**auction.work)
    assert auction.traffic == []


@pytest.mark.parametrize("dropped", [SignalType.TASK_OFFER, SignalType.TASK_AWARDED])
async def test_offer_raises_when_middleware_drops_offer_or_award(
    start: Start, dropped: SignalType, auction: AuctionDriver, drop_signals: DropSignals
) -> None:
    worker = await auction.start_bidder("a")
    orchestrator = await start(plugins=drop_signals("outbound", dropped))
    with pytest.raises(RejectedError, match=dropped.value):
        await orchestrator.dispatch_offer(**auction.work)
    auction.assert_nothing_open(orchestrator)
    await worker.stop()


async def test_answered_award_counts_as_sent(
    start: Start, auction: AuctionDriver, with_middleware: WithMiddleware
) -> None:
    """The middleware that forwarded the award need not have returned."""

    async def never_return(signal: Signal, forward: Forward) -> Signal | Dropped:
        result = await forward(signal)
        if signal.type is SignalType.TASK_AWARDED:
            await asyncio.Event().wait()
        return result

    await auction.start_bidder("a")
    orchestrator = await start(plugins=with_middleware("outbound", never_return))
    async with await orchestrator.dispatch_offer(**auction.work) as pathway:
        assert (await pathway.wait()).payload["output"] == {"done": True}
