"""The worker's side of an offer: bids, and what comes of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import attrs
import pytest

from cosmo_core import (
    Axon,
    Dendrite,
    Directed,
    LifecycleError,
    MalformedSignalError,
    NoBidError,
    Pathway,
    RejectedError,
    Signal,
    SignalType,
    decode,
)
from cosmo_core.dendrite import bidding as module
from cosmo_core.dendrite.open_bids import MARGIN_S, OpenBids
from cosmo_core.plugin import Dropped, Forward, PluginManager, hookimpl
from cosmo_core.testing import FakeClock
from cosmo_synapse_memory import MemorySynapse

Start = Callable[..., Awaitable[Dendrite]]
OFFER: dict[str, Any] = {"capabilities": ["x"], "input": {}}


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


@pytest.fixture(autouse=True)
async def bounded() -> AsyncIterator[None]:
    async with asyncio.timeout(20):
        yield


class Bids(list[Signal]):
    """Every BID, in the order they are sent."""

    def __init__(self) -> None:
        super().__init__()
        self._more = asyncio.Event()

    def take(self, frame: bytes) -> None:
        self.append(decode(frame))
        self._more.set()

    async def until(self, count: int) -> None:
        while len(self) < count:
            self._more.clear()
            await self._more.wait()

    @property
    def neurons(self) -> list[str | None]:
        return [bid.directed.id if bid.directed else None for bid in self]


@pytest.fixture
async def bids(synapse: MemorySynapse) -> Bids:
    bids = Bids()
    await synapse.subscribe("cosmonapse.test.BID.>", bids.take)
    return bids


async def offered(orchestrator: Dendrite, deadline_ms: int = 5, **offer: Any) -> None:
    """Have something offered until the deadline, and take no bid."""
    with pytest.raises(NoBidError):
        await orchestrator.dispatch_offer(
            **{**OFFER, **offer}, select=lambda _: None, deadline_ms=deadline_ms
        )


def dropping(direction: str, type: SignalType) -> PluginManager:
    class Plugin:
        @hookimpl
        def cosmo_signal_middleware(self, direction: str) -> Any:
            async def drop(signal: Signal, forward: Forward) -> Signal | Dropped:
                return Dropped("no") if signal.type is type else await forward(signal)

            return drop if direction == wanted else None

    wanted = direction
    manager = PluginManager()
    manager.register(Plugin(), name="drop")
    return manager


# --- automatic bids ---------------------------------------------------------------------------------


@pytest.mark.clause("P-7.2", "P-7.3", "P-7.5")
async def test_every_able_neuron_bids_its_business(start: Start, bids: Bids) -> None:
    neuron = Stuck()
    await start(
        axon("half", neuron, ("x", "y"), max_concurrency=2),
        axon("idle", done, ("y", "x", "z")),
        axon("unable", done, ("y",)),
        role="worker",
    )
    orchestrator = await start()
    pathway = await orchestrator.dispatch(neuron="half", input={})
    await neuron.running.wait()
    await offered(orchestrator, capabilities=["x", "y"])
    await bids.until(2)
    assert [(bid.directed and bid.directed.id, bid.payload) for bid in bids] == [
        ("half", {"cost": 0.5}),
        ("idle", {"cost": 0.0}),
    ]
    neuron.may_answer.set()
    await pathway.wait()


@pytest.mark.clause("P-7.2")
async def test_who_has_no_room_does_not_bid(start: Start, bids: Bids) -> None:
    neuron = Stuck()
    await start(axon("full", neuron, max_concurrency=1, max_backlog=0), role="worker")
    orchestrator = await start()
    pathway = await orchestrator.dispatch(neuron="full", input={})
    await neuron.running.wait()
    await offered(orchestrator)
    assert bids == []
    neuron.may_answer.set()
    await pathway.wait()


@pytest.mark.clause("P-7.2")
async def test_nobody_bids_by_itself_for_work_that_needs_nothing(start: Start, bids: Bids) -> None:
    await start(axon("a"), role="worker")
    asked: asyncio.Queue[Signal] = asyncio.Queue()
    other = await start(axon("b"), role="worker")
    other.on_task_offer(asked.put_nowait)
    orchestrator = await start()
    offer = Signal.new(SignalType.TASK_OFFER, {"input": {}})
    await orchestrator.emit(offer)
    assert (await asked.get()).id == offer.id
    assert bids == []


@pytest.mark.clause("P-3.12", "P-7.4")
async def test_an_offer_that_comes_twice_is_bid_for_once(start: Start, synapse: MemorySynapse) -> None:
    # Without an inbox to answer to, everybody hears it.
    bids: asyncio.Queue[Signal] = asyncio.Queue()
    await synapse.subscribe("cosmonapse.test.BID", lambda frame: bids.put_nowait(decode(frame)))
    await start(axon("a"), role="worker")
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


async def test_a_dendrite_without_neurons_does_not_listen_to_offers(
    start: Start, patterns: Callable[[], set[str]], bids: Bids
) -> None:
    subject = "cosmonapse.test.TASK_OFFER"
    worker = await start(role="worker")
    orchestrator = await start()
    assert subject not in patterns()
    await worker.add_axon(axon("a"))
    await worker.add_axon(axon("b"))
    assert subject in patterns()
    await worker.detach_axon("a")
    await offered(orchestrator)
    await bids.until(1)
    assert bids.neurons == ["b"]
    await worker.detach_axon("b")
    assert subject not in patterns()
    await worker.add_axon(axon("a"))
    assert subject in patterns()
    await worker.stop()
    assert subject not in patterns()


async def test_a_bid_that_a_middleware_drops_is_not_open(start: Start) -> None:
    worker = await start(axon("a"), role="worker", plugins=dropping("outbound", SignalType.BID))
    orchestrator = await start()
    await offered(orchestrator)
    assert len(worker._bidder._bids) == 0
    with pytest.raises(RejectedError):
        await worker.bid(Signal.new(SignalType.TASK_OFFER, {"input": {}}), cost=1)


@pytest.mark.clause("P-7.14")
async def test_who_has_too_many_open_bids_makes_no_more(
    start: Start, monkeypatch: pytest.MonkeyPatch, bids: Bids, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("cosmo_core.dendrite.open_bids.MAX_OPEN_BIDS", 1)
    worker = await start(axon("a"), axon("b"), role="worker")
    orchestrator = await start()
    await offered(orchestrator)
    await bids.until(1)
    assert bids.neurons == ["a"]
    assert "1 bids are open already" in caplog.text
    assert len(worker._bidder._bids) == 0


# --- a handler decides ------------------------------------------------------------------------------


@pytest.mark.clause("P-7.2")
async def test_a_handler_decides_in_place_of_automatic_bids(start: Start, bids: Bids) -> None:
    worker = await start(axon("a"), axon("b"), role="worker")

    @worker.on_task_offer
    async def decide(offer: Signal) -> None:
        if offer.payload["input"]["n"] == 1:
            bid = await worker.bid(offer, neuron="b", cost=7, eta_ms=3, confidence=0.5)
            assert bid.payload == {"cost": 7, "eta_ms": 3, "confidence": 0.5}

    orchestrator = await start()
    await offered(orchestrator, input={"n": 0})
    await offered(orchestrator, input={"n": 1})
    await bids.until(1)
    assert bids.neurons == ["b"]
    with pytest.raises(ValueError, match="decides on offers already"):
        worker.on_task_offer(decide)


async def test_a_bid_without_a_name_is_that_of_the_least_busy(start: Start, bids: Bids) -> None:
    neuron = Stuck()
    worker = await start(axon("a", neuron), axon("b"), axon("c", capabilities=()), role="worker")

    @worker.on_task_offer
    async def decide(offer: Signal) -> None:
        await worker.bid(offer, cost=1)

    orchestrator = await start()
    pathway = await orchestrator.dispatch(neuron="a", input={})
    await neuron.running.wait()
    await offered(orchestrator)
    await bids.until(1)
    assert bids.neurons == ["b"]
    neuron.may_answer.set()
    await pathway.wait()


async def test_a_handler_that_raises_is_logged_and_asked_again(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    worker = await start(axon("a"), role="worker")
    offers: list[Signal] = []

    @worker.on_task_offer
    def decide(offer: Signal) -> None:
        offers.append(offer)
        raise ZeroDivisionError

    orchestrator = await start()
    for _ in range(2):
        await offered(orchestrator, 5)
    assert [f"the handler of offers failed on {offer.id}" in caplog.text for offer in offers] == [True, True]


@pytest.mark.parametrize("deadline_ms", [1, None])
async def test_a_handler_has_as_long_as_bids_are_taken(
    start: Start,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    deadline_ms: int | None,
) -> None:
    monkeypatch.setattr(module, "LONGEST_DECISION_S", 0.001)
    worker = await start(axon("a"), role="worker")
    cancelled = asyncio.Event()

    @worker.on_task_offer
    async def ponder(offer: Signal) -> None:
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
    assert "longer" in caplog.text


async def test_handlers_are_bounded_and_end_with_their_dendrite(
    start: Start, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_DECIDING", 1)
    worker = await start(axon("a"), role="worker")
    asked, cancelled = asyncio.Event(), asyncio.Event()

    @worker.on_task_offer
    async def ponder(offer: Signal) -> None:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    orchestrator = await start()
    for _ in range(2):
        await orchestrator.emit(Signal.new(SignalType.TASK_OFFER, {"input": {}, "capabilities": ["x"]}))
    await asked.wait()
    assert "1 offers wait for their handler" in caplog.text
    await worker.stop()
    assert cancelled.is_set()


async def test_a_handler_may_stop_its_dendrite(start: Start) -> None:
    worker = await start(axon("a"), role="worker")
    stopped = asyncio.Event()

    @worker.on_task_offer
    async def stop(offer: Signal) -> None:
        await worker.stop()
        stopped.set()

    orchestrator = await start()
    await orchestrator.emit(Signal.new(SignalType.TASK_OFFER, {"input": {}, "capabilities": ["x"]}))
    await stopped.wait()


async def test_what_cannot_be_bid_is_refused(start: Start) -> None:
    worker = await start(axon("a"), axon("b", capabilities=("y",)), role="worker")
    offer = Signal.new(SignalType.TASK_OFFER, {"input": {}, "capabilities": ["x"]})
    with pytest.raises(ValueError, match="only a TASK_OFFER can be bid for, not a TASK"):
        await worker.bid(Signal.new(SignalType.TASK, {"input": {}}), cost=1)
    for name in ("b", "nobody"):
        with pytest.raises(ValueError, match=rf"'{name}' hosted here cannot bid.*\['x'\]"):
            await worker.bid(offer, neuron=name, cost=1)
    with pytest.raises(MalformedSignalError, match="confidence"):
        await worker.bid(offer, cost=1, confidence=2)
    await worker.bid(offer, cost=1)
    with pytest.raises(ValueError, match=r"'a' has bid for .* already"):
        await worker.bid(offer, cost=2)
    await worker.stop()
    with pytest.raises(LifecycleError):
        await worker.bid(offer, cost=1)


# --- awards -----------------------------------------------------------------------------------------


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
    start: Start, bids: Bids
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
    await bids.until(2)
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
async def test_an_award_that_a_middleware_drops_is_answered(start: Start, directly: bool) -> None:
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


# --- what is open -----------------------------------------------------------------------------------


@pytest.mark.clause("P-7.13")
async def test_bids_are_kept_as_long_as_they_can_be_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cosmo_core.dendrite.open_bids.MAX_OPEN_BIDS", 2)
    monkeypatch.setattr("cosmo_core.dendrite.open_bids.BIDS_STAND_S", 10.0)
    clock = FakeClock()
    bids = OpenBids(clock.now)
    made = []
    for deadline_ms in (5_000, 1_000):
        payload: dict[str, Any] = {"input": {}, "deadline_ms": deadline_ms}
        offer = Signal.new(SignalType.TASK_OFFER, payload)
        bid = offer.reply(SignalType.BID, {"cost": 1}, directed=Directed("a"))
        bids.add(offer, bid, "a")
        made.append(bid)
    full = bids.full
    assert full
    with pytest.raises(ValueError, match="2 bids of this Dendrite are open"):
        bids.add(Signal.new(SignalType.TASK_OFFER, {"input": {}}), made[0], "a")
    await clock.advance(11.0 + MARGIN_S)
    assert bids.close(made[1].reply(SignalType.TASK_AWARDED, {"input": {}})) is None
    assert bids.close(made[0].reply(SignalType.TASK_AWARDED, {"input": {}})) == "a"
    assert len(bids) == 0
    bids.add(Signal.new(SignalType.TASK_OFFER, {"input": {}}), made[0], "a")
    await clock.advance(1_000.0)
    assert not bids.full
    bids.add(Signal.new(SignalType.TASK_OFFER, {"input": {}}), made[1], "a")
    assert bids.remove("unknown") is None
