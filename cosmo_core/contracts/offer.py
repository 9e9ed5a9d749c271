"""Offers of work: the bids for them, and how one bid is selected."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal, TypeVar

import attrs

from cosmo_core.protocol.signal import Signal


@attrs.frozen
class Bid:
    """The bid of one Neuron for an offer.

    Attributes:
        id: The id of its BID Signal.
        neuron: The Neuron that would do the work.
        dendrite: The Dendrite that hosts it; replicas differ in this.
        cost: The price, in a unit that the bidders agree on.
        eta_ms: The expected time to completion, in milliseconds.
        confidence: The expected quality of the result, from 0 to 1.
    """

    id: str
    neuron: str
    dendrite: str
    cost: float
    eta_ms: int | None = None
    confidence: float | None = None


Choose = Callable[[list[Bid]], Bid | None]
Select = Literal["first_bid", "lowest_cost", "highest_confidence"] | Choose
"""The rule that selects a bid: one of three names, or a function of the bids in order of arrival.

Such a function returns one of the bids, or None to reject them all. It is called again, with the remaining
bids, when a winner fails.
"""

OfferHandler = Callable[[Signal], Awaitable[None] | None]
"""Decides on a TASK_OFFER: calls `Dendrite.bid`, or does not."""

OH = TypeVar("OH", bound=OfferHandler)
