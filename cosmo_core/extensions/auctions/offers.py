"""Offers of work: sends what the auction decides, and follows the bidder that has the work."""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from cosmo_core.contracts.offer import Bid, Select
from cosmo_core.contracts.options import OfferOptions, work_payload
from cosmo_core.contracts.pathway import Pathway
from cosmo_core.dendrite.extension import Ports
from cosmo_core.errors import NoBidError, PathwayClosedError
from cosmo_core.extensions.auctions.auction import BIDS_STAND_S, LATE, Auction
from cosmo_core.protocol.ids import SeenIds, is_token
from cosmo_core.protocol.signal import Signal, address, deadline_ms
from cosmo_core.protocol.signal_type import ENDING_TYPES, TERMINAL_TYPES, SignalType

MAX_CLOSED: Final = 10_000
"""The number of closed offers that are remembered, so that late bids for them are declined."""

CLOSED_S: Final = 120.0
"""Seconds for which they are remembered."""

MAX_DECLINING: Final = 20_000
"""The number of TASK_DECLINED that may wait to be sent; further ones are not sent."""

logger = logging.getLogger("cosmo_core.dendrite")


class Offers:
    """The offers that one Dendrite made."""

    def __init__(self, ports: Ports) -> None:
        self.pathways = ports.pathways
        self.buffer = ports.buffer
        self.stop_task = ports.stop_task
        self.is_hosted = ports.is_hosted
        self._ports = ports
        self._clock = clock = ports.clock.now
        self._bids = SeenIds(clock)
        self._open: dict[str, OpenOffer] = {}
        self._closed_offers: OrderedDict[str, float] = OrderedDict()
        self._declining: deque[tuple[str, Signal]] = deque()
        self._sending = False
        self._closed = False

    def close(self) -> None:
        """Take no more bids. What is open ends with its Pathway."""
        self._closed = True

    # --- offering -----------------------------------------------------------------------------------

    async def offer(self, options: OfferOptions, select: Select, deadline_ms: int) -> Pathway:
        """Offer work and return the Pathway of who got it; see `Dendrite.dispatch_offer`."""
        self._ports.check_role(SignalType.TASK_OFFER)
        self._ports.check_dispatching()
        work = work_payload(options)
        open_offer = OpenOffer(
            self, self._offer(options, deadline_ms), work, select, options.get("deadline_s")
        )
        pathway = open_offer.follow(ENDING_TYPES if options.get("scope") == "terminal" else None)
        self._open[open_offer.offer.id] = open_offer
        try:
            subject = self._ports.subjects.broadcast(SignalType.TASK_OFFER)
            await self._ports.send_or_raise(subject, open_offer.offer)
            open_offer.begin()
            await open_offer.opened
        except BaseException:
            open_offer.opened.cancel()
            pathway.close()
            raise
        return pathway

    def _offer(self, options: OfferOptions, deadline_ms: int) -> Signal:
        capabilities = options.get("capabilities")
        if isinstance(capabilities, str) or not capabilities:
            raise TypeError(f"capabilities is a list of names, not {capabilities!r}")
        return Signal.new(
            SignalType.TASK_OFFER,
            {"input": options["input"], "capabilities": list(capabilities), "deadline_ms": deadline_ms},
            trace_id=options.get("trace_id"),
            parent_id=options.get("parent_id"),
            meta={**(options.get("meta") or {}), "reply_to": self._ports.dendrite_id},
        )

    async def send_to(self, dendrite: str, signal: Signal) -> None:
        """Send a Signal to one Dendrite. Raises what `send_or_raise` does."""
        await self._ports.send_or_raise(self._ports.subjects.inbox(signal.type, dendrite), signal)

    def close_offer(self, open_offer: OpenOffer) -> None:
        """Decline whatever comes for an offer from now on."""
        if self._open.pop(open_offer.offer.id, None) is None:
            return
        now = self._clock()
        self._closed_offers[open_offer.offer.id] = now + CLOSED_S
        while len(self._closed_offers) > MAX_CLOSED or next(iter(self._closed_offers.values())) <= now:
            self._closed_offers.popitem(last=False)

    # --- what arrives -------------------------------------------------------------------------------

    def receive_bid(self, signal: Signal) -> None:
        """Take a BID from the inbox, if it is for an offer made here."""
        offer = signal.parent_id or ""
        open_offer = self._open.get(offer)
        if self._closed or (open_offer is None and self._clock() >= self._closed_offers.get(offer, 0.0)):
            return
        bid = _read(signal)
        if bid is None or not self._bids.add(signal.id):
            return
        if open_offer is not None:
            open_offer.auction.bid(bid)
        else:
            self.decline(signal.trace_id, [bid], LATE)

    def neuron_departed(self, neuron: str, dendrite: str) -> None:
        """Give the work of a Neuron that is gone to other bidders."""
        for open_offer in list(self._open.values()):
            open_offer.lose(neuron, dendrite)

    # --- declining ----------------------------------------------------------------------------------

    def decline(self, trace_id: str, bids: Sequence[Bid], reason: str) -> None:
        """Tell bidders that they do not get the work, in the background."""
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
            self.pathways.spawn(self._send_declines())

    async def _send_declines(self) -> None:
        try:
            while self._declining:
                dendrite, decline = self._declining.popleft()
                try:
                    await self.send_to(dendrite, decline)
                except Exception:
                    # The bus, or a middleware: it must not keep the others from being told.
                    logger.exception("%s could not be declined", decline.parent_id)
        finally:
            self._sending = False


def _read(signal: Signal) -> Bid | None:
    """Return what a BID says, unless nobody could be awarded for it."""
    neuron = signal.directed.id if signal.directed is not None else None
    dendrite, payload = signal.meta.get("dendrite"), signal.payload
    if neuron is None or not isinstance(dendrite, str) or not is_token(dendrite):
        return None
    return Bid(signal.id, neuron, dendrite, payload["cost"], payload.get("eta_ms"), payload.get("confidence"))


# --- one offer --------------------------------------------------------------------------------------


class OfferPathway(Pathway):
    """Follows one offer: whoever has the work, and another one when that fails.

    Closing it before the work is answered stops the work. An ERROR arrives only when no bid is left.
    """

    __slots__ = ("_only", "_open_offer")

    def __init__(self, offer: OpenOffer, offers: Offers, only: frozenset[SignalType] | None) -> None:
        # Until the award, the Pathway follows the offer itself.
        task_offer = offer.offer
        super().__init__(offers.pathways, task_offer.trace_id, task_offer.id, "", offers.buffer)
        self._open_offer = offer
        self._only = only

    def deliver(self, signal: Signal) -> None:
        """Take a Signal that arrived, unless another bidder makes it good."""
        if self.closed or (signal.type in TERMINAL_TYPES and self._open_offer.withholds(signal)):
            return
        if self._only is None or signal.type in self._only:
            super().deliver(signal)

    def close(self) -> None:
        """Take no more Signals, and have the work stopped if it was not answered yet."""
        if not self.closed:
            self._open_offer.give_up(self)
            super().close()

    def __del__(self) -> None:
        if not self.closed:
            self._open_offer.abandon()
        super().__del__()


class OpenOffer:
    """Carries out one auction.

    Args:
        offers: The offers of the Dendrite.
        offer: The TASK_OFFER.
        work: What TASK_AWARDED carries.
        select: Which bid is taken.
        deadline_s: For how many seconds from now an answer is of use; None if it always is.

    Attributes:
        opened: Done when the work was awarded for the first time, or will not be.
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
        self.opened: asyncio.Future[None] = self._loop.create_future()
        # A caller who was cancelled does not ask what came of it.
        self.opened.add_done_callback(lambda opened: opened.cancelled() or opened.exception())
        self._offers = offers
        self._work = work
        self._deadline = None if deadline_s is None else self._loop.time() + deadline_s
        self._timer: asyncio.TimerHandle | None = None
        self._pathway: Callable[[], OfferPathway | None] = lambda: None

    def follow(self, only: frozenset[SignalType] | None) -> OfferPathway:
        """Return the Pathway of this offer, which is held by nobody else."""
        pathway = OfferPathway(self, self._offers, only)
        self._pathway = weakref.ref(pathway)
        self._offers.pathways.add(pathway)
        return pathway

    # --- time ---------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Let the time for bids run."""
        if not self.auction.closed:
            self._timer = self._loop.call_later(self._waits_s, self.end_bidding)

    @property
    def _waits_s(self) -> float:
        return float(self.offer.payload["deadline_ms"]) / 1000

    def end_bidding(self) -> None:
        """Take no more bids, and let those there are stand for a while."""
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

    # --- what the auction decides -------------------------------------------------------------------

    def award(self, bid: Bid) -> None:
        """Give the work to a bidder."""
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
            self._offers.pathways.change_task(pathway, award.id)
        self._offers.pathways.spawn(self._hand_over(bid, award))

    async def _hand_over(self, bid: Bid, award: Signal) -> None:
        try:
            await self._offers.send_to(bid.dendrite, award)
        except Exception as error:  # noqa: BLE001 - the caller gets it
            if self.auction.winner is not bid:
                # Lost meanwhile: whoever has the work now is not to be disturbed.
                logger.warning("%s was not awarded to %r: %s", self.offer.id, bid.neuron, error)
                return
            # A middleware or the bus: no other bidder can be reached either.
            self.end(self.auction.failure, error)
        else:
            self._open()

    def _open(self, error: Exception | None = None) -> None:
        if self.opened.done():
            return
        if error is None:
            self.opened.set_result(None)
        else:
            self.opened.set_exception(error)

    def decline(self, bids: Sequence[Bid], reason: str) -> None:
        """Tell bidders that they do not get the work."""
        self._offers.decline(self.offer.trace_id, bids, reason)

    def end(self, failure: Signal | None, error: Exception | None) -> None:
        """Say that nobody gets the work: to the caller who waits for it, or on the Pathway."""
        self._close()
        if not self.opened.done() and failure is None:
            capabilities = self.offer.payload["capabilities"]
            self._open(error or NoBidError(capabilities, self._waits_s, self.auction.bids))
            return
        if error is not None:
            logger.error("%s was not awarded again: %s", self.offer.id, error, exc_info=error)
        self._open()
        pathway = self._pathway()
        if pathway is None:
            return
        if failure is None:
            pathway.close()
        else:
            pathway.deliver(failure)

    # --- what happens to the work -------------------------------------------------------------------

    def withholds(self, answer: Signal) -> bool:
        """Tell whether an answer is kept back, above all an ERROR, as another bidder gets the work."""
        auction = self.auction
        if auction.closed:
            return False
        if auction.winner is None:
            # It answers nothing: nobody has the work. A FINAL is different: it ends the whole trace.
            return answer.type is not SignalType.FINAL
        if answer.type is not SignalType.ERROR or self._was_stopped(answer):
            self._close()
            self._open()
            return False
        auction.fail(answer)
        return True

    def _was_stopped(self, answer: Signal) -> bool:
        """Tell whether someone wanted the work to end: a host that is still there cancels nothing itself."""
        winner = self.auction.winner
        return (
            answer.payload["code"] == "CANCELLED"
            and winner is not None
            and self._offers.is_hosted(winner.neuron, winner.dendrite)
        )

    def lose(self, neuron: str, dendrite: str) -> None:
        """Do without a bidder from whom nothing will come any more."""
        winner, pathway = self.auction.winner, self._pathway()
        if winner is None or (winner.neuron, winner.dendrite) != (neuron, dendrite):
            self.auction.withdraw(neuron, dendrite)
        elif pathway is not None:
            # In case it is not gone after all: the work is never with two.
            self._offers.stop_task(pathway, "the work is given to another bidder")
            message = f"Neuron {neuron!r} left before it answered, and no bid was left; try again"
            self.auction.fail(pathway.local_error("WORKER_LOST", message))

    def give_up(self, pathway: Pathway) -> None:
        """Stop the work and settle: its Pathway closes."""
        if self.auction.closed:
            return
        if self.auction.winner is not None:
            self._offers.stop_task(pathway, "its Pathway was closed")
        self._close()
        self._open(PathwayClosedError(f"the Pathway of {self.offer.id} closed before its work was awarded"))

    def abandon(self) -> None:
        """Settle, from wherever the last reference to the Pathway went: the work itself goes on."""
        if not self.auction.closed and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._close)
