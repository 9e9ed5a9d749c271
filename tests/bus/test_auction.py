"""Offering work: awards, refusals, and whoever comes next."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

import pytest

from cosmo_core import (
    Axon,
    Bid,
    Dendrite,
    Directed,
    LifecycleError,
    MalformedSignalError,
    NeuronError,
    NoBidError,
    Pathway,
    PathwayClosedError,
    RejectedError,
    RoleError,
    Signal,
    SignalType,
    SynapseClosedError,
    current_task,
    decode,
)
from cosmo_core.dendrite import auctions as module
from cosmo_core.dendrite.auction import Select
from cosmo_core.dendrite.lot import OfferPathway
from cosmo_core.dendrite.view import View
from cosmo_core.plugin import Dropped, Forward, PluginManager, hookimpl
from cosmo_core.testing import FakeClock, assert_valid_trace
from cosmo_core.testing.life_cycle import PRESENCE
from cosmo_synapse_memory import MemorySynapse

Start = Callable[..., Awaitable[Dendrite]]
Settled = Callable[[Dendrite], Awaitable[None]]
OFFER: dict[str, Any] = {"capabilities": ["x"], "input": {"n": 1}}


async def done(input: dict[str, Any], context: list[Any]) -> Any:
    return {"done": True}


async def broken(input: dict[str, Any], context: list[Any]) -> Any:
    raise NeuronError("cannot", code="BROKEN")


class Blocked:
    """A Neuron that answers when it may."""

    def __init__(self) -> None:
        self.running, self.may_answer, self.stopped = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def __call__(self, input: dict[str, Any], context: list[Any]) -> Any:
        self.running.set()
        try:
            await self.may_answer.wait()
        except asyncio.CancelledError:
            self.stopped.set()
            raise
        return {"done": True}


class Traffic(list[Signal]):
    """Everything but announcements, in the order it is sent."""

    def __init__(self) -> None:
        super().__init__()
        self._more = asyncio.Event()

    def take(self, frame: bytes) -> None:
        signal = decode(frame)
        if signal.type not in PRESENCE:
            self.append(signal)
            self._more.set()

    async def until(self, type: SignalType, count: int = 1) -> None:
        """Return when so many of a type were sent."""
        while len(to(self, type)) < count:
            self._more.clear()
            await self._more.wait()


def axon(name: str, neuron: Any = done) -> Axon:
    return Axon(neuron_id=name, neuron_fn=neuron, capabilities=["x"])


@pytest.fixture(autouse=True)
async def bounded() -> AsyncIterator[None]:
    async with asyncio.timeout(20):
        yield


@pytest.fixture
async def traffic(synapse: MemorySynapse) -> Traffic:
    traffic = Traffic()
    await synapse.subscribe("cosmonapse.test.>", traffic.take)
    return traffic


def to(traffic: Traffic, type: SignalType) -> list[str | None]:
    return [signal.directed.id if signal.directed else None for signal in traffic if signal.type is type]


async def bidding(start: Start, name: str, neuron: Any = done, **terms: Any) -> Dendrite:
    """Start a worker whose Neuron bids on these terms."""
    worker = await start(axon(name, neuron), role="worker", grace_s=0.01)

    @worker.on_task_offer
    async def decide(offer: Signal) -> None:
        await worker.bid(offer, **{"cost": 1, **terms})

    return worker


async def holding(start: Start, name: str, neuron: Any = done) -> tuple[Dendrite, asyncio.Queue[Signal]]:
    """Start a worker that bids for nothing by itself, and the offers it gets."""
    worker = await start(axon(name, neuron), role="worker")
    offers: asyncio.Queue[Signal] = asyncio.Queue()
    worker.on_task_offer(offers.put_nowait)
    return worker, offers


async def offer(
    orchestrator: Dendrite, traffic: Traffic, bids: int, select: Select = "lowest_cost", **options: Any
) -> Pathway:
    """Offer work, and end bidding as soon as so many have bid."""
    offering = asyncio.create_task(
        orchestrator.dispatch_offer(**OFFER, select=select, deadline_ms=60_000, **options)
    )
    await traffic.until(SignalType.BID, bids)
    end_bidding(orchestrator)
    return await offering


def end_bidding(orchestrator: Dendrite) -> None:
    for lot in list(orchestrator._auctions._open.values()):
        lot.end_bidding()


def nothing_left(orchestrator: Dendrite, *workers: Dendrite) -> None:
    assert orchestrator._auctions._open == {}
    assert orchestrator._followed._open == {}
    assert [len(worker._bidder._bids) for worker in workers] == [0] * len(workers)


# --- one winner -------------------------------------------------------------------------------------


@pytest.mark.clause("P-7.1", "P-7.6", "P-7.9")
async def test_one_bidder_gets_the_work_and_the_others_are_declined(
    start: Start, traffic: Traffic, settled: Settled
) -> None:
    workers = [await bidding(start, name) for name in "abc"]
    orchestrator = await start()
    async with await orchestrator.dispatch_offer(**OFFER) as pathway:
        answer = await pathway.wait()
    await settled(orchestrator)
    made, award = (
        next(s for s in traffic if s.type is t) for t in (SignalType.TASK_OFFER, SignalType.TASK_AWARDED)
    )
    winning = next(signal for signal in traffic if signal.type is SignalType.BID)
    assert answer.payload["output"] == {"done": True}
    assert answer.parent_id == award.id == pathway.task_id
    assert pathway.neuron == "a"
    assert award.parent_id == award.payload["winning_bid"] == winning.id
    assert award.payload["input"] == {"n": 1}
    assert winning.parent_id == made.id
    assert made.payload == {"input": {"n": 1}, "capabilities": ["x"], "deadline_ms": 250}
    assert to(traffic, SignalType.TASK_AWARDED) == ["a"]
    assert to(traffic, SignalType.TASK_DECLINED) == ["b", "c"]
    assert_valid_trace(traffic)
    nothing_left(orchestrator, *workers)
    assert cast("OfferPathway", pathway)._lot._timer is None


@pytest.mark.parametrize(
    ("select", "winner"),
    [
        ("lowest_cost", "b"),
        ("highest_confidence", "c"),
        (lambda bids: max(bids, key=lambda bid: bid.eta_ms), "a"),
    ],
)
async def test_the_bid_is_taken_that_select_says(
    start: Start, select: Any, winner: str, traffic: Traffic
) -> None:
    await bidding(start, "a", cost=2, eta_ms=9)
    await bidding(start, "b", cost=1, eta_ms=1, confidence=0.1)
    await bidding(start, "c", cost=3, eta_ms=2, confidence=0.2)
    orchestrator = await start()
    async with await offer(orchestrator, traffic, 3, select) as pathway:
        assert (await pathway.wait()).type is SignalType.AGENT_OUTPUT
        assert pathway.neuron == winner


async def test_a_function_that_selects_sees_the_bids_as_they_came(start: Start, traffic: Traffic) -> None:
    seen: list[list[Bid]] = []
    await bidding(start, "a", cost=2.5, eta_ms=9)
    await bidding(start, "b", cost=1, confidence=0.5)
    orchestrator = await start()

    def last(bids: list[Bid]) -> Bid:
        seen.append(bids)
        return bids[-1]

    async with await offer(orchestrator, traffic, 2, last) as pathway:
        await pathway.wait()
    [[one, two]] = seen
    assert (one.neuron, one.cost, one.eta_ms, one.confidence) == ("a", 2.5, 9, None)
    assert (two.neuron, two.cost, two.eta_ms, two.confidence) == ("b", 1, None, 0.5)


@pytest.mark.clause("P-7.4", "P-7.6")
async def test_replicas_bid_one_by_one_and_one_of_them_is_asked(start: Start, traffic: Traffic) -> None:
    ran: list[str] = []
    for name in ("one", "two"):

        async def note(input: dict[str, Any], context: list[Any], name: str = name) -> Any:
            ran.append(name)
            return {}

        await bidding(start, "same", note, cost=len(ran))
    orchestrator = await start()
    async with await offer(orchestrator, traffic, 2, lambda bids: bids[-1]) as p:
        await p.wait()
    assert ran == ["two"]
    assert to(traffic, SignalType.BID) == ["same", "same"]
    assert_valid_trace(traffic)


@pytest.mark.clause("P-7.6")
async def test_the_work_is_told_what_the_offer_says(start: Start, traffic: Traffic) -> None:
    fetched: list[str | None] = []

    async def fetch(ref: str | None) -> list[Any]:
        fetched.append(ref)
        return []

    async def who(input: dict[str, Any], context: list[Any]) -> Any:
        task = current_task()
        assert task is not None
        return {"id": task.id, "trace": task.trace_id, "late": task.time_left_s() == 0}

    await start(Axon(neuron_id="a", neuron_fn=who, capabilities=["x"], context_fetcher=fetch), role="worker")
    orchestrator = await start()
    root = Signal.new(SignalType.PLAN, {"steps": []})
    async with await orchestrator.dispatch_offer(
        **OFFER,
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
    made, _, award = traffic[:3]
    assert (made.parent_id, made.trace_id) == (root.id, root.trace_id)
    assert made.meta["tenant"] == award.meta["tenant"] == 7


async def test_the_pathway_sees_the_bids_and_the_stream(start: Start) -> None:
    async def stream(input: dict[str, Any], context: list[Any]) -> Any:
        yield "thinking"
        yield {"done": True}

    await bidding(start, "a", stream)
    orchestrator = await start()
    pathway = await orchestrator.dispatch_offer(**OFFER, finalize=True)
    types = [signal.type async for signal in pathway]
    assert types == [
        SignalType.BID,
        SignalType.THOUGHT_DELTA,
        SignalType.AGENT_OUTPUT,
        SignalType.FINAL,
    ]


async def test_a_dendrite_may_bid_for_its_own_offer(start: Start) -> None:
    both = await start(axon("a"))
    async with await both.dispatch_offer(**OFFER) as pathway:
        assert (await pathway.wait()).payload["output"] == {"done": True}
    nothing_left(both, both)


async def test_many_offers_at_once_keep_apart(start: Start) -> None:
    async def echo(input: dict[str, Any], context: list[Any]) -> Any:
        return input

    workers = [await start(axon(name, echo), role="worker") for name in "abc"]
    orchestrator = await start()
    trace = (await orchestrator.dispatch_task(neuron="a", input={})).trace_id

    async def ask(n: int) -> None:
        async with await orchestrator.dispatch_offer(
            capabilities=["x"], input={"n": n}, trace_id=trace if n % 2 else None
        ) as pathway:
            assert (await pathway.wait()).payload["output"] == {"n": n}

    await asyncio.gather(*map(ask, range(100)))
    await asyncio.gather(*(worker.stop() for worker in workers))
    nothing_left(orchestrator, *workers)


# --- no winner --------------------------------------------------------------------------------------


@pytest.mark.clause("P-7.11")
async def test_an_offer_that_nobody_bids_for_is_an_error_that_says_so(start: Start) -> None:
    await start(Axon(neuron_id="a", neuron_fn=done, capabilities=["y"]), role="worker")
    orchestrator = await start()
    with pytest.raises(NoBidError) as caught:
        await orchestrator.dispatch_offer(capabilities=["x", "y"], input={}, deadline_ms=5)
    assert str(caught.value) == "no Neuron bid for work that needs 'x' and 'y' within 0.005 s"
    assert isinstance(caught.value, TimeoutError)
    nothing_left(orchestrator)


@pytest.mark.clause("P-7.9", "P-7.11")
async def test_bids_of_which_none_is_taken_are_declined(
    start: Start, traffic: Traffic, settled: Settled
) -> None:
    workers = [await bidding(start, name) for name in "ab"]
    orchestrator = await start()
    with pytest.raises(NoBidError, match="none of 2 bids was taken"):
        await offer(orchestrator, traffic, 2, lambda _: None)
    await settled(orchestrator)
    assert to(traffic, SignalType.TASK_DECLINED) == ["a", "b"]
    nothing_left(orchestrator, *workers)


async def test_what_the_function_that_selects_raises_reaches_the_caller(
    start: Start, traffic: Traffic
) -> None:
    worker = await bidding(start, "a")
    orchestrator = await start()
    with pytest.raises(ZeroDivisionError):
        await offer(orchestrator, traffic, 1, lambda _: 1 / 0)  # type: ignore[arg-type,return-value]
    await worker.stop()
    nothing_left(orchestrator, worker)


async def test_what_it_raises_later_is_logged_and_the_failure_delivered(
    start: Start, caplog: pytest.LogCaptureFixture, traffic: Traffic
) -> None:
    await bidding(start, "a", broken)
    await bidding(start, "b")
    orchestrator = await start()

    def only_once(bids: list[Bid]) -> Bid:
        assert len(bids) == 2, "asked again"
        return bids[0]

    pathway = await offer(orchestrator, traffic, 2, only_once)
    assert (await pathway.wait()).payload["code"] == "BROKEN"
    assert "was not awarded again: asked again" in caplog.text


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
async def test_what_makes_no_sense_is_refused_before_anything_is_sent(
    start: Start, traffic: Traffic, options: dict[str, Any], error: type[Exception]
) -> None:
    orchestrator = await start()
    with pytest.raises(error):
        await orchestrator.dispatch_offer(**{**OFFER, **options})
    assert traffic == []
    nothing_left(orchestrator)


@pytest.mark.clause("P-10.2")
async def test_a_worker_may_not_offer(start: Start, traffic: Traffic) -> None:
    worker = await start(role="worker")
    with pytest.raises(RoleError):
        await worker.dispatch_offer(**OFFER)
    await worker.stop()
    orchestrator = await start()
    await orchestrator.stop()
    with pytest.raises(LifecycleError):
        await orchestrator.dispatch_offer(**OFFER)
    assert traffic == []


@pytest.mark.parametrize("dropped", [SignalType.TASK_OFFER, SignalType.TASK_AWARDED])
async def test_what_a_middleware_drops_reaches_the_caller(start: Start, dropped: SignalType) -> None:
    class Plugin:
        @hookimpl
        def cosmo_signal_middleware(self, direction: str) -> Any:
            async def drop(signal: Signal, forward: Forward) -> Signal | Dropped:
                return Dropped("no") if signal.type is dropped else await forward(signal)

            return drop if direction == "outbound" else None

    manager = PluginManager()
    manager.register(Plugin(), name="drop")
    worker = await bidding(start, "a")
    orchestrator = await start(plugins=manager)
    with pytest.raises(RejectedError, match=dropped.value):
        await orchestrator.dispatch_offer(**OFFER)
    nothing_left(orchestrator)
    await worker.stop()


async def test_an_award_that_is_answered_was_sent(start: Start) -> None:
    """However long a middleware takes to say so."""

    class Plugin:
        @hookimpl
        def cosmo_signal_middleware(self, direction: str) -> Any:
            async def linger(signal: Signal, forward: Forward) -> Signal | Dropped:
                result = await forward(signal)
                if signal.type is SignalType.TASK_AWARDED:
                    await asyncio.Event().wait()
                return result

            return linger if direction == "outbound" else None

    manager = PluginManager()
    manager.register(Plugin(), name="linger")
    await bidding(start, "a")
    orchestrator = await start(plugins=manager)
    async with await orchestrator.dispatch_offer(**OFFER) as pathway:
        assert (await pathway.wait()).payload["output"] == {"done": True}


# --- bids that count for nothing --------------------------------------------------------------------


@pytest.mark.clause("P-7.9")
async def test_late_bids_are_declined(start: Start, traffic: Traffic, settled: Settled) -> None:
    await bidding(start, "a")
    late, offers = await holding(start, "late")
    orchestrator = await start()
    async with await orchestrator.dispatch_offer(**OFFER) as pathway:
        await pathway.wait()
    await late.bid(await offers.get(), cost=0)
    await settled(orchestrator)
    assert to(traffic, SignalType.TASK_DECLINED) == ["late"]
    assert traffic[-1].payload["reason"] == "the bid came too late"
    assert_valid_trace(traffic)
    nothing_left(orchestrator, late)
    await orchestrator.stop()
    even_later = Signal.new(
        SignalType.BID, {"cost": 0}, parent_id=traffic[0].id, directed=Directed("a"), meta={"dendrite": "d"}
    )
    orchestrator._followed.receive(even_later)
    assert not orchestrator._followed._background


@pytest.mark.clause("P-7.9")
async def test_bids_after_the_deadline_are_declined_while_the_winner_works(
    start: Start, traffic: Traffic, settled: Settled
) -> None:
    neuron = Blocked()
    await bidding(start, "a", neuron)
    late, offers = await holding(start, "late")
    orchestrator = await start()
    async with await offer(orchestrator, traffic, 1) as pathway:
        await late.bid(await offers.get(), cost=0)
        await settled(orchestrator)
        assert to(traffic, SignalType.TASK_DECLINED) == ["late"]
        neuron.may_answer.set()
        await pathway.wait()


@pytest.mark.clause("P-7.9")
async def test_who_cannot_be_declined_keeps_nobody_else_from_being_told(
    start: Start, traffic: Traffic, settled: Settled, caplog: pytest.LogCaptureFixture
) -> None:
    class Plugin:
        @hookimpl
        def cosmo_signal_middleware(self, direction: str) -> Any:
            async def stumble(signal: Signal, forward: Forward) -> Signal | Dropped:
                if signal.type is SignalType.TASK_DECLINED and signal.directed == Directed("b"):
                    raise ZeroDivisionError
                return await forward(signal)

            return stumble if direction == "outbound" else None

    manager = PluginManager()
    manager.register(Plugin(), name="stumble")
    for name in "abc":
        await bidding(start, name)
    orchestrator = await start(plugins=manager)
    for _ in range(2):
        async with await orchestrator.dispatch_offer(**OFFER) as pathway:
            await pathway.wait()
        await settled(orchestrator)
    assert to(traffic, SignalType.TASK_DECLINED) == ["c", "c"]
    assert caplog.text.count("could not be declined") == 2


async def test_settled_offers_are_forgotten_in_the_end(
    start: Start, monkeypatch: pytest.MonkeyPatch, traffic: Traffic
) -> None:
    monkeypatch.setattr(module, "MAX_SETTLED", 2)
    clock = FakeClock()
    await bidding(start, "a")
    late, offers = await holding(start, "late")
    orchestrator = await start(clock=clock)
    for _ in range(3):
        async with await orchestrator.dispatch_offer(**OFFER) as pathway:
            await pathway.wait()
    assert len(orchestrator._auctions._settled) == 2
    await late.bid(await offers.get(), cost=0)
    await clock.advance(module.SETTLED_S)
    await late.bid(await offers.get(), cost=0)
    assert to(traffic, SignalType.TASK_DECLINED) == []


@pytest.mark.clause("P-7.3")
async def test_bids_that_belong_to_nothing_are_ignored(start: Start, synapse: MemorySynapse) -> None:
    worker, offers = await holding(start, "a")
    orchestrator = await start()
    offering = asyncio.create_task(orchestrator.dispatch_offer(**OFFER, deadline_ms=60_000))
    made = await offers.get()
    host = {"dendrite": "h"}
    bids = [
        Signal.new(SignalType.BID, {"cost": 0}, trace_id=made.trace_id, directed=Directed("a"), meta=host),
        made.reply(SignalType.BID, {"cost": 0}, meta=host),
        made.reply(SignalType.BID, {"cost": 0}, directed=Directed("a")),
        made.reply(SignalType.BID, {"cost": 0}, directed=Directed("a"), meta={"dendrite": "not a token"}),
    ]
    for bid in bids:
        await worker._link.send(worker._link.subjects.inbox(SignalType.BID, made.meta["reply_to"]), bid)
    end_bidding(orchestrator)
    with pytest.raises(NoBidError, match="no Neuron bid"):
        await offering


@pytest.mark.clause("P-3.12", "P-7.4")
async def test_a_bid_that_comes_twice_counts_once(start: Start, traffic: Traffic) -> None:
    worker, offers = await holding(start, "a")
    other = await bidding(start, "b", cost=0)
    orchestrator = await start()
    offering = asyncio.create_task(offer(orchestrator, traffic, 3))
    made = await offers.get()
    bid = await worker.bid(made, cost=1)
    subject = worker._link.subjects.inbox(SignalType.BID, made.meta["reply_to"])
    await worker._link.send(subject, bid)
    async with await offering as pathway:
        await pathway.wait()
    await worker._link.send(subject, bid)
    await orchestrator.stop()
    assert to(traffic, SignalType.TASK_DECLINED) == ["a"]
    nothing_left(orchestrator, worker, other)


@pytest.mark.parametrize(
    ("type", "payload"),
    [
        (SignalType.AGENT_OUTPUT, {"output": {}}),
        (SignalType.ERROR, {"code": "X", "message": "", "recoverable": True}),
    ],
)
async def test_an_answer_to_an_offer_that_nobody_was_awarded_is_ignored(
    start: Start, type: SignalType, payload: dict[str, Any]
) -> None:
    worker, offers = await holding(start, "a")
    orchestrator = await start()
    offering = asyncio.create_task(orchestrator.dispatch_offer(**OFFER, deadline_ms=60_000))
    made = await offers.get()
    await orchestrator.emit(made.reply(type, payload))
    await worker.bid(made, cost=1)
    async with await offering as pathway:
        assert (await pathway.wait()).payload == {"output": {"done": True}}


async def test_a_final_ends_bidding_with_its_trace(start: Start, traffic: Traffic, settled: Settled) -> None:
    worker, offers = await holding(start, "a")
    orchestrator = await start()
    offering = asyncio.create_task(
        orchestrator.dispatch_offer(**OFFER, select="lowest_cost", deadline_ms=60_000)
    )
    made = await offers.get()
    await worker.bid(made, cost=1)
    await orchestrator.emit(Signal.new(SignalType.FINAL, {"result": 1}, trace_id=made.trace_id))
    with pytest.raises(PathwayClosedError):
        await offering
    await settled(orchestrator)
    assert to(traffic, SignalType.TASK_DECLINED) == ["a"]
    nothing_left(orchestrator, worker)


# --- the next best ----------------------------------------------------------------------------------


@pytest.mark.clause("P-7.10")
async def test_when_the_winner_fails_the_next_best_gets_the_work(
    start: Start, traffic: Traffic, settled: Settled
) -> None:
    async def stumbling(input: dict[str, Any], context: list[Any]) -> Any:
        yield "I think"
        raise NeuronError("cannot")

    workers = [
        await bidding(start, "third", cost=3),
        await bidding(start, "first", stumbling, cost=1),
        await bidding(start, "second", broken, cost=2),
        await bidding(start, "fourth", cost=4),
    ]
    orchestrator = await start()
    async with await offer(orchestrator, traffic, 4) as pathway:
        answer = await pathway.wait()
        assert answer.payload["output"] == {"done": True}
        assert (pathway.neuron, pathway.task_id) == ("third", answer.parent_id)
    types = [signal.type async for signal in pathway]
    assert types == [*[SignalType.BID] * 4, SignalType.THOUGHT_DELTA, SignalType.AGENT_OUTPUT]
    await settled(orchestrator)
    assert to(traffic, SignalType.TASK_AWARDED) == ["first", "second", "third"]
    assert to(traffic, SignalType.TASK_DECLINED) == ["fourth"]
    assert_valid_trace(traffic)
    nothing_left(orchestrator, *workers)


@pytest.mark.clause("P-7.11")
async def test_when_all_fail_the_last_error_arrives(start: Start, traffic: Traffic) -> None:
    await bidding(start, "a", broken, cost=1)
    await bidding(start, "b", broken, cost=2)
    orchestrator = await start()
    async with await offer(orchestrator, traffic, 2) as pathway:
        error = await pathway.wait()
    assert error.payload["code"] == "BROKEN"
    assert error.directed is not None
    assert error.directed.id == "b"
    assert pathway.closed
    nothing_left(orchestrator)


async def test_a_failed_first_bid_is_made_good_by_one_that_comes_in_time(
    start: Start, traffic: Traffic
) -> None:
    neuron = Blocked()

    async def fail(input: dict[str, Any], context: list[Any]) -> Any:
        await neuron(input, context)
        raise NeuronError("cannot")

    await bidding(start, "a", fail)
    slow, offers = await holding(start, "b")
    orchestrator = await start()
    async with await orchestrator.dispatch_offer(**OFFER, deadline_ms=10_000) as pathway:
        neuron.may_answer.set()
        await traffic.until(SignalType.ERROR)
        await slow.bid(await offers.get(), cost=1)
        assert (await pathway.wait()).payload["output"] == {"done": True}


async def test_a_failed_first_bid_is_told_when_no_other_comes_in_time(start: Start, traffic: Traffic) -> None:
    await bidding(start, "a", broken)
    orchestrator = await start()
    async with await orchestrator.dispatch_offer(**OFFER, deadline_ms=60_000) as pathway:
        await traffic.until(SignalType.ERROR)
        assert not pathway.closed
        end_bidding(orchestrator)
        assert (await pathway.wait()).payload["code"] == "BROKEN"


@pytest.mark.clause("P-7.10")
async def test_when_the_winner_falls_silent_the_next_best_gets_the_work(
    start: Start, traffic: Traffic
) -> None:
    clock = FakeClock()
    dead, alive = Blocked(), Blocked()
    worker = await start(axon("dead", dead), role="worker", heartbeat_s=1, clock=FakeClock(), grace_s=0.01)
    other = await start(axon("alive", alive), role="worker", heartbeat_s=1, clock=clock)
    orchestrator = await start(heartbeat_s=1, clock=clock)
    alive.may_answer.set()
    async with await offer(
        orchestrator, traffic, 2, lambda bids: max(bids, key=lambda bid: bid.neuron)
    ) as pathway:
        await dead.running.wait()
        await clock.advance(4)
        assert (await pathway.wait()).payload["output"] == {"done": True}
        assert pathway.neuron == "alive"
    await dead.stopped.wait()
    assert_valid_trace(traffic)
    nothing_left(orchestrator, worker, other)


@pytest.mark.clause("P-5.12", "P-7.10", "P-7.11")
async def test_one_that_drains_is_gone_when_it_falls_silent() -> None:
    clock = FakeClock()
    gone: list[tuple[str, str]] = []
    view = View(clock.now, 10)
    view.departed = lambda *who: gone.append(who)

    def say(type: SignalType, neuron: str, **payload: Any) -> None:
        view.take(Signal.new(type, payload, directed=Directed(neuron), meta={"dendrite": "d"}))

    for neuron in "abc":
        say(SignalType.REGISTER, neuron, role="neuron", capabilities=[])
        say(SignalType.HEARTBEAT, neuron, status="draining")
    assert not view.records()
    assert not gone
    say(SignalType.REGISTER, "b", role="neuron", capabilities=[])
    say(SignalType.DEREGISTER, "c")
    assert gone == [("c", "d")]
    await clock.advance(25)
    say(SignalType.HEARTBEAT, "b", status="ok")
    await clock.advance(10)
    view.sweep()
    assert gone == [("c", "d"), ("a", "d")]


async def test_when_the_last_winner_deregisters_the_error_names_it(start: Start, traffic: Traffic) -> None:
    neuron = Blocked()
    worker = await bidding(start, "a", neuron)
    orchestrator = await start()
    async with await offer(orchestrator, traffic, 1) as pathway:
        await neuron.running.wait()
        [axon] = worker.axons
        await worker._presence.dismiss(axon, None)
        error = await pathway.wait()
    assert error.payload["code"] == "WORKER_LOST"
    assert "'a' left before it answered" in error.payload["message"]
    nothing_left(orchestrator)


async def test_a_winner_that_drains_may_finish(start: Start, traffic: Traffic) -> None:
    neuron = Blocked()
    worker = await start(axon("a", neuron), role="worker", grace_s=10)
    await bidding(start, "b", cost=9)
    orchestrator = await start()
    async with await offer(orchestrator, traffic, 2) as pathway:
        await neuron.running.wait()
        detaching = asyncio.create_task(worker.detach_axon("a"))
        await orchestrator._view.changed()
        assert [record.neuron_id for record in orchestrator.find_neurons()] == ["b"]
        neuron.may_answer.set()
        assert (await pathway.wait()).payload["output"] == {"done": True}
        await detaching
    assert to(traffic, SignalType.TASK_AWARDED) == ["a"]


async def test_a_winner_that_does_not_finish_draining_is_replaced(start: Start, traffic: Traffic) -> None:
    neuron = Blocked()
    worker = await bidding(start, "a", neuron)
    await bidding(start, "b", cost=9)
    orchestrator = await start()
    async with await offer(orchestrator, traffic, 2) as pathway:
        await neuron.running.wait()
        await worker.stop()
        assert (await pathway.wait()).payload["output"] == {"done": True}
        assert pathway.neuron == "b"


async def test_a_bidder_that_leaves_does_not_win(start: Start, traffic: Traffic) -> None:
    worker = await bidding(start, "a", cost=0)
    await bidding(start, "b", cost=1)
    orchestrator = await start()
    offering = asyncio.create_task(
        orchestrator.dispatch_offer(**OFFER, select="lowest_cost", deadline_ms=60_000)
    )
    await traffic.until(SignalType.BID, 2)
    await worker.stop()
    end_bidding(orchestrator)
    async with await offering as pathway:
        assert (await pathway.wait()).type is SignalType.AGENT_OUTPUT
    assert to(traffic, SignalType.TASK_AWARDED) == ["b"]


@pytest.mark.clause("P-7.13")
async def test_bids_that_stood_too_long_are_released(
    start: Start, monkeypatch: pytest.MonkeyPatch, traffic: Traffic
) -> None:
    monkeypatch.setattr("cosmo_core.dendrite.lot.BIDS_STAND_S", 0.001)
    neuron = Blocked()
    declined = asyncio.Event()
    await bidding(start, "a", neuron)
    loser = await bidding(start, "b", cost=9)
    orchestrator = await start()
    loser._followed.others[SignalType.TASK_DECLINED] = lambda _: declined.set()
    async with await offer(orchestrator, traffic, 1) as pathway:
        await declined.wait()
        neuron.may_answer.set()
        assert (await pathway.wait()).type is SignalType.AGENT_OUTPUT


# --- the end of it ----------------------------------------------------------------------------------


@pytest.mark.clause("P-7.10")
async def test_a_stopped_trace_is_not_awarded_again(start: Start, traffic: Traffic) -> None:
    neuron = Blocked()
    await bidding(start, "a", neuron)
    await bidding(start, "b", cost=9)
    orchestrator = await start()
    async with await offer(orchestrator, traffic, 2) as pathway:
        await neuron.running.wait()
        await orchestrator.stop_trace(pathway.trace_id)
        assert (await pathway.wait()).payload["code"] == "CANCELLED"
    await orchestrator.stop()
    assert to(traffic, SignalType.TASK_AWARDED) == ["a"]
    assert to(traffic, SignalType.TASK_DECLINED) == ["b"]


@pytest.mark.clause("P-7.12", "P-9.1")
async def test_closing_the_pathway_stops_the_work(start: Start, traffic: Traffic) -> None:
    neuron = Blocked()
    workers = [await bidding(start, "a", neuron), await bidding(start, "b", cost=9)]
    orchestrator = await start()
    async with await offer(orchestrator, traffic, 2) as pathway:
        await neuron.running.wait()
        task_id = pathway.task_id
    await neuron.stopped.wait()
    [stop] = [signal for signal in traffic if signal.type is SignalType.STOP]
    assert stop.parent_id == task_id
    await orchestrator.stop()
    assert to(traffic, SignalType.TASK_DECLINED) == ["b"]
    assert to(traffic, SignalType.TASK_AWARDED) == ["a"]
    nothing_left(orchestrator, *workers)


async def test_closing_an_answered_pathway_stops_nothing(start: Start, traffic: Traffic) -> None:
    await bidding(start, "a")
    orchestrator = await start()
    async with await orchestrator.dispatch_offer(**OFFER) as pathway:
        await pathway.wait()
    await orchestrator.stop()
    assert to(traffic, SignalType.STOP) == []


async def test_who_forgets_the_pathway_lets_the_work_go_on(
    start: Start, traffic: Traffic, settled: Settled
) -> None:
    neuron = Blocked()
    await bidding(start, "a", neuron)
    loser = await bidding(start, "b", cost=9)
    orchestrator = await start()
    await offer(orchestrator, traffic, 2)
    await neuron.running.wait()
    gc.collect()
    await traffic.until(SignalType.TASK_DECLINED)
    await settled(orchestrator)
    assert to(traffic, SignalType.TASK_DECLINED) == ["b"]
    assert to(traffic, SignalType.STOP) == []
    nothing_left(orchestrator, loser)
    neuron.may_answer.set()


async def test_a_cancelled_caller_leaves_nothing(start: Start, traffic: Traffic) -> None:
    worker, offers = await holding(start, "a")
    orchestrator = await start()
    offering = asyncio.create_task(
        orchestrator.dispatch_offer(**OFFER, select="lowest_cost", deadline_ms=60_000)
    )
    await worker.bid(await offers.get(), cost=1)
    offering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await offering
    await orchestrator.stop()
    assert to(traffic, SignalType.TASK_DECLINED) == ["a"]
    nothing_left(orchestrator, worker)


async def test_an_offer_ends_with_its_dendrite(start: Start, traffic: Traffic) -> None:
    worker, offers = await holding(start, "a")
    orchestrator = await start()
    offering = asyncio.create_task(
        orchestrator.dispatch_offer(**OFFER, select="lowest_cost", deadline_ms=60_000)
    )
    await worker.bid(await offers.get(), cost=1)
    await orchestrator.stop()
    with pytest.raises(PathwayClosedError, match="before its work was awarded"):
        await offering
    assert to(traffic, SignalType.TASK_DECLINED) == ["a"]
    nothing_left(orchestrator, worker)


async def test_a_bus_that_goes_is_an_error_and_nothing_is_left(
    start: Start, synapse: MemorySynapse, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    orchestrator = await start()
    await synapse.close()
    with pytest.raises(SynapseClosedError):
        await orchestrator.dispatch_offer(**OFFER)
    nothing_left(orchestrator)
