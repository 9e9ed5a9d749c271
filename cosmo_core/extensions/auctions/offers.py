"""Offering work: who bids for it gets it, one after the other if need be."""

from __future__ import annotations

import logging
from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Required, Unpack

from cosmo_core.dendrite.dispatch.dispatcher import send_or_raise
from cosmo_core.dendrite.dispatch.work import WorkOptions, work_payload
from cosmo_core.dendrite.hosting.seen_ids import RecentIds
from cosmo_core.extensions.auctions.auction import LATE, Bid, Select
from cosmo_core.extensions.auctions.open_offer import Lot
from cosmo_core.protocol.ids import is_token
from cosmo_core.protocol.signal import Signal, address
from cosmo_core.protocol.signal_type import ENDING_TYPES, SignalType

if TYPE_CHECKING:
    from collections.abc import Callable

    from cosmo_core.contracts.pathway import Pathway
    from cosmo_core.dendrite.discovery.directory import View
    from cosmo_core.dendrite.dispatch.dispatcher import Dispatcher
    from cosmo_core.dendrite.dispatch.pathway_registry import Followed
    from cosmo_core.dendrite.transport.link import Link

MAX_SETTLED: Final = 10_000
"""How many settled offers are remembered, so that late bids for them are declined."""

SETTLED_S: Final = 120.0
"""For how long they are."""

MAX_DECLINING: Final = 20_000
"""How many TASK_DECLINED may wait to be sent; further ones are not."""

logger = logging.getLogger("cosmo_core.dendrite")


class OfferOptions(WorkOptions, total=False):
    """What an offer takes, by keyword: `WorkOptions`, and what is said here.

    Attributes:
        capabilities: What a bidder must be able to do, all of it.
    """

    capabilities: Required[Sequence[str]]


class Auctions:
    """The offers of one Dendrite.

    Args:
        link: The way to the bus.
        view: Says who is gone.
        dispatcher: Stops work.
        followed: The Pathways that are open.
        inbox: Where bids and answers come to.
        buffer: How many Signals a Pathway keeps.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        link: Link,
        view: View,
        dispatcher: Dispatcher,
        followed: Followed,
        *,
        inbox: str,
        buffer: int,
        clock: Callable[[], float],
    ) -> None:
        self.view = view
        self.dispatcher = dispatcher
        self.followed = followed
        self.buffer = buffer
        self._link = link
        self._inbox = inbox
        self._clock = clock
        self._bids = RecentIds(clock)
        self._open: dict[str, Lot] = {}
        self._settled: OrderedDict[str, float] = OrderedDict()
        self._declining: deque[tuple[str, Signal]] = deque()
        self._sending = False
        self._closed = False

    def close(self) -> None:
        """Take no more bids. What is open ends with its Pathway."""
        self._closed = True

    # --- offering -----------------------------------------------------------------------------------

    async def offer(self, options: OfferOptions, select: Select, deadline_ms: int) -> Pathway:
        """Offer work and return the Pathway of who got it; see `Offering.dispatch_offer`."""
        self._link.check_role(SignalType.TASK_OFFER)
        self.dispatcher.check_running()
        work = work_payload(options)
        lot = Lot(self, self._offer(options, deadline_ms), work, select, options.get("deadline_s"))
        pathway = lot.follow(ENDING_TYPES if options.get("scope") == "terminal" else None)
        self._open[lot.offer.id] = lot
        try:
            subject = self._link.subjects.everyone(SignalType.TASK_OFFER)
            await send_or_raise(self._link, subject, lot.offer)
            lot.begin()
            await lot.opened
        except BaseException:
            lot.opened.cancel()
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
            meta={**(options.get("meta") or {}), "reply_to": self._inbox},
        )

    async def send_to(self, dendrite: str, signal: Signal) -> None:
        """Send a Signal to one Dendrite. Raises what `send_or_raise` does."""
        await send_or_raise(self._link, self._link.subjects.inbox(signal.type, dendrite), signal)

    def forget(self, lot: Lot) -> None:
        """Decline whatever comes for an offer from now on."""
        if self._open.pop(lot.offer.id, None) is None:
            return
        now = self._clock()
        self._settled[lot.offer.id] = now + SETTLED_S
        while len(self._settled) > MAX_SETTLED or next(iter(self._settled.values())) <= now:
            self._settled.popitem(last=False)

    # --- what arrives -------------------------------------------------------------------------------

    def take(self, signal: Signal) -> None:
        """Take a BID from the inbox, if it is for an offer made here."""
        offer = signal.parent_id or ""
        lot = self._open.get(offer)
        if self._closed or (lot is None and self._clock() >= self._settled.get(offer, 0.0)):
            return
        bid = _read(signal)
        if bid is None or not self._bids.add(signal.id):
            return
        if lot is not None:
            lot.auction.bid(bid)
        else:
            self.decline(signal.trace_id, [bid], LATE)

    def lose(self, neuron: str, dendrite: str) -> None:
        """Give the work of a Neuron that is gone to other bidders."""
        for lot in list(self._open.values()):
            lot.lose(neuron, dendrite)

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
            self.followed.keep(self._send_declines())

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


class Offering:
    """What a Dendrite can do with offers."""

    _auctions: Auctions

    async def dispatch_offer(
        self, *, select: Select = "first_bid", deadline_ms: int = 250, **offer: Unpack[OfferOptions]
    ) -> Pathway:
        """Offer work, award it to one of those who bid for it, and return the Pathway that follows it.

        Every other bidder is told TASK_DECLINED, as soon as the work is answered (P-7.9). When the winner
        answers with ERROR, or leaves before it answers, the next best bid is taken (P-7.10); an ERROR
        arrives on the Pathway only when no bid is left, or the work was stopped. The Pathway also sees the
        bids. Closing it before the answer stops the work (P-7.12).

        Args:
            select: Which bid is taken: ``"first_bid"``, as soon as it comes; ``"lowest_cost"`` or
                ``"highest_confidence"`` when ``deadline_ms`` are over; or a function, then too, that gets
                the bids and returns one of them, or None to take none.
            deadline_ms: For how many milliseconds bids are taken.
            **offer: See `OfferOptions`.

        Raises:
            NoBidError: No bid came in time, or none was taken.
            LifecycleError: The Dendrite does not run.
            PathwayClosedError: The Dendrite stopped first.
            RoleError: It is a worker.
            RejectedError: A middleware of this Dendrite dropped the offer or the award.
            ValueError: ``select`` is no rule, or the function returned something that is no bid.
            MalformedSignalError: An option is not what the protocol asks for; nothing was sent.
            UnencodableError: JSON cannot carry the input; nothing was sent.
            SynapseError: The Synapse could not take it.
        """
        return await self._auctions.offer(offer, select, deadline_ms)
