"""Offers of work: sends the decisions of an auction, and follows the bidder that has the work."""

from __future__ import annotations

import asyncio
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from cosmo_core.contracts.boundary import logger
from cosmo_core.contracts.options import Bid, OfferOptions, Select, check_work, work_payload
from cosmo_core.contracts.pathway import Pathway
from cosmo_core.contracts.task_context import with_cause, within_task
from cosmo_core.dendrite.extension import Ports
from cosmo_core.errors import NoBidError, PathwayClosedError
from cosmo_core.extensions.auctions.auction import BIDS_STAND_S, TOO_LATE, Auction
from cosmo_core.protocol.ids import SeenIds, is_token
from cosmo_core.protocol.signal import Signal, address, deadline_ms
from cosmo_core.protocol.signal_type import ENDING_TYPES, TERMINAL_TYPES, SignalType

MAX_CLOSED: Final = 10_000
"""The number of closed offers that are stored, so that late bids for them are declined."""

CLOSED_S: Final = 120.0
"""Seconds for which a closed offer is stored."""

MAX_DECLINING: Final = 20_000
"""The number of TASK_DECLINED that may wait to be sent; further ones are not sent."""


class Offers:
    """The offers that one Dendrite made."""

    def __init__(self, ports: Ports) -> None:
        self.ports = ports
        self._clock = clock = ports.clock.now
        self._bids = SeenIds(clock)
        self._open: dict[str, OpenOffer] = {}
        self._closed_offers: OrderedDict[str, float] = OrderedDict()
        self._declining: deque[tuple[str, Signal]] = deque()
        self._sending = False
        self._closed = False

    def close(self) -> None:
        """Accept no more bids. An open offer ends with its Pathway."""
        self._closed = True

    # --- offering -----------------------------------------------------------------------------------

    async def offer(self, options: OfferOptions, select: Select, deadline_ms: int) -> Pathway:
        """Offer work and return the Pathway that follows its winner; see `Dendrite.dispatch_offer`."""
        self.ports.check_role(SignalType.TASK_OFFER)
        self.ports.check_dispatching()
        check_work("an offer", options, OfferOptions, ("select", "deadline_ms"))
        options, work = with_cause(options), work_payload(options)
        deadline_s = within_task(options.get("deadline_s"))
        open_offer = OpenOffer(self, self._task_offer(options, deadline_ms), work, select, deadline_s)
        pathway = open_offer.open_pathway(ENDING_TYPES if options.get("scope") == "terminal" else None)
        self._open[open_offer.offer.id] = open_offer
        try:
            subject = self.ports.subjects.broadcast(SignalType.TASK_OFFER)
            await self.ports.send_or_raise(subject, open_offer.offer)
            open_offer.start_bidding()
            await open_offer.awarded
        except BaseException:
            open_offer.awarded.cancel()
            pathway.close()
            raise
        return pathway

    def _task_offer(self, options: OfferOptions, deadline_ms: int) -> Signal:
        capabilities = list(options.get("capabilities") or ())
        if not capabilities:
            raise TypeError("an offer needs capabilities=[…], a list of names that is not empty")
        return Signal.new(
            SignalType.TASK_OFFER,
            {"input": options["input"], "capabilities": capabilities, "deadline_ms": deadline_ms},
            trace_id=options.get("trace_id"),
            parent_id=options.get("parent_id"),
            meta={**(options.get("meta") or {}), "reply_to": self.ports.dendrite_id},
        )

    async def send_to(self, dendrite: str, signal: Signal) -> None:
        """Send a Signal to one Dendrite. Raises as `send_or_raise` does."""
        await self.ports.send_or_raise(self.ports.subjects.inbox(signal.type, dendrite), signal)

    def close_offer(self, open_offer: OpenOffer) -> None:
        """Decline all bids for an offer from now on."""
        if self._open.pop(open_offer.offer.id, None) is None:
            return
        now = self._clock()
        self._closed_offers[open_offer.offer.id] = now + CLOSED_S
        while len(self._closed_offers) > MAX_CLOSED or next(iter(self._closed_offers.values())) <= now:
            self._closed_offers.popitem(last=False)

    # --- received Signals ---------------------------------------------------------------------------

    def receive_bid(self, signal: Signal) -> None:
        """Handle a BID from the inbox, if it is for an offer of this Dendrite."""
        offer = signal.parent_id or ""
        open_offer = self._open.get(offer)
        if self._closed or (open_offer is None and self._clock() >= self._closed_offers.get(offer, 0.0)):
            return
        bid = _read(signal)
        if bid is None or not self._bids.add(signal.id):
            return
        if open_offer is not None:
            open_offer.auction.add_bid(bid)
        else:
            self.decline(signal.trace_id, [bid], TOO_LATE)

    def neuron_departed(self, neuron: str, dendrite: str) -> None:
        """Award the work of a Neuron that departed to other bidders."""
        for open_offer in list(self._open.values()):
            open_offer.bidder_departed(neuron, dendrite)

    # --- declining ----------------------------------------------------------------------------------

    def decline(self, trace_id: str, bids: Sequence[Bid], reason: str) -> None:
        """Send TASK_DECLINED for bids, in the background."""
        for bid in bids[: MAX_DECLINING - len(self._declining)]:
            decline = Signal.new(
                SignalType.TASK_DECLINED,
                {"reason": reason},
                trace_id=trace_id,
                parent_id=bid.id,
                directed=address(bid.neuron),
            )
            self._declining.append((bid.dendrite, decline))
        if self._declining and not self._sending:
            self._sending = True
            self.ports.pathways.spawn(self._send_declines())

    async def _send_declines(self) -> None:
        try:
            while self._declining:
                dendrite, decline = self._declining.popleft()
                try:
                    await self.send_to(dendrite, decline)
                except Exception:
                    # The bus or a middleware failed; the other bidders still get theirs.
                    logger.exception("%s could not be declined", decline.parent_id)
        finally:
            self._sending = False


def _read(signal: Signal) -> Bid | None:
    """Return the bid in a BID; None if it does not say where to send an award."""
    neuron = signal.directed.id if signal.directed is not None else None
    dendrite, payload = signal.meta.get("dendrite"), signal.payload
    if neuron is None or not isinstance(dendrite, str) or not is_token(dendrite):
        return None
    return Bid(signal.id, neuron, dendrite, payload["cost"], payload.get("eta_ms"), payload.get("confidence"))


# --- one offer --------------------------------------------------------------------------------------


class OfferPathway(Pathway):
    """Follows one offer: the bidder that has the work, and the next one when that fails.

    Closing it before the answer stops the work. An ERROR arrives only when no bid is left.
    """

    __slots__ = ("_only", "_open_offer")

    def __init__(self, offer: OpenOffer, offers: Offers, only: frozenset[SignalType] | None) -> None:
        # Until the award, the Pathway follows the offer itself.
        task_offer = offer.offer
        super().__init__(offers.ports.pathways, task_offer.trace_id, task_offer.id, "", offers.ports.buffer)
        self._open_offer = offer
        self._only = only

    def deliver(self, signal: Signal) -> None:
        """Add a received Signal, except an ERROR for which the next bidder gets the work."""
        if self.closed or (signal.type in TERMINAL_TYPES and self._open_offer.suppresses(signal)):
            return
        if self._only is None or signal.type in self._only:
            super().deliver(signal)

    def end(self) -> None:
        """Receive no more Signals, and close the offer."""
        if not self.closed:
            self._open_offer.cancel()
            super().end()

    def stop(self, reason: str) -> None:
        """Stop the work, if a bidder has it and it is not answered."""
        if self._open_offer.auction.winner is not None:
            super().stop(reason)

    def __del__(self) -> None:
        if not self.closed:
            self._open_offer.release()
        super().__del__()


class OpenOffer:
    """One offer: its auction, its time limits, and the Pathway that follows it.

    Args:
        offers: The offers of the Dendrite.
        offer: The TASK_OFFER.
        work: The payload of TASK_AWARDED.
        select: The rule that selects a bid.
        deadline_s: Seconds from now until the deadline of the answer; None without one.

    Attributes:
        awarded: A future that is done when the work was awarded for the first time, or cannot be.
    """

    def __init__(
        self,
        offers: Offers,
        offer: Signal,
        work: dict[str, Any],
        select: Select,
        deadline_s: float | None = None,
    ) -> None:
        self.offer = offer
        self.auction = Auction(select, self)
        self._loop = asyncio.get_running_loop()
        self.awarded: asyncio.Future[None] = self._loop.create_future()
        # A cancelled caller does not read the exception.
        self.awarded.add_done_callback(lambda opened: opened.cancelled() or opened.exception())
        self._offers = offers
        self._work = work
        self._deadline = None if deadline_s is None else self._loop.time() + deadline_s
        self._timer: asyncio.TimerHandle | None = None
        self._pathway: Callable[[], OfferPathway | None] = lambda: None

    def open_pathway(self, only: frozenset[SignalType] | None) -> OfferPathway:
        """Return the Pathway of this offer; only its caller references it."""
        pathway = OfferPathway(self, self._offers, only)
        pathway.finalized = "finalize" in self._work
        self._pathway = weakref.ref(pathway)
        self._offers.ports.pathways.add(pathway)
        return pathway

    # --- time ---------------------------------------------------------------------------------------

    def start_bidding(self) -> None:
        """Start the time limit for bids."""
        if not self.auction.closed:
            self._timer = self._loop.call_later(self._bidding_s, self.end_bidding)

    @property
    def _bidding_s(self) -> float:
        return float(self.offer.payload["deadline_ms"]) / 1000

    def end_bidding(self) -> None:
        """Accept no more bids; those that exist expire later."""
        self._stop_timer()
        self._timer = self._loop.call_later(BIDS_STAND_S, self.auction.expire)
        self.auction.end_bidding()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _close(self) -> None:
        self._stop_timer()
        self.auction.close()
        self._offers.close_offer(self)

    # --- AuctionActions -----------------------------------------------------------------------------

    def award(self, bid: Bid) -> None:
        """Send TASK_AWARDED to a bidder."""
        work = {**self._work, "winning_bid": bid.id}
        if self._deadline is not None:
            work["deadline_ms"] = deadline_ms(self._deadline - self._loop.time())
        award = Signal.new(
            SignalType.TASK_AWARDED,
            work,
            trace_id=self.offer.trace_id,
            parent_id=bid.id,
            directed=address(bid.neuron),
            meta=self.offer.meta,
        )
        pathway = self._pathway()
        if pathway is not None:
            pathway.neuron = bid.neuron
            self._offers.ports.pathways.change_task(pathway, award.id)
        self._offers.ports.pathways.spawn(self._send_award(bid, award))

    async def _send_award(self, bid: Bid, award: Signal) -> None:
        try:
            await self._offers.send_to(bid.dendrite, award)
        except Exception as error:  # noqa: BLE001 - it is passed to the caller
            if self.auction.winner is not bid:
                # It departed meanwhile, and another bidder may have the work.
                logger.warning(
                    "the award of %s to %r could not be sent: %s", self.offer.id, bid.neuron, error
                )
                return
            # The bus or a middleware failed: no other bidder can be reached either.
            self.end_without_winner(self.auction.failure, error)
        else:
            self._complete_award()

    def _complete_award(self, error: Exception | None = None) -> None:
        if self.awarded.done():
            return
        if error is None:
            self.awarded.set_result(None)
        else:
            self.awarded.set_exception(error)

    def decline(self, bids: Sequence[Bid], reason: str) -> None:
        """Send TASK_DECLINED to bidders."""
        self._offers.decline(self.offer.trace_id, bids, reason)

    def end_without_winner(self, failure: Signal | None, error: Exception | None) -> None:
        """Report to the waiting caller, or on the Pathway, that no bidder does the work."""
        self._close()
        if not self.awarded.done() and failure is None:
            capabilities = self.offer.payload["capabilities"]
            no_bid = NoBidError(capabilities, self._bidding_s, self.auction.bids)
            # Not `or`: an exception may have a truth value of its own.
            self._complete_award(no_bid if error is None else error)
            return
        if error is not None:
            logger.error(
                "%s could not be awarded to another bidder: %s", self.offer.id, error, exc_info=error
            )
        self._complete_award()
        pathway = self._pathway()
        if pathway is None:
            return
        if failure is None:
            pathway.end()
        else:
            pathway.deliver(failure)

    # --- answers and departures ---------------------------------------------------------------------

    def suppresses(self, answer: Signal) -> bool:
        """Tell whether an answer is kept from the Pathway, such as an ERROR that a further award follows."""
        auction = self.auction
        if auction.closed:
            return False
        if auction.winner is None:
            # The work is with no bidder, so it answers nothing; but FINAL ends the whole trace.
            return answer.type is not SignalType.FINAL
        if answer.type is not SignalType.ERROR or self._was_stopped(answer):
            self._close()
            self._complete_award()
            return False
        auction.winner_failed(answer)
        return True

    def _was_stopped(self, answer: Signal) -> bool:
        """Tell whether the work was stopped on request: a host that is still live cancels nothing itself."""
        winner = self.auction.winner
        return (
            answer.payload["code"] == "CANCELLED"
            and winner is not None
            and self._offers.ports.is_hosted(winner.neuron, winner.dendrite)
        )

    def bidder_departed(self, neuron: str, dendrite: str) -> None:
        """Remove a bidder that departed; if it had the work, award it to the next one."""
        winner, pathway = self.auction.winner, self._pathway()
        if winner is None or (winner.neuron, winner.dendrite) != (neuron, dendrite):
            self.auction.remove_bidder(neuron, dendrite)
        elif pathway is not None:
            # It may still run: two bidders must never do the work at once.
            self._offers.ports.pathways.stop_task(pathway, "the work is awarded to another bidder")
            message = f"Neuron {neuron!r} left before it answered, and there is no other bid; try again"
            self.auction.winner_failed(pathway.local_error("WORKER_LOST", message))

    def cancel(self) -> None:
        """Close the offer, as its Pathway closes."""
        if self.auction.closed:
            return
        self._close()
        self._complete_award(
            PathwayClosedError(f"the Pathway of {self.offer.id} closed before its work was awarded")
        )

    def release(self) -> None:
        """Close the offer after its Pathway was collected, from any thread; the work runs on."""
        if not self.auction.closed and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._close)
