"""The rules of one auction: which bid is selected, as pure logic without bus and clock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from cosmo_core.contracts.offer import Bid, Choose, Select
from cosmo_core.protocol.signal import Signal

MAX_BIDS: Final = 10_000
"""How many bids one offer takes; further ones are declined."""

BIDS_STAND_S: Final = 600.0
"""Seconds after the end of bidding during which a bid may be selected because earlier winners failed."""

LOST: Final = "another bid was taken"
LATE: Final = "the bid came too late"
CROWDED: Final = f"the offer has {MAX_BIDS} bids already"
EXPIRED: Final = "the bid stood too long"
GONE: Final = "the bidder left"


def _first(bids: list[Bid]) -> Bid:
    return bids[0]


def _cheapest(bids: list[Bid]) -> Bid:
    return min(bids, key=lambda bid: bid.cost)


def _surest(bids: list[Bid]) -> Bid:
    # Who does not say how sure it is comes after everyone who does.
    return max(bids, key=lambda bid: -1.0 if bid.confidence is None else bid.confidence)


_RULES: Final[dict[str, Choose]] = {
    "first_bid": _first,
    "lowest_cost": _cheapest,
    "highest_confidence": _surest,
}


class AuctionActions(Protocol):
    """What an auction has done by whoever can reach the bidders."""

    def award(self, bid: Bid) -> None:
        """Give the work to a bidder."""
        ...

    def decline(self, bids: Sequence[Bid], reason: str) -> None:
        """Tell bidders that they do not get it."""
        ...

    def end(self, failure: Signal | None, error: Exception | None) -> None:
        """Take note that nobody gets the work.

        Args:
            failure: How the last winner failed; None if there was none.
            error: What the function that chooses raised.
        """
        ...


class Auction:
    """Takes bids, awards the work to one bidder at a time, and declines the others in the end.

    Bids stand until the auction is settled: as long as the winner has not answered, the next best may be
    needed.

    Args:
        select: Which bid is taken. ``"first_bid"`` takes one as soon as it comes, everything else when
            bidding ends.
        actions: Does what the auction decides.

    Attributes:
        winner: Who has the work.
        closed: Whether it is over.
        failure: How the last winner failed, if one did.

    Raises:
        ValueError: There is no such rule.
    """

    def __init__(self, select: Select, actions: AuctionActions) -> None:
        choose = _RULES.get(select) if isinstance(select, str) else select
        if choose is None:
            raise ValueError(f"select is {', '.join(map(repr, _RULES))} or a function, not {select!r}")
        self.winner: Bid | None = None
        self.closed = False
        self.failure: Signal | None = None
        self._choose = choose
        self._actions = actions
        self._takes_first = select == "first_bid"
        self._bidding = True
        self._standing: list[Bid] = []
        self._bidders: set[tuple[str, str]] = set()

    @property
    def bids(self) -> int:
        """How many bidders there were."""
        return len(self._bidders)

    # --- bids ---------------------------------------------------------------------------------------

    def bid(self, bid: Bid) -> None:
        """Take a bid. A second one of the same Neuron in the same Dendrite is ignored."""
        bidder = (bid.neuron, bid.dendrite)
        if bidder in self._bidders:
            return
        if len(self._bidders) >= MAX_BIDS:
            self._actions.decline([bid], CROWDED)
            return
        self._bidders.add(bidder)
        if not self._bidding:
            self._actions.decline([bid], LATE)
            return
        self._standing.append(bid)
        if self._takes_first and self.winner is None:
            self._award()

    def end_bidding(self) -> None:
        """Take no more bids. Whoever wins, wins now."""
        self._bidding = False
        if self.winner is None and not self.closed:
            self._award()

    def expire(self) -> None:
        """Release those who wait for the winner to fail."""
        self._decline_standing(EXPIRED)

    def _decline_standing(self, reason: str) -> None:
        standing, self._standing = self._standing, []
        if standing:
            self._actions.decline(standing, reason)

    # --- awards -------------------------------------------------------------------------------------

    def _award(self) -> None:
        error: Exception | None = None
        try:
            chosen = self._next()
        except Exception as raised:  # noqa: BLE001 - whoever made the offer gets it
            chosen, error = None, raised
        if chosen is not None:
            self._standing.remove(chosen)
            self.winner = chosen
            self._actions.award(chosen)
            return
        self.close()
        self._actions.end(self.failure, error)

    def _next(self) -> Bid | None:
        chosen = self._choose(list(self._standing)) if self._standing else None
        if chosen is not None and chosen not in self._standing:
            raise ValueError(f"the function that selects returned {chosen!r}, which is none of the bids")
        return chosen

    def fail(self, failure: Signal) -> None:
        """Award the work to the next best, as the winner failed."""
        self.winner = None
        self.failure = failure
        # The next bid may still come, where the first one is taken.
        if self._standing or not self._bidding:
            self._award()

    def withdraw(self, neuron: str, dendrite: str) -> None:
        """Take back the bid of someone who is gone, and has not won."""
        gone = [bid for bid in self._standing if (bid.neuron, bid.dendrite) == (neuron, dendrite)]
        for bid in gone:
            self._standing.remove(bid)
        if gone:
            self._actions.decline(gone, GONE)

    def close(self) -> None:
        """End it: the winner has answered, or nobody wants the work done any more."""
        self.closed = True
        self._bidding = False
        self._decline_standing(LOST)
