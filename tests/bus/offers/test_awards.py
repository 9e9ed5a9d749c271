"""What a worker does about awards."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import pytest

from cosmo_core import (
    Axon,
    Dendrite,
    Directed,
    Pathway,
    Signal,
    SignalType,
)
from cosmo_core.plugin import PluginManager

Start = Callable[..., Awaitable[Dendrite]]
OFFER: dict[str, Any] = {"capabilities": ["x"], "input": {}}
Dropping = Callable[[str, SignalType], PluginManager]


async def done(input: dict[str, Any], context: list[Any]) -> Any:
    return {"done": True}


def axon(name: str, neuron: Any = done, capabilities: tuple[str, ...] = ("x",), **options: Any) -> Axon:
    return Axon(neuron_id=name, neuron_fn=neuron, capabilities=capabilities, **options)


class Stuck:
    """A Neuron that answers when it may, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.running, self.may_answer = asyncio.Event(), asyncio.Event()

    async def __call__(self, input: dict[str, Any], context: list[Any]) -> Any:
        self.asked += 1
        self.running.set()
        await self.may_answer.wait()
        return {"done": True}


@pytest.mark.clause("P-3.12", "P-7.7", "P-7.8")
@pytest.mark.parametrize("by", ["BID", "TASK_OFFER"])
async def test_an_award_on_everybodys_subject_is_run_once(start: Start, by: str) -> None:
    """As another implementation of the protocol sends it."""
    neuron = Stuck()
    neuron.may_answer.set()
    worker = await start(axon("a", neuron), role="worker")
    orchestrator = await start()
    offer = Signal.new(SignalType.TASK_OFFER, {"input": {}, "capabilities": ["x"]})
    bid = await worker.bid(offer, cost=1)
    parent = bid if by == "BID" else offer
    award = parent.reply(SignalType.TASK_AWARDED, {"input": {}}, directed=Directed("a"))
    pathway = Pathway(orchestrator._followed, award.trace_id, award.id, "a")
    orchestrator._followed.add(pathway)
    answers: list[Signal] = []
    await orchestrator.watch(SignalType.AGENT_OUTPUT, answers.append)
    for _ in range(3):
        await orchestrator.emit(award)
    await worker.stop()
    assert neuron.asked == 1
    assert [answer.parent_id for answer in answers] == [award.id]
    assert worker.counters["unbid_awards"] == 2
    pathway.close()


@pytest.mark.clause("P-7.7")
async def test_an_award_that_no_bid_asked_for_is_ignored_and_counted(start: Start) -> None:
    neuron = Stuck()
    worker = await start(axon("a", neuron), role="worker")
    bystander = await start(axon("z"), role="worker")
    orchestrator = await start()
    offer = Signal.new(SignalType.TASK_OFFER, {"input": {}, "capabilities": ["x"]})
    bid = await worker.bid(offer, cost=1)
    award = bid.reply(SignalType.TASK_AWARDED, {"input": {}, "winning_bid": bid.id}, directed=Directed("a"))
    forged = [
        attrs.evolve(award, parent_id=Signal.new(SignalType.STOP, {"rollback": False}).id),
        attrs.evolve(award, parent_id=None),
        attrs.evolve(award, payload={"input": {}, "winning_bid": offer.id}),
    ]
    subject = worker._link.subjects.inbox(SignalType.TASK_AWARDED, worker._bidder._name)
    for signal in forged:
        await orchestrator.emit(signal)
        await orchestrator._link.send(subject, signal)
    await orchestrator.emit(attrs.evolve(award, directed=Directed("other")))
    assert worker.counters["unbid_awards"] == 6
    assert bystander.counters["unbid_awards"] == 0
    await orchestrator.emit(bid.reply(SignalType.TASK_DECLINED, {}, directed=Directed("a")))
    await orchestrator.emit(award)
    assert worker.counters["unbid_awards"] == 7
    assert neuron.asked == 0


async def test_a_worker_that_is_full_by_then_refuses_and_the_next_best_is_awarded(
    start: Start, market: Any
) -> None:
    neuron, promised = Stuck(), asyncio.Event()
    full = await start(axon("full", neuron, max_concurrency=1, max_backlog=0), role="worker")
    await start(axon("spare", max_concurrency=1), role="worker")
    orchestrator = await start()

    @full.on_task_offer
    async def promise(offer: Signal) -> None:
        await full.bid(offer, cost=-1)
        await orchestrator.dispatch_task(neuron="full", input={})
        promised.set()

    offering = asyncio.create_task(
        orchestrator.dispatch_offer(**OFFER, select="lowest_cost", deadline_ms=60_000)
    )
    await market.until(SignalType.BID, 2)
    await promised.wait()
    [lot] = orchestrator._auctions._open.values()
    lot.end_bidding()
    async with await offering as pathway:
        assert (await pathway.wait()).payload["output"] == {"done": True}
        assert pathway.neuron == "spare"
    neuron.may_answer.set()


@pytest.mark.clause("P-7.7")
async def test_work_that_is_won_too_late_is_refused(start: Start) -> None:
    await start(axon("a"), role="worker")
    orchestrator = await start()
    async with await orchestrator.dispatch_offer(**OFFER, deadline_s=-1) as pathway:
        assert (await pathway.wait()).payload["code"] == "DEADLINE"


async def test_a_neuron_that_leaves_refuses_what_it_wins(start: Start) -> None:
    neuron = Stuck()
    worker = await start(axon("a", neuron), axon("b"), role="worker")
    orchestrator = await start()
    offer = Signal.new(SignalType.TASK_OFFER, {"input": {}, "capabilities": ["x"]})
    bid = await worker.bid(offer, neuron="a", cost=1)
    pathway = await orchestrator.dispatch(neuron="a", input={})
    await neuron.running.wait()
    detaching = asyncio.create_task(worker.detach_axon("a"))
    await orchestrator._view.changed()
    answers: asyncio.Queue[Signal] = asyncio.Queue()
    await orchestrator.watch(SignalType.ERROR, answers.put_nowait)
    award = bid.reply(SignalType.TASK_AWARDED, {"input": {}}, directed=Directed("a"))
    await orchestrator.emit(award)
    error = await answers.get()
    assert error.parent_id == award.id
    assert error.payload["code"] == "OVERLOADED"
    assert error.payload["recoverable"]
    neuron.may_answer.set()
    await detaching
    assert (await pathway.wait()).payload["output"] == {"done": True}
    assert neuron.asked == 1


@pytest.mark.parametrize("directly", [True, False])
async def test_an_award_that_a_middleware_drops_is_answered(
    start: Start, directly: bool, dropping: Dropping
) -> None:
    worker = await start(axon("a"), role="worker", plugins=dropping("inbound", SignalType.TASK_AWARDED))
    orchestrator = await start()
    answers: asyncio.Queue[Signal] = asyncio.Queue()
    await orchestrator.watch(SignalType.ERROR, answers.put_nowait)
    if directly:
        await orchestrator.dispatch_offer(**OFFER)
    else:
        bid = await worker.bid(Signal.new(SignalType.TASK_OFFER, {"input": {}}), cost=1)
        await orchestrator.emit(bid.reply(SignalType.TASK_AWARDED, {"input": {}}, directed=Directed("a")))
    assert (await answers.get()).payload["code"] == "REJECTED"
    assert len(worker._bidder._bids) == 0
