"""Bidding for the offers of others, and running the work that is won."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import attrs

from cosmo_core.contracts.axon import Axon
from cosmo_core.contracts.delivery import Subscription
from cosmo_core.contracts.offer import OfferHandler
from cosmo_core.dendrite.extension import Ports
from cosmo_core.errors import LifecycleError, RejectedError
from cosmo_core.extensions.auctions.auction import BIDS_STAND_S
from cosmo_core.protocol.ids import SeenIds
from cosmo_core.protocol.signal import Signal
from cosmo_core.protocol.signal_type import SignalType

MAX_DECIDING: Final = 1_000
"""The number of offers that a handler may decide on at once; further ones get no bid."""

LONGEST_DECISION_S: Final = 60.0
"""Seconds that a handler may take, where an offer does not say."""

CANCEL_TIMEOUT_S: Final = 5.0
"""Seconds that a cancelled handler may take to clean up."""

# The payload keys that TASK_AWARDED and TASK share.
_WORK: Final = ("input", "context_ref", "finalize", "deadline_ms")

logger = logging.getLogger("cosmo_core.dendrite")

MAX_OPEN_BIDS: Final = 10_000
"""How many bids may be open. What was bid is kept, so there are no further ones beyond that."""

MARGIN_S: Final = 60.0
"""For how long a bid is kept after it can be taken no more, for an award that is on its way."""


class Bidder:
    """Bids for the Neurons that one Dendrite hosts.

    Attributes:
        unbid: The number of awards that came without an open bid.
    """

    def __init__(self, ports: Ports) -> None:
        self.unbid = 0
        self._ports = ports
        self._host = ports.neurons
        self._handler: OfferHandler | None = None
        clock = ports.clock.now
        self._offers = SeenIds(clock)
        self._bids = OpenBids(clock)
        self._heard: list[Subscription] = []
        self._deciding: set[asyncio.Task[None]] = set()
        self._leaving = False
        # Axons come and go at the same time.
        self._turn = asyncio.Lock()

    # --- coming and going ---------------------------------------------------------------------------

    async def update_subscriptions(self) -> None:
        """Listen to offers if there is a Neuron that could bid, and only then."""
        async with self._turn:
            wanted = not self._leaving and next(iter(self._host), None) is not None
            if wanted and not self._heard:
                await self._listen()
            elif not wanted:
                await self._stop_listening()

    async def _listen(self) -> None:
        broadcast, listen = self._ports.subjects.broadcast, self._ports.listen
        self._heard = [
            await listen(broadcast(SignalType.TASK_OFFER), self._receive_offer),
            # Other implementations of the protocol award and decline on the broadcast subject.
            await listen(broadcast(SignalType.TASK_AWARDED), self.receive_award, refuse=self.refuse_award),
            await listen(broadcast(SignalType.TASK_DECLINED), self.receive_decline),
        ]

    async def drain(self) -> None:
        """Bid no more. What was bid for already can still be won, as long as its Neuron takes work."""
        self._leaving = True
        await self.update_subscriptions()
        # A handler may be what stops the Dendrite: it cannot wait for itself.
        if deciding := self._deciding - {asyncio.current_task()}:
            for decision in deciding:
                decision.cancel()
            await asyncio.wait(deciding, timeout=CANCEL_TIMEOUT_S)

    async def _stop_listening(self) -> None:
        heard, self._heard = self._heard, []
        for subscription in heard:
            await self._ports.unsubscribe(subscription)

    def decide_with(self, handler: OfferHandler) -> None:
        """Let ``handler`` decide on offers, in place of automatic bids.

        Raises:
            ValueError: Another handler decides already.
        """
        if self._handler is not None:
            raise ValueError(f"{self._handler!r} decides on offers already")
        self._handler = handler

    # --- an offer arrives ---------------------------------------------------------------------------

    def _receive_offer(self, offer: Signal) -> Awaitable[None] | None:
        capabilities = offer.payload.get("capabilities") or ()
        able = self._able(capabilities)
        if not able or self._leaving or not self._offers.add(offer.id):
            return None
        if self._handler is not None:
            self._decide(offer, self._handler)
            return None
        # Nobody knows what an offer without capabilities needs: that takes a handler.
        return self._bid_for_all(offer, able) if capabilities else None

    def _able(self, capabilities: Sequence[str]) -> list[Axon]:
        wanted = set(capabilities)
        return [
            axon
            for axon in self._host
            if wanted.issubset(axon.capabilities) and self._host.has_room(axon.neuron_id)
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
        return self._host.load(axon.neuron_id) / axon.max_concurrency

    def _decide(self, offer: Signal, handler: OfferHandler) -> None:
        if len(self._deciding) >= MAX_DECIDING:
            logger.warning("no bid for %s: %d offers wait for their handler", offer.id, MAX_DECIDING)
            return
        decision = asyncio.get_running_loop().create_task(_ask(handler, offer))
        self._deciding.add(decision)
        decision.add_done_callback(self._deciding.discard)

    # --- a bid leaves -------------------------------------------------------------------------------

    async def bid(self, offer: Signal, neuron: str | None, terms: dict[str, Any]) -> Signal:
        """Bid for an offer and return the BID; see `Dendrite.bid`."""
        if offer.type is not SignalType.TASK_OFFER:
            raise ValueError(f"only a TASK_OFFER can be bid for, not a {offer.type.value}")
        if self._leaving or not self._heard:
            raise LifecycleError(
                f"this Dendrite cannot bid for {offer.id}: it does not run, or hosts no Neuron"
            )
        capabilities = offer.payload.get("capabilities") or ()
        able = [axon for axon in self._able(capabilities) if neuron in {None, axon.neuron_id}]
        if not able:
            who = "no Neuron" if neuron is None else repr(neuron)
            raise ValueError(
                f"{who} hosted here cannot bid for {offer.id}: that takes {list(capabilities)} and room"
            )
        return await self._send(offer, min(able, key=self._busyness), terms)

    async def _send(self, offer: Signal, axon: Axon, terms: dict[str, Any]) -> Signal:
        bid = offer.reply(
            SignalType.BID, terms, directed=axon.directed, meta={"dendrite": self._ports.dendrite_id}
        )
        # Before it leaves: the award may be here before the sending is over.
        self._bids.add(offer, bid, axon.neuron_id)
        try:
            await self._ports.send_or_raise(self._ports.reply_subject(offer, bid.type), bid)
        except BaseException:
            self._bids.remove(bid.id)
            raise
        return bid

    # --- what becomes of it -------------------------------------------------------------------------

    def receive_award(self, award: Signal) -> None:
        """Run the work of a TASK_AWARDED if it answers a bid made here, once."""
        neuron = self._won(award)
        if neuron is not None:
            self._host.run(neuron, _task(award))

    async def refuse_award(self, award: Signal, reason: str) -> None:
        """Answer an award that a middleware dropped."""
        if self._won(award) is not None:
            await self._ports.reject(_task(award), reason)

    def _won(self, award: Signal) -> str | None:
        neuron = self._bids.close(award, award.payload.get("winning_bid"))
        if neuron is None and self._is_mine(award):
            self.unbid += 1
        return neuron

    def _is_mine(self, award: Signal) -> bool:
        """Tell whether an award is for a Neuron here: what is on the broadcast subject may be for others."""
        neuron = award.directed.id if award.directed is not None else None
        return any(axon.neuron_id == neuron for axon in self._host)

    def receive_decline(self, decline: Signal) -> None:
        """Forget a bid that did not win."""
        self._bids.close(decline)


def _task(award: Signal) -> Signal:
    """Return the TASK that an award is."""
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


async def _ask(handler: OfferHandler, offer: Signal) -> None:
    deadline_ms = offer.payload.get("deadline_ms")
    time_s = LONGEST_DECISION_S if deadline_ms is None else deadline_ms / 1000
    try:
        async with asyncio.timeout(time_s):
            result = handler(offer)
            if inspect.isawaitable(result):
                await result
    except TimeoutError:
        logger.warning("the handler of offers took longer for %s than bids are taken: %s s", offer.id, time_s)
    except Exception:
        logger.exception("the handler of offers failed on %s", offer.id)


# --- open bids --------------------------------------------------------------------------------------


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
