"""The bids of one Dendrite that were neither taken nor declined yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import attrs

from cosmo_core.extensions.auctions.open_offer import BIDS_STAND_S
from cosmo_core.protocol.signal import Signal

MAX_OPEN_BIDS: Final = 10_000
"""How many bids may be open. What was bid is kept, so there are no further ones beyond that."""

MARGIN_S: Final = 60.0
"""For how long a bid is kept after it can be taken no more, for an award that is on its way."""


@attrs.frozen
class _OpenBid:
    offer: str
    neuron: str
    expires: float


class OpenBids:
    """Remembers what was bid, until it is answered or can be taken no more.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._bids: dict[str, _OpenBid] = {}
        self._by_offer: dict[tuple[str, str], str] = {}

    def __len__(self) -> int:
        return len(self._bids)

    @property
    def full(self) -> bool:
        """Whether there is no room for another bid."""
        if len(self._bids) >= MAX_OPEN_BIDS:
            now = self._clock()
            for id in [id for id, bid in self._bids.items() if bid.expires <= now]:
                self.remove(id)
        return len(self._bids) >= MAX_OPEN_BIDS

    def add(self, offer: Signal, bid: Signal, neuron: str) -> None:
        """Remember a bid.

        Raises:
            ValueError: The Neuron has bid for this offer already, or there is no room.
        """
        if (offer.id, neuron) in self._by_offer:
            raise ValueError(f"Neuron {neuron!r} has bid for {offer.id} already")
        if self.full:
            raise ValueError(f"{MAX_OPEN_BIDS} bids of this Dendrite are open; wait until some are answered")
        stands_s = (offer.payload.get("deadline_ms") or 0) / 1000 + BIDS_STAND_S + MARGIN_S
        self._bids[bid.id] = _OpenBid(offer.id, neuron, self._clock() + stands_s)
        self._by_offer[offer.id, neuron] = bid.id

    def remove(self, id: str) -> _OpenBid | None:
        """Forget a bid and return it, if it was still there."""
        bid = self._bids.pop(id, None)
        if bid is not None:
            del self._by_offer[bid.offer, bid.neuron]
        return bid

    def close(self, answer: Signal, winning_bid: object = None) -> str | None:
        """Forget the bid that is answered, and return its Neuron; None if no such bid is open.

        The parent of an answer is the BID; or the TASK_OFFER, and then the Neuron it is directed to counts.
        """
        neuron = answer.directed.id if answer.directed is not None else None
        id = answer.parent_id or ""
        if id not in self._bids:
            id = self._by_offer.get((id, neuron or ""), "")
        bid = self._bids.get(id)
        if bid is None or neuron not in {None, bid.neuron}:
            return None
        if isinstance(winning_bid, str) and winning_bid != id:
            return None
        self.remove(id)
        return bid.neuron if bid.expires > self._clock() else None
