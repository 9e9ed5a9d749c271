"""Offer handlers, and bids that they make."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

import pytest

from cosmo_core import LifecycleError, MalformedSignalError, Signal, SignalType
from cosmo_core.extensions.auctions import bidding as module

if TYPE_CHECKING:
    from tests.bus.auctions.conftest import AuctionDriver, BlockedNeuron, MakeAxon
    from tests.bus.common import Start


@pytest.mark.clause("P-7.2")
async def test_offer_handler_replaces_automatic_bids(
    start: Start, auction: AuctionDriver, make_axon: MakeAxon
) -> None:
    worker = await start(make_axon("a"), make_axon("b"), role="worker")

    @worker.on_task_offer
    async def decide(offer: Signal) -> None:
        if offer.payload["input"]["n"] == 1:
            bid = await worker.bid(offer, neuron="b", cost=7, eta_ms=3, confidence=0.5)
            assert bid.payload == {"cost": 7, "eta_ms": 3, "confidence": 0.5}

    orchestrator = await start()
    await auction.offer_without_award(orchestrator, input={"n": 0})
    await auction.offer_without_award(orchestrator, input={"n": 1})
    await auction.wait_until_sent(SignalType.BID, 1)
    assert auction.addressees(SignalType.BID) == ["b"]
    with pytest.raises(ValueError, match="decides on offers already"):
        worker.on_task_offer(decide)


async def test_bid_without_neuron_uses_least_busy_neuron(
    start: Start, auction: AuctionDriver, blocked: BlockedNeuron, make_axon: MakeAxon
) -> None:
    worker = await start(
        make_axon("a", blocked), make_axon("b"), make_axon("c", capabilities=()), role="worker"
    )

    @worker.on_task_offer
    async def decide(offer: Signal) -> None:
        await worker.bid(offer, cost=1)

    orchestrator = await start()
    pathway = await orchestrator.dispatch(neuron="a", input={})
    await blocked.running.wait()
    await auction.offer_without_award(orchestrator)
    await auction.wait_until_sent(SignalType.BID, 1)
    assert auction.addressees(SignalType.BID) == ["b"]
    blocked.release.set()
    await pathway.wait()


async def test_offer_handler_error_is_logged_and_handler_is_called_again(
    start: Start, caplog: pytest.LogCaptureFixture, auction: AuctionDriver, make_axon: MakeAxon
) -> None:
    worker = await start(make_axon("a"), role="worker")
    offers: list[Signal] = []

    @worker.on_task_offer
    def decide(offer: Signal) -> None:
        offers.append(offer)
        raise ZeroDivisionError

    orchestrator = await start()
    for _ in range(2):
        await auction.offer_without_award(orchestrator)
    assert [f"the handler of offers failed on {offer.id}" in caplog.text for offer in offers] == [True, True]


@pytest.mark.parametrize("deadline_ms", [1, None])
async def test_offer_handler_is_cancelled_when_bidding_ends(
    start: Start,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    deadline_ms: int | None,
    make_axon: MakeAxon,
) -> None:
    monkeypatch.setattr(module, "LONGEST_DECISION_S", 0.001)
    worker = await start(make_axon("a"), role="worker")
    cancelled = asyncio.Event()

    @worker.on_task_offer
    async def never_decide(offer: Signal) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    orchestrator = await start()
    payload = {"input": {}, "capabilities": ["x"]}
    await orchestrator.emit(
        Signal.new(SignalType.TASK_OFFER, payload if deadline_ms is None else {**payload, "deadline_ms": 1})
    )
    await cancelled.wait()
    await worker.stop()
    assert "did not decide on" in caplog.text


async def test_offer_handlers_are_bounded_and_cancelled_on_stop(
    start: Start, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, make_axon: MakeAxon
) -> None:
    monkeypatch.setattr(module, "MAX_DECIDING", 1)
    worker = await start(make_axon("a"), role="worker")
    entered, cancelled = asyncio.Event(), asyncio.Event()

    @worker.on_task_offer
    async def never_decide(offer: Signal) -> None:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    orchestrator = await start()
    for _ in range(2):
        await orchestrator.emit(Signal.new(SignalType.TASK_OFFER, {"input": {}, "capabilities": ["x"]}))
    await entered.wait()
    assert "1 offers wait for their handler" in caplog.text
    await worker.stop()
    assert cancelled.is_set()


async def test_offer_handler_can_stop_its_dendrite(start: Start, make_axon: MakeAxon) -> None:
    worker = await start(make_axon("a"), role="worker")
    stopped = asyncio.Event()

    @worker.on_task_offer
    async def stop(offer: Signal) -> None:
        await worker.stop()
        stopped.set()

    orchestrator = await start()
    await orchestrator.emit(Signal.new(SignalType.TASK_OFFER, {"input": {}, "capabilities": ["x"]}))
    await stopped.wait()


async def test_bid_rejects_invalid_arguments(start: Start, make_axon: MakeAxon) -> None:
    worker = await start(make_axon("a"), make_axon("b", capabilities=("y",)), role="worker")
    offer = Signal.new(SignalType.TASK_OFFER, {"input": {}, "capabilities": ["x"]})
    with pytest.raises(ValueError, match="only a TASK_OFFER can be bid for, not a TASK"):
        await worker.bid(Signal.new(SignalType.TASK, {"input": {}}), cost=1)
    for name in ("b", "unknown"):
        with pytest.raises(ValueError, match=rf"'{name}' cannot bid.*\['x'\]"):
            await worker.bid(offer, neuron=name, cost=1)
    for cost in (math.nan, math.inf, 10**400, True, "1"):
        with pytest.raises(MalformedSignalError, match=r"payload\.cost"):
            await worker.bid(offer, cost=cost)  # type: ignore[arg-type]
    with pytest.raises(MalformedSignalError, match="confidence"):
        await worker.bid(offer, cost=1, confidence=2)
    await worker.bid(offer, cost=1)
    with pytest.raises(ValueError, match=r"'a' has bid for .* already"):
        await worker.bid(offer, cost=2)
    await worker.stop()
    with pytest.raises(LifecycleError):
        await worker.bid(offer, cost=1)
