"""The extension ``auctions``: offers work to bidders, and bids for the offers of others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cosmo_core.contracts.options import OH, OfferOptions, Select
from cosmo_core.contracts.pathway import Pathway
from cosmo_core.dendrite.dispatch.pathway_registry import Receive, Refuse
from cosmo_core.dendrite.extension import Extension, Ports
from cosmo_core.extensions.auctions.bidding import Bidder
from cosmo_core.extensions.auctions.offers import Offers
from cosmo_core.protocol.signal import Signal
from cosmo_core.protocol.signal_type import SignalType


class Auctions(Extension):
    """The auctions of one Dendrite; `Dendrite.dispatch_offer` and `Dendrite.bid` are the manual."""

    name = "auctions"

    def __init__(self, ports: Ports) -> None:
        super().__init__(ports)
        self._offers = Offers(ports)
        self._bidder = Bidder(ports)

    def receivers(self) -> Mapping[SignalType, Receive]:
        """Receive bids for its offers, and answers to its bids."""
        return {
            SignalType.BID: self._offers.receive_bid,
            SignalType.TASK_AWARDED: self._bidder.receive_award,
            SignalType.TASK_DECLINED: self._bidder.receive_decline,
        }

    def refusals(self) -> Mapping[SignalType, Refuse]:
        """Answer an award that a middleware dropped."""
        return {SignalType.TASK_AWARDED: self._bidder.refuse_award}

    def neuron_departed(self, neuron_id: str, dendrite_id: str) -> None:
        """Award the work of a bidder that departed to another one."""
        self._offers.neuron_departed(neuron_id, dendrite_id)

    def counters(self) -> Mapping[str, int]:
        """Count the awards that arrived without an open bid."""
        return {"unbid_awards": self._bidder.unbid_awards}

    async def neurons_changed(self) -> None:
        """Subscribe to offers while there is a Neuron that could bid."""
        await self._bidder.update_subscriptions()

    async def drain(self) -> None:
        """Make no more bids."""
        await self._bidder.drain()

    def close(self) -> None:
        """Accept no more bids."""
        self._offers.close()

    async def dispatch_offer(self, select: Select, deadline_ms: int, offer: OfferOptions) -> Pathway:
        """See `Dendrite.dispatch_offer`."""
        return await self._offers.offer(offer, select, deadline_ms)

    def on_task_offer(self, handler: OH) -> OH:
        """See `Dendrite.on_task_offer`."""
        self._bidder.set_handler(handler)
        return handler

    async def bid(self, offer: Signal, neuron: str | None, terms: dict[str, Any]) -> Signal:
        """See `Dendrite.bid`."""
        return await self._bidder.bid(offer, neuron, terms)
