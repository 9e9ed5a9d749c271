"""The auction of one offer: which bid is selected, as pure logic without bus and clock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from cosmo_core.contracts.boundary import as_exception, must_pass
from cosmo_core.contracts.options import Bid, Choose, Select
from cosmo_core.protocol.signal import Signal

MAX_BIDS: Final = 10_000
"""The number of bids that one offer accepts; further ones are declined."""

BIDS_STAND_S: Final = 600.0
"""Seconds after the end of bidding during which a bid may be selected because earlier winners failed."""

NOT_SELECTED: Final = "another bid was selected"
TOO_LATE: Final = "the bid arrived too late"
TOO_MANY: Final = f"the offer has {MAX_BIDS} bids already"
EXPIRED: Final = "the bid has expired"
BIDDER_LEFT: Final = "the bidder left"


def _first(bids: list[Bid]) -> Bid:
    return bids[0]


def _cheapest(bids: list[Bid]) -> Bid:
    return min(bids, key=lambda bid: bid.cost)


def _most_confident(bids: list[Bid]) -> Bid:
    # A bid without a confidence ranks below all others.
    return max(bids, key=lambda bid: -1.0 if bid.confidence is None else bid.confidence)


_RULES: Final[dict[str, Choose]] = {
    "first_bid": _first,
    "lowest_cost": _cheapest,
    "highest_confidence": _most_confident,
}


class AuctionActions(Protocol):
    """The effects of an auction, which its owner carries out on the bus."""

    def award(self, bid: Bid) -> None:
        """Award the work to a bidder."""

    def decline(self, bids: Sequence[Bid], reason: str) -> None:
        """Decline bids."""

    def end_without_winner(self, failure: Signal | None, error: Exception | None) -> None:
        """Handle that no bid is left, or none was selected.

        Args:
            failure: The ERROR of the last winner; None if there was no winner.
            error: The exception of the function that selects.
        """


class Auction:
    """Accepts bids, awards the work to one bidder at a time, and declines the others in the end.

    Bids stand until the auction closes: until the winner has answered, the next best bid may be needed.

    Args:
        select: The rule that selects a bid. ``"first_bid"`` selects as soon as a bid arrives, every other
            rule when bidding ends.
        actions: Carries out the decisions.

    Attributes:
        winner: The bid that has the work.
        closed: Whether the auction is over.
        failure: The ERROR of the last winner that failed.

    Raises:
        ValueError: The rule is unknown.
    """

    def __init__(self, select: Select, actions: AuctionActions) -> None:
        choose = _RULES.get(select) if isinstance(select, str) else select
        if choose is None:
            raise ValueError(f"select must be {', '.join(map(repr, _RULES))} or a function, not {select!r}")
        self.winner: Bid | None = None
        self.closed = False
        self.failure: Signal | None = None
        self._choose = choose
        self._actions = actions
        self._selects_first = select == "first_bid"
        self._bidding = True
        self._standing: list[Bid] = []
        self._bidders: set[tuple[str, str]] = set()

    @property
    def bids(self) -> int:
        """The number of bidders so far."""
        return len(self._bidders)

    # --- bids ---------------------------------------------------------------------------------------

    def add_bid(self, bid: Bid) -> None:
        """Accept or decline a bid. A second one of the same Neuron in the same Dendrite is ignored."""
        bidder = (bid.neuron, bid.dendrite)
        if bidder in self._bidders:
            return
        if len(self._bidders) >= MAX_BIDS:
            self._actions.decline([bid], TOO_MANY)
            return
        self._bidders.add(bidder)
        if not self._bidding:
            self._actions.decline([bid], TOO_LATE)
            return
        self._standing.append(bid)
        if self._selects_first and self.winner is None:
            self._select()

    def end_bidding(self) -> None:
        """Accept no more bids, and select one if the work is not awarded."""
        self._bidding = False
        if self.winner is None and not self.closed:
            self._select()

    def expire(self) -> None:
        """Decline the standing bids; they waited in case the winner fails."""
        self._decline_standing(EXPIRED)

    def _decline_standing(self, reason: str) -> None:
        standing, self._standing = self._standing, []
        if standing:
            self._actions.decline(standing, reason)

    # --- awards -------------------------------------------------------------------------------------

    def _select(self) -> None:
        error: Exception | None = None
        try:
            chosen = self._chosen()
        except BaseException as raised:
            if must_pass(raised):
                raise
            # It is passed to the caller who made the offer.
            chosen, error = None, as_exception(raised)
        if chosen is not None:
            self._standing.remove(chosen)
            self.winner = chosen
            self._actions.award(chosen)
            return
        self.close()
        self._actions.end_without_winner(self.failure, error)

    def _chosen(self) -> Bid | None:
        chosen = self._choose(list(self._standing)) if self._standing else None
        if chosen is not None and chosen not in self._standing:
            raise ValueError(f"the function that selects returned {chosen!r}, which is not one of the bids")
        return chosen

    def winner_failed(self, failure: Signal) -> None:
        """Award the work to the next best bid."""
        self.winner = None
        self.failure = failure
        # While bidding is open, the next bid may still arrive.
        if self._standing or not self._bidding:
            self._select()

    def remove_bidder(self, neuron: str, dendrite: str) -> None:
        """Remove and decline the standing bid of a bidder that left."""
        gone = [bid for bid in self._standing if (bid.neuron, bid.dendrite) == (neuron, dendrite)]
        for bid in gone:
            self._standing.remove(bid)
        if gone:
            self._actions.decline(gone, BIDDER_LEFT)

    def close(self) -> None:
        """End the auction: the winner has answered, or the work is not wanted any more."""
        self.closed = True
        self._bidding = False
        self._decline_standing(NOT_SELECTED)
