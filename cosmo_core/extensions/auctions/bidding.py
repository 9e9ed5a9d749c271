"""Bidding for the offers of other Dendrites, and running the work that is won."""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final

import attrs

from cosmo_core.contracts.axon import Axon
from cosmo_core.contracts.boundary import logged_failures, logger
from cosmo_core.contracts.delivery import Subscription
from cosmo_core.contracts.options import OfferHandler
from cosmo_core.contracts.task_context import outside_task
from cosmo_core.dendrite.extension import Ports
from cosmo_core.errors import LifecycleError, MalformedSignalError, RejectedError
from cosmo_core.extensions.auctions.auction import BIDS_STAND_S
from cosmo_core.protocol.ids import SeenIds
from cosmo_core.protocol.signal import Signal, check_signal
from cosmo_core.protocol.signal_type import SignalType

MAX_DECIDING: Final = 1_000
"""The number of offers that a handler may decide on at once; further ones get no bid."""

LONGEST_DECISION_S: Final = 60.0
"""Seconds that a handler may take if the offer has no deadline."""

CANCEL_TIMEOUT_S: Final = 5.0
"""Seconds that a cancelled handler may take to clean up."""

# The payload keys that TASK_AWARDED and TASK share.
_WORK: Final = ("input", "context_ref", "finalize", "deadline_ms")


MAX_OPEN_BIDS: Final = 10_000
"""The number of open bids; beyond it this Dendrite makes no bid."""

MARGIN_S: Final = 60.0
"""Seconds for which a bid is stored after it can win, for an award that is in transit."""


class Bidder:
    """Bids for the Neurons that one Dendrite hosts.

    Attributes:
        unbid_awards: The number of awards that arrived without an open bid.
    """

    def __init__(self, ports: Ports) -> None:
        self.unbid_awards = 0
        self._ports = ports
        self._neurons = ports.neurons
        self._handler: OfferHandler | None = None
        clock = ports.clock.now
        self._offers = SeenIds(clock)
        self._bids = OpenBids(clock)
        self._subscriptions: list[Subscription] = []
        self._deciding: set[asyncio.Task[None]] = set()
        self._draining = False
        # Axons are added and detached concurrently.
        self._lock = asyncio.Lock()

    # --- subscriptions ------------------------------------------------------------------------------

    async def update_subscriptions(self) -> None:
        """Subscribe to offers while there is a Neuron that could bid."""
        async with self._lock:
            wanted = not self._draining and next(iter(self._neurons), None) is not None
            if wanted and not self._subscriptions:
                await self._subscribe()
            elif not wanted:
                await self._unsubscribe()

    async def _subscribe(self) -> None:
        broadcast, listen = self._ports.subjects.broadcast, self._ports.listen
        self._subscriptions = await self._ports.listen_all(
            partial(listen, broadcast(SignalType.TASK_OFFER), self._receive_offer),
            # Other implementations of the protocol award and decline on the broadcast subject.
            partial(listen, broadcast(SignalType.TASK_AWARDED), self.receive_award, refuse=self.refuse_award),
            partial(listen, broadcast(SignalType.TASK_DECLINED), self.receive_decline),
        )

    async def drain(self) -> None:
        """Make no more bids. An open bid can still win, as long as its Neuron accepts work."""
        self._draining = True
        await self.update_subscriptions()
        # A handler may stop the Dendrite; it must not wait for itself.
        if deciding := self._deciding - {self._ports.life_cycle.stopper}:
            for decision in deciding:
                decision.cancel()
            await asyncio.wait(deciding, timeout=CANCEL_TIMEOUT_S)

    async def _unsubscribe(self) -> None:
        subscriptions, self._subscriptions = self._subscriptions, []
        await self._ports.unsubscribe(*subscriptions)

    def set_handler(self, handler: OfferHandler) -> None:
        """Let ``handler`` decide on offers, in place of automatic bids.

        Raises:
            ValueError: Another handler decides already.
        """
        if self._handler is not None:
            raise ValueError(f"another handler decides on offers already: {self._handler!r}")
        self._handler = handler

    # --- received offers ----------------------------------------------------------------------------

    def _receive_offer(self, offer: Signal) -> Awaitable[None] | None:
        capabilities = offer.payload.get("capabilities") or ()
        able = self._able(capabilities)
        if not able or self._draining or self._ports.was_stopped(offer) or not self._offers.add(offer.id):
            return None
        if self._handler is not None:
            self._decide(offer, self._handler)
            return None
        # Without capabilities it is unknown what the offer needs; only a handler can decide.
        return self._bid_for_all(offer, able) if capabilities else None

    def _able(self, capabilities: Sequence[str]) -> list[Axon]:
        wanted = set(capabilities)
        return [
            axon
            for axon in self._neurons
            if wanted.issubset(axon.capabilities) and self._neurons.can_accept(axon.neuron_id)
        ]

    async def _bid_for_all(self, offer: Signal, able: Sequence[Axon]) -> None:
        for axon in able:
            if self._bids.full:
                logger.warning("no bid for %s: %d bids are open already", offer.id, len(self._bids))
                return
            try:
                await self._send(offer, axon, {"cost": self._busyness(axon)})
            except RejectedError as error:
                logger.debug("no bid of Neuron %r for %s: %s", axon.neuron_id, offer.id, error)
            except Exception:
                logger.exception("Neuron %r could not bid for %s", axon.neuron_id, offer.id)

    def _busyness(self, axon: Axon) -> float:
        return self._neurons.load(axon.neuron_id) / axon.max_concurrency

    def _decide(self, offer: Signal, handler: OfferHandler) -> None:
        if len(self._deciding) >= MAX_DECIDING:
            logger.warning("no bid for %s: %d offers wait for their handler", offer.id, MAX_DECIDING)
            return
        decision = outside_task(asyncio.get_running_loop().create_task, _run_handler(handler, offer))
        self._deciding.add(decision)
        decision.add_done_callback(self._decided)

    def _decided(self, decision: asyncio.Task[None]) -> None:
        self._deciding.discard(decision)
        if not decision.cancelled():
            # Only one that ends the process. The event loop raises it, so it must not be logged as well.
            decision.exception()

    # --- sending bids -------------------------------------------------------------------------------

    async def bid(self, offer: Signal, neuron: str | None, terms: dict[str, Any]) -> Signal:
        """Bid for an offer and return the BID; see `Dendrite.bid`."""
        check_signal("offer", offer)
        if offer.type is not SignalType.TASK_OFFER:
            raise ValueError(f"only a TASK_OFFER can be bid for, not a {offer.type.value}")
        self._ports.life_cycle.check_thread()
        if self._draining or not self._subscriptions:
            raise LifecycleError(
                f"this Dendrite cannot bid for {offer.id}: it is not running, or hosts no Neuron"
            )
        capabilities = offer.payload.get("capabilities") or ()
        able = [axon for axon in self._able(capabilities) if neuron in {None, axon.neuron_id}]
        if not able:
            who = "no hosted Neuron can" if neuron is None else f"Neuron {neuron!r} cannot"
            raise ValueError(
                f"{who} bid for {offer.id}: it must be hosted here, have the capabilities"
                f" {list(capabilities)}, and not be full"
            )
        return await self._send(offer, min(able, key=self._busyness), terms)

    async def _send(self, offer: Signal, axon: Axon, terms: dict[str, Any]) -> Signal:
        bid = offer.reply(
            SignalType.BID, terms, directed=axon.directed, meta={"dendrite": self._ports.dendrite_id}
        )
        if not math.isfinite(terms["cost"]):
            raise MalformedSignalError("payload.cost", f"cost is a finite number, not {terms['cost']!r}")
        # Stored first: the award may arrive before the sending returns.
        self._bids.add(offer, bid, axon.neuron_id)
        try:
            await self._ports.send_or_raise(self._ports.reply_subject(offer, bid.type), bid)
        except BaseException:
            self._bids.remove(bid.id)
            raise
        return bid

    # --- received awards ----------------------------------------------------------------------------

    def receive_award(self, award: Signal) -> None:
        """Run the work of a TASK_AWARDED once, if it answers a bid of this Dendrite."""
        neuron = self._close_bid(award)
        if neuron is not None:
            self._neurons.run(neuron, _task(award))

    async def refuse_award(self, award: Signal, reason: str) -> None:
        """Answer an award that a middleware dropped."""
        if self._close_bid(award) is not None:
            await self._ports.reject(_task(award), reason)

    def _close_bid(self, award: Signal) -> str | None:
        neuron = self._bids.remove_answered(award, award.payload.get("winning_bid"))
        if neuron is None and self._is_for_hosted(award):
            self.unbid_awards += 1
        return neuron

    def _is_for_hosted(self, award: Signal) -> bool:
        """Tell whether an award is for a hosted Neuron; on the broadcast subject it may be for others."""
        neuron = award.directed.id if award.directed is not None else None
        return any(axon.neuron_id == neuron for axon in self._neurons)

    def receive_decline(self, decline: Signal) -> None:
        """Remove a bid that did not win."""
        self._bids.remove_answered(decline)


def _task(award: Signal) -> Signal:
    """Make the TASK for the work of an award."""
    return Signal(
        v=award.v,
        id=award.id,
        trace_id=award.trace_id,
        type=SignalType.TASK,
        ts=award.ts,
        payload={key: award.payload[key] for key in _WORK if key in award.payload},
        parent_id=award.parent_id,
        directed=award.directed,
        meta=award.meta,
    )


async def _run_handler(handler: OfferHandler, offer: Signal) -> None:
    deadline_ms = offer.payload.get("deadline_ms")
    time_s = LONGEST_DECISION_S if deadline_ms is None else deadline_ms / 1000
    with logged_failures("the handler of offers failed on %s", offer.id):
        try:
            async with asyncio.timeout(time_s):
                result = handler(offer)
                if inspect.isawaitable(result):
                    await result
        except TimeoutError:
            logger.warning(
                "the handler of offers did not decide on %s while bids are accepted: %s s", offer.id, time_s
            )


# --- open bids --------------------------------------------------------------------------------------


@attrs.frozen
class _OpenBid:
    offer: str
    neuron: str
    expires: float


class OpenBids:
    """The open bids of one Dendrite. A bid ends with its answer, or expires.

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
        """Whether the limit is reached; expired bids are removed first."""
        if len(self._bids) >= MAX_OPEN_BIDS:
            now = self._clock()
            for id in [id for id, bid in self._bids.items() if bid.expires <= now]:
                self.remove(id)
        return len(self._bids) >= MAX_OPEN_BIDS

    def add(self, offer: Signal, bid: Signal, neuron: str) -> None:
        """Store a bid.

        Raises:
            ValueError: The Neuron has bid for this offer already, or too many bids are open.
        """
        if (offer.id, neuron) in self._by_offer:
            raise ValueError(f"Neuron {neuron!r} has bid for {offer.id} already")
        if self.full:
            raise ValueError(f"{MAX_OPEN_BIDS} bids of this Dendrite are open; wait until some are answered")
        stands_s = (offer.payload.get("deadline_ms") or 0) / 1000 + BIDS_STAND_S + MARGIN_S
        self._bids[bid.id] = _OpenBid(offer.id, neuron, self._clock() + stands_s)
        self._by_offer[offer.id, neuron] = bid.id

    def remove(self, id: str) -> _OpenBid | None:
        """Remove and return a bid; None if it is not stored."""
        bid = self._bids.pop(id, None)
        if bid is not None:
            del self._by_offer[bid.offer, bid.neuron]
        return bid

    def remove_answered(self, answer: Signal, winning_bid: object = None) -> str | None:
        """Remove the bid that is answered, and return its Neuron; None if no such bid is open.

        The parent of an answer is the BID, or the TASK_OFFER together with the Neuron it is directed to.
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
