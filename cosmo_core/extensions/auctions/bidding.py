"""Bidding: answers offers for the Neurons hosted here, and runs what they win."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cosmo_core.dendrite.dispatch.dispatcher import send_or_raise
from cosmo_core.dendrite.hosting.host import CLOSE_TIMEOUT_S
from cosmo_core.dendrite.hosting.seen_ids import RecentIds
from cosmo_core.errors import LifecycleError, RejectedError
from cosmo_core.extensions.auctions.open_bids import OpenBids
from cosmo_core.protocol.payloads import given
from cosmo_core.protocol.signal import Signal
from cosmo_core.protocol.signal_type import SignalType

if TYPE_CHECKING:
    from cosmo_core.contracts.axon import Axon
    from cosmo_core.contracts.synapse import Subscription
    from cosmo_core.dendrite.hosting.host import Host
    from cosmo_core.dendrite.hosting.reply_sender import Answers
    from cosmo_core.dendrite.transport.link import Link

MAX_DECIDING: Final = 1_000
"""How many offers a handler may think about at once; further ones get no bid."""

LONGEST_DECISION_S: Final = 60.0
"""For how long it may, where an offer does not say."""

OfferHandler = Callable[[Signal], Awaitable[None] | None]
OH = TypeVar("OH", bound=OfferHandler)

# What TASK_AWARDED and TASK have in common.
_WORK: Final = ("input", "context_ref", "finalize", "deadline_ms")

logger = logging.getLogger("cosmo_core.dendrite")


class Bidder:
    """Bids for one Dendrite.

    Args:
        link: The way to the bus.
        host: Runs what is won.
        answers: The way back to those who offer.
        name: What tells this Dendrite from others, and where awards come to.
        clock: Monotonic seconds.

    Attributes:
        handler: Decides on offers; a bid is made for every able Neuron where there is none.
        unbid: How many awards came for which no bid was open.
    """

    def __init__(
        self, link: Link, host: Host, answers: Answers, *, name: str, clock: Callable[[], float]
    ) -> None:
        self.handler: OfferHandler | None = None
        self.unbid = 0
        self._link = link
        self._host = host
        self._answers = answers
        self._name = name
        self._offers = RecentIds(clock)
        self._bids = OpenBids(clock)
        self._heard: list[Subscription] = []
        self._deciding: set[asyncio.Task[None]] = set()
        self._leaving = False
        # Axons come and go at the same time.
        self._turn = asyncio.Lock()

    # --- coming and going ---------------------------------------------------------------------------

    async def attend(self) -> None:
        """Listen to offers if there is a Neuron that could bid, and only then."""
        async with self._turn:
            wanted = not self._leaving and next(iter(self._host), None) is not None
            if wanted and not self._heard:
                await self._listen()
            elif not wanted:
                await self._stop_listening()

    async def _listen(self) -> None:
        everyone, listen = self._link.subjects.everyone, self._link.listen
        self._heard = [
            await listen(everyone(SignalType.TASK_OFFER), self._take_offer),
            # Other implementations of the protocol award and decline on everybody's subject.
            await listen(everyone(SignalType.TASK_AWARDED), self.take_award, refuse=self.refuse_award),
            await listen(everyone(SignalType.TASK_DECLINED), self.take_decline),
        ]

    async def leave(self) -> None:
        """Bid no more. What was bid for already can still be won, as long as its Neuron takes work."""
        self._leaving = True
        await self.attend()
        # A handler may be what stops the Dendrite: it cannot wait for itself.
        if deciding := self._deciding - {asyncio.current_task()}:
            for decision in deciding:
                decision.cancel()
            await asyncio.wait(deciding, timeout=CLOSE_TIMEOUT_S)

    async def _stop_listening(self) -> None:
        heard, self._heard = self._heard, []
        for subscription in heard:
            await self._link.end(subscription)

    # --- an offer arrives ---------------------------------------------------------------------------

    def _take_offer(self, offer: Signal) -> Awaitable[None] | None:
        capabilities = offer.payload.get("capabilities") or ()
        able = self._able(capabilities)
        if not able or self._leaving or not self._offers.add(offer.id):
            return None
        if self.handler is not None:
            self._decide(offer, self.handler)
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
        """Bid for an offer and return the BID; see `Bidding.bid`."""
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
        bid = offer.reply(SignalType.BID, terms, directed=axon.directed, meta={"dendrite": self._name})
        # Before it leaves: the award may be here before the sending is over.
        self._bids.add(offer, bid, axon.neuron_id)
        try:
            await send_or_raise(self._link, self._answers.subject(offer, bid.type), bid)
        except BaseException:
            self._bids.remove(bid.id)
            raise
        return bid

    # --- what becomes of it -------------------------------------------------------------------------

    def take_award(self, award: Signal) -> None:
        """Run the work of a TASK_AWARDED if it answers a bid made here, once."""
        neuron = self._won(award)
        if neuron is not None:
            self._host.take(neuron, _task(award))

    async def refuse_award(self, award: Signal, reason: str) -> None:
        """Answer an award that a middleware dropped."""
        if self._won(award) is not None:
            await self._answers.reject(_task(award), reason)

    def _won(self, award: Signal) -> str | None:
        neuron = self._bids.close(award, award.payload.get("winning_bid"))
        if neuron is None and self._is_mine(award):
            self.unbid += 1
        return neuron

    def _is_mine(self, award: Signal) -> bool:
        """Tell whether an award is for a Neuron here: what is on everybody's subject may be for others."""
        neuron = award.directed.id if award.directed is not None else None
        return any(axon.neuron_id == neuron for axon in self._host)

    def take_decline(self, decline: Signal) -> None:
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


class Bidding:
    """What a Dendrite can do about the offers of others."""

    _bidder: Bidder

    def on_task_offer(self, handler: OH) -> OH:
        """Have the decorated function, plain or async, decide on offers, in place of automatic bids.

        It gets each TASK_OFFER whose capabilities a Neuron hosted here has, and calls `bid` for it, or does
        not. It has as long as bids are taken. What it raises is logged, and no bid is made.

        Raises:
            ValueError: Another function decides already.
        """
        if self._bidder.handler is not None:
            raise ValueError(f"{self._bidder.handler!r} decides on offers already")
        self._bidder.handler = handler
        return handler

    async def bid(
        self,
        offer: Signal,
        *,
        cost: float,
        neuron: str | None = None,
        eta_ms: int | None = None,
        confidence: float | None = None,
    ) -> Signal:
        """Bid for an offer and return the BID. If it wins, the Neuron runs the work as it would a TASK.

        Args:
            offer: The TASK_OFFER.
            cost: What is asked, in whatever the bidders agree on.
            neuron: Which Neuron hosted here would do the work; by default the least busy one that can.
            eta_ms: In how many milliseconds it expects to be done.
            confidence: How sure it is of doing well, from 0 to 1.

        Raises:
            LifecycleError: The Dendrite does not run, or hosts no Neuron.
            RejectedError: A middleware of this Dendrite dropped the bid.
            ValueError: The Neuron cannot do it, or has bid for it already, or there are too many open bids.
            MalformedSignalError: A number is not what the protocol asks for.
            SynapseError: The Synapse could not take it.
        """
        terms = given(cost=cost, eta_ms=eta_ms, confidence=confidence)
        return await self._bidder.bid(offer, neuron, terms)
