"""One offer on its way: sends what its auction decides, and follows whoever has the work."""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from cosmo_core.contracts.pathway import Pathway
from cosmo_core.dendrite.dispatch.work import in_ms
from cosmo_core.dendrite.reliability.local_errors import local_error
from cosmo_core.errors import NoBidError, PathwayClosedError
from cosmo_core.extensions.auctions.auction import Auction, Bid, Select
from cosmo_core.protocol.signal import Signal, address
from cosmo_core.protocol.signal_type import TERMINAL_TYPES, SignalType

if TYPE_CHECKING:
    from cosmo_core.extensions.auctions.offers import Auctions

BIDS_STAND_S: Final = 600.0
"""For how long after the end of bidding a bid may be taken because the winners before it failed."""

logger = logging.getLogger("cosmo_core.dendrite")


class OfferPathway(Pathway):
    """Follows one offer: whoever has the work, and another one when that fails.

    Closing it before the work is answered stops the work. An ERROR arrives only when no bid is left.
    """

    __slots__ = ("_lot", "_only")

    def __init__(self, lot: Lot, auctions: Auctions, only: frozenset[SignalType] | None) -> None:
        # Nobody has the work yet: what happens meanwhile concerns the offer itself.
        offer = lot.offer
        super().__init__(auctions.followed, offer.trace_id, offer.id, "", auctions.buffer)
        self._lot = lot
        self._only = only

    def deliver(self, signal: Signal) -> None:
        """Take a Signal that arrived, unless another bidder makes it good."""
        if self.closed or (signal.type in TERMINAL_TYPES and self._lot.makes_good(signal)):
            return
        if self._only is None or signal.type in self._only:
            super().deliver(signal)

    def close(self) -> None:
        """Take no more Signals, and have the work stopped if it was not answered yet."""
        if not self.closed:
            self._lot.give_up(self)
            super().close()

    def __del__(self) -> None:
        if not self.closed:
            self._lot.abandon()
        super().__del__()


class Lot:
    """Carries out one auction.

    Args:
        auctions: Where it takes place.
        offer: The TASK_OFFER.
        work: What TASK_AWARDED carries.
        select: Which bid is taken.
        deadline_s: For how many seconds from now an answer is of use; None if it always is.

    Attributes:
        opened: Done when the work was awarded for the first time, or will not be.
    """

    def __init__(
        self,
        auctions: Auctions,
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
        self._auctions = auctions
        self._work = work
        self._deadline = None if deadline_s is None else self._loop.time() + deadline_s
        self._timer: asyncio.TimerHandle | None = None
        self._pathway: Callable[[], OfferPathway | None] = lambda: None

    def follow(self, only: frozenset[SignalType] | None) -> OfferPathway:
        """Return the Pathway of this offer, which is held by nobody else."""
        pathway = OfferPathway(self, self._auctions, only)
        self._pathway = weakref.ref(pathway)
        self._auctions.followed.add(pathway)
        return pathway

    # --- time ---------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Let the time for bids run."""
        if not self.auction.settled:
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

    def _settle(self) -> None:
        self._stop_timer()
        self.auction.settle()
        self._auctions.forget(self)

    # --- what the auction decides -------------------------------------------------------------------

    def award(self, bid: Bid) -> None:
        """Give the work to a bidder."""
        work = {**self._work, "winning_bid": bid.id}
        if self._deadline is not None:
            work["deadline_ms"] = in_ms(self._deadline - self._loop.time())
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
            self._auctions.followed.rename(pathway, award.id)
        self._auctions.followed.keep(self._hand_over(bid, award))

    async def _hand_over(self, bid: Bid, award: Signal) -> None:
        try:
            await self._auctions.send_to(bid.dendrite, award)
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
        self._auctions.decline(self.offer.trace_id, bids, reason)

    def end(self, failure: Signal | None, error: Exception | None) -> None:
        """Say that nobody gets the work: to the caller who waits for it, or on the Pathway."""
        self._settle()
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

    def makes_good(self, answer: Signal) -> bool:
        """Tell whether an answer is kept back, above all an ERROR, as another bidder gets the work."""
        auction = self.auction
        if auction.settled:
            return False
        if auction.winner is None:
            # It answers nothing: nobody has the work. A FINAL is different: it ends the whole trace.
            return answer.type is not SignalType.FINAL
        if answer.type is not SignalType.ERROR or self._was_stopped(answer):
            self._settle()
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
            and self._auctions.view.is_hosted(winner.neuron, winner.dendrite)
        )

    def lose(self, neuron: str, dendrite: str) -> None:
        """Do without a bidder from whom nothing will come any more."""
        winner, pathway = self.auction.winner, self._pathway()
        if winner is None or (winner.neuron, winner.dendrite) != (neuron, dendrite):
            self.auction.withdraw(neuron, dendrite)
        elif pathway is not None:
            # In case it is not gone after all: the work is never with two.
            self._auctions.dispatcher.stop_task(pathway, "the work is given to another bidder")
            message = f"Neuron {neuron!r} left before it answered, and no bid was left; try again"
            self.auction.fail(local_error(pathway, "WORKER_LOST", message))

    def give_up(self, pathway: Pathway) -> None:
        """Stop the work and settle: its Pathway closes."""
        if self.auction.settled:
            return
        if self.auction.winner is not None:
            self._auctions.dispatcher.stop_task(pathway, "its Pathway was closed")
        self._settle()
        self._open(PathwayClosedError(f"the Pathway of {self.offer.id} closed before its work was awarded"))

    def abandon(self) -> None:
        """Settle, from wherever the last reference to the Pathway went: the work itself goes on."""
        if not self.auction.settled and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._settle)
