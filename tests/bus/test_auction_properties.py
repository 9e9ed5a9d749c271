"""Properties of an auction for arbitrary bids, outcomes and orders of events."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosmo_core import Axon, Bid, Dendrite, NeuronError, NoBidError, Signal, SignalType, decode
from cosmo_core.contracts.options import Select
from cosmo_core.extensions.auctions.auction import (
    BIDDER_LEFT,
    EXPIRED,
    NOT_SELECTED,
    TOO_LATE,
    TOO_MANY,
    Auction,
)
from cosmo_core.plugins import PluginManager
from cosmo_synapse_memory import MemorySynapse
from cosmo_testing import assert_valid_trace
from cosmo_testing.life_cycle import PRESENCE


def failure() -> Signal:
    return Signal.new(SignalType.ERROR, {"code": "NEURON_ERROR", "message": "no", "recoverable": True})


class RecordingActions:
    """Actions that record each award, decline and end."""

    def __init__(self) -> None:
        self.awards: list[Bid] = []
        self.declined: list[tuple[Bid, str]] = []
        self.ends: list[tuple[Signal | None, Exception | None]] = []

    def award(self, bid: Bid) -> None:
        self.awards.append(bid)

    def decline(self, bids: Sequence[Bid], reason: str) -> None:
        self.declined += [(bid, reason) for bid in bids]

    def end_without_winner(self, failure: Signal | None, error: Exception | None) -> None:
        self.ends.append((failure, error))


# --- rules, and a second implementation of them -----------------------------------------------------


def most_expensive(bids: list[Bid]) -> Bid:
    return max(bids, key=lambda bid: (bid.cost, bid.id))


def below_three(bids: list[Bid]) -> Bid | None:
    return next((bid for bid in bids if bid.cost < 3), None)


def _order(rule: Select, bids: list[Bid]) -> list[Bid]:
    """Return the bids that a rule accepts, best first, if no bidder leaves."""
    if rule == "lowest_cost":
        return sorted(bids, key=lambda bid: bid.cost)
    if rule == "highest_confidence":
        return sorted(bids, key=lambda bid: (bid.confidence is None, -(bid.confidence or 0)))
    if rule is below_three:
        return [bid for bid in bids if bid.cost < 3]
    return sorted(bids, key=lambda bid: (bid.cost, bid.id))[::-1] if rule is most_expensive else bids


RULES: list[Select] = ["first_bid", "lowest_cost", "highest_confidence", most_expensive, below_three]


@attrs.frozen
class Bidder:
    """A bid, whether it is in time, and the outcome of its work."""

    bid: Bid
    in_time: bool
    outcome: str


@st.composite
def bidders(draw: st.DrawFn) -> list[Bidder]:
    return [
        Bidder(
            Bid(
                f"bid{n}",
                f"neuron{n % 3}",
                f"dendrite{n}",
                draw(st.integers(0, 5)),
                confidence=draw(st.none() | st.sampled_from([0.0, 0.5, 1.0])),
            ),
            draw(st.booleans()),
            draw(st.sampled_from(["answers", "fails", "leaves"])),
        )
        for n in range(draw(st.integers(0, 6)))
    ]


class AuctionRun:
    """The events of one auction, in an order that Hypothesis chooses."""

    def __init__(self, bidders: list[Bidder], rule: Select) -> None:
        self.actions = RecordingActions()
        self.auction = Auction(rule, self.actions)
        self.rule = rule
        self.outcome = {bidder.bid.id: bidder.outcome for bidder in bidders}
        self.early = [bidder.bid for bidder in bidders if bidder.in_time]
        self.late = [bidder.bid for bidder in bidders if not bidder.in_time]
        self.deadline = False
        self.failures: list[Signal] = []
        # The bids that could win now, tracked independently of the auction.
        self.open_bids: list[Bid] = []

    def events(self) -> list[Callable[[], None]]:
        possible: list[Callable[[], None]] = []
        if self.early and not self.deadline:
            possible.append(self.place_early_bid)
        if not self.early and not self.deadline:
            possible.append(self.reach_deadline)
        if self.late and self.deadline:
            possible.append(lambda: self.auction.add_bid(self.late.pop(0)))
        if self.auction.winner is not None and not self.auction.closed:
            possible.append(self.finish_work)
        return possible

    def place_early_bid(self) -> None:
        bid = self.early.pop(0)
        if not self.auction.closed:
            self.open_bids.append(bid)
        self.apply(lambda: self.auction.add_bid(bid))

    def reach_deadline(self) -> None:
        self.deadline = True
        self.apply(self.auction.end_bidding)

    def finish_work(self) -> None:
        winner = self.auction.winner
        assert winner is not None
        if self.outcome[winner.id] == "answers":
            self.auction.close()
        else:
            self.failures.append(failure())
            self.apply(lambda: self.auction.winner_failed(self.failures[-1]))

    def apply(self, event: Callable[[], None]) -> None:
        """Apply an event and check the winner that it produced."""
        before, had_winner = len(self.actions.awards), self.auction.winner is not None
        event()
        awarded = self.actions.awards[before:]
        assert len(awarded) <= 1
        if awarded:
            # Only one award at a time: the previous winner has failed.
            assert not had_winner or self.outcome[self.actions.awards[before - 1].id] != "answers"
            assert awarded[0] == _order(self.rule, self.open_bids)[0] == self.auction.winner
            self.open_bids.remove(awarded[0])
        else:
            waiting = self.rule == "first_bid" or self.deadline
            settled = self.auction.closed or self.auction.winner is not None
            assert settled or not waiting or not _order(self.rule, self.open_bids)


@pytest.mark.clause("P-7.6", "P-7.9")
@settings(deadline=None)
@given(bidders(), st.sampled_from(RULES), st.data())
def test_auction_awards_one_at_a_time_in_select_order_and_notifies_each_bidder_once(
    bidders: list[Bidder], rule: Select, data: st.DataObject
) -> None:
    run = AuctionRun(bidders, rule)
    while possible := run.events():
        data.draw(st.sampled_from(possible), label="event")()
    actions = run.actions
    awarded = [bid.id for bid in actions.awards]
    declined = [bid.id for bid, _ in actions.declined]
    assert len(set(awarded)) == len(awarded)
    # Each bidder is notified once: awarded or declined.
    assert sorted(awarded + declined) == sorted(bidder.bid.id for bidder in bidders)
    assert {bid.id for bid, reason in actions.declined if reason == TOO_LATE} >= {
        bidder.bid.id for bidder in bidders if not bidder.in_time
    }
    succeeded = [id for id in awarded if run.outcome[id] == "answers"]
    assert len(succeeded) <= 1
    assert run.auction.closed
    if succeeded:
        assert succeeded == awarded[-1:]
        assert actions.ends == []
    else:
        # The last failure is the reported one.
        assert actions.ends == [(run.failures[-1] if awarded else None, None)]


@pytest.mark.clause("P-7.9")
@settings(deadline=None)
@given(bidders(), st.sampled_from(RULES), st.data())
def test_bidder_is_notified_at_most_once_for_any_order_of_events(
    bidders: list[Bidder], rule: Select, data: st.DataObject
) -> None:
    actions = RecordingActions()
    auction = Auction(rule, actions)
    all_bids = [bidder.bid for bidder in bidders]

    def fail() -> None:
        if auction.winner is not None and not auction.closed:
            auction.winner_failed(failure())

    def leave() -> None:
        bid = data.draw(st.sampled_from(all_bids))
        if bid != auction.winner:
            auction.remove_bidder(bid.neuron, bid.dendrite)

    events = [auction.end_bidding, auction.expire, auction.close, fail]
    if all_bids:
        events += [leave, lambda: auction.add_bid(data.draw(st.sampled_from(all_bids)))]
    for event in data.draw(st.lists(st.sampled_from(events), max_size=20)):
        event()
    auction.close()
    notified = [bid.id for bid in actions.awards] + [bid.id for bid, _ in actions.declined]
    assert len(set(notified)) == len(notified) == auction.bids
    assert len(actions.ends) <= 1


# --- single cases -----------------------------------------------------------------------------------

A, B = Bid("bid0", "a", "one", 1.0), Bid("bid1", "a", "two", 1.0)


def test_first_bid_rule_awards_next_bid_after_winner_failed() -> None:
    actions = RecordingActions()
    auction = Auction("first_bid", actions)
    auction.add_bid(A)
    auction.winner_failed(failure())
    assert actions.ends == []
    auction.add_bid(B)
    assert actions.awards == [A, B]


@pytest.mark.clause("P-7.13")
def test_expired_bids_are_declined_and_winner_keeps_work() -> None:
    actions = RecordingActions()
    auction = Auction("first_bid", actions)
    auction.add_bid(A)
    auction.add_bid(B)
    auction.expire()
    assert actions.declined == [(B, EXPIRED)]
    assert auction.winner == A


def test_withdrawn_bid_is_not_awarded() -> None:
    actions = RecordingActions()
    auction = Auction("lowest_cost", actions)
    auction.add_bid(A)
    auction.add_bid(B)
    auction.remove_bidder("a", "one")
    auction.end_bidding()
    assert actions.declined == [(A, BIDDER_LEFT)]
    assert actions.awards == [B]


@pytest.mark.clause("P-7.14")
def test_auction_declines_bids_beyond_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cosmo_core.extensions.auctions.auction.MAX_BIDS", 1)
    actions = RecordingActions()
    auction = Auction("first_bid", actions)
    auction.add_bid(A)
    auction.add_bid(B)
    assert actions.declined == [(B, TOO_MANY)]


@pytest.mark.clause("P-7.4")
def test_second_bid_of_same_neuron_is_ignored() -> None:
    actions = RecordingActions()
    auction = Auction("lowest_cost", actions)
    auction.add_bid(A)
    auction.add_bid(msgspec.structs.replace(A, id="bid9", cost=0.0))
    auction.end_bidding()
    auction.close()
    assert actions.awards == [A]
    assert actions.declined == []


@pytest.mark.parametrize(
    ("select", "error"),
    [(lambda bids: B, ValueError), (lambda bids: 1 / 0, ZeroDivisionError)],
)
def test_invalid_select_function_ends_auction(
    select: Callable[[list[Bid]], Any], error: type[Exception]
) -> None:
    actions = RecordingActions()
    auction = Auction(select, actions)
    auction.add_bid(A)
    auction.end_bidding()
    assert actions.declined == [(A, NOT_SELECTED)]
    [(failed, raised)] = actions.ends
    assert failed is None
    assert isinstance(raised, error)


def test_auction_rejects_unknown_rule() -> None:
    with pytest.raises(ValueError, match="'lowest_cost', 'highest_confidence' or a function, not 'cheapest'"):
        Auction("cheapest", RecordingActions())  # type: ignore[arg-type]


# --- on a bus ---------------------------------------------------------------------------------------

Terms = tuple[int, float | None, bool]
"""Cost, confidence, and whether the Neuron succeeds."""


async def _bid_and_work(terms: list[Terms], rule: Select) -> None:
    trace: list[Signal] = []
    ran: list[int] = []
    async with contextlib.AsyncExitStack() as stack:
        synapse = MemorySynapse()
        await synapse.connect()
        stack.push_async_callback(synapse.close)
        orchestrator = await stack.enter_async_context(Dendrite(synapse=synapse, plugins=PluginManager()))
        workers = [_worker(synapse, number, term, ran) for number, term in enumerate(terms)]
        for worker in workers:
            await stack.enter_async_context(worker)

        all_have_bid = asyncio.Event()

        def record(frame: bytes) -> None:
            signal = decode(frame)
            if signal.type not in PRESENCE:
                trace.append(signal)
                if len([bid for bid in trace if bid.type is SignalType.BID]) == len(terms):
                    all_have_bid.set()

        await synapse.subscribe("cosmonapse.default.>", record)
        expected = _order(
            rule, [Bid(f"bid{i}", f"n{i}", "", cost, None, sure) for i, (cost, sure, _) in enumerate(terms)]
        )
        order = [int(bid.neuron[1:]) for bid in expected]
        good = next((n for n in order if terms[n][2]), None)
        awarded = order if good is None else order[: order.index(good) + 1]
        await _offer(orchestrator, rule, all_have_bid, None if not order else good is not None)
        assert ran == awarded
        while background := orchestrator._pathways._background:
            await asyncio.wait(background)
        assert_valid_trace(trace)
        assert _addressees(trace, SignalType.TASK_AWARDED) == awarded
        losers = sorted(set(range(len(terms))) - set(awarded))
        assert sorted(_addressees(trace, SignalType.TASK_DECLINED)) == losers
        assert orchestrator._pathways._open.keys() <= {""}
        assert orchestrator.extension("auctions")._offers._open == {}
        assert [len(worker.extension("auctions")._bidder._bids) for worker in workers] == [0] * len(workers)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def _offer(
    orchestrator: Dendrite, rule: Select, all_have_bid: asyncio.Event, works: bool | None
) -> None:
    """Make an offer and end bidding after the last bid; ``works`` is the expected success, or None."""
    offering = asyncio.create_task(
        orchestrator.dispatch_offer(capabilities=["x"], input={}, select=rule, deadline_ms=60_000)
    )
    await all_have_bid.wait()
    for open_offer in list(orchestrator.extension("auctions")._offers._open.values()):
        open_offer.end_bidding()
    if works is None:
        with pytest.raises(NoBidError):
            await offering
        return
    async with await offering as pathway:
        answer = await pathway.wait(5)
    assert answer.type is (SignalType.AGENT_OUTPUT if works else SignalType.ERROR)


def _worker(synapse: MemorySynapse, number: int, terms: Terms, ran: list[int]) -> Dendrite:
    cost, sure, works = terms

    async def neuron(input: dict[str, Any], context: list[Any]) -> Any:
        ran.append(number)
        if not works:
            raise NeuronError("cannot")
        return {}

    worker = Dendrite(synapse=synapse, role="worker", plugins=PluginManager())
    worker.attach_axon(Axon(neuron_id=f"n{number}", neuron_fn=neuron, capabilities=["x"]))

    @worker.on_task_offer
    async def decide(offer: Signal) -> None:
        await worker.bid(offer, cost=cost, confidence=sure)

    return worker


def _addressees(trace: list[Signal], type: SignalType) -> list[int]:
    found = [signal.directed for signal in trace if signal.type is type]
    return [int(((directed and directed.id) or "")[1:]) for directed in found]


TERMS = st.lists(
    st.tuples(st.integers(0, 5), st.none() | st.sampled_from([0.0, 0.5, 1.0]), st.booleans()), max_size=5
)


@settings(max_examples=40, deadline=None)
@given(TERMS, st.sampled_from(RULES))
def test_work_is_done_on_bus_if_any_bidder_can_and_state_is_released(
    terms: list[Terms], rule: Select
) -> None:
    asyncio.run(_bid_and_work(terms, rule))
