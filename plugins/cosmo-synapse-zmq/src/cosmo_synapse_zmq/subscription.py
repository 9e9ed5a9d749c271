"""One subscription of a peer: it runs the handler, and acknowledges its deliveries."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from cosmo_core import FrameHandler, HeldFrame
from cosmo_core.routing import Consumer
from cosmo_core.routing.handlers import HandlerRunner
from cosmo_synapse_zmq import wire

ACK_DELAY_S: Final = 0.02
"""For how many seconds acknowledgements are collected."""

MAX_UNSENT_ACKS: Final = 100
"""How many acknowledgements are collected before they are sent in any case."""


class SubscriptionOwner(Protocol):
    """What a subscription needs of its Synapse."""

    def send(self, command: wire.Command, size: int = 0) -> None:
        """Send a command to the hub."""
        ...

    async def unsubscribe(self, subscription: ZmqSubscription) -> None:
        """Unsubscribe at the hub, and wait until it has confirmed that."""
        ...


class ZmqSubscription:
    """One subscription.

    Deliveries of a queue group are limited by the hub, which redelivers them if this peer is lost. Other
    frames are limited here.

    Args:
        owner: The Synapse.
        request: The command that made the subscription.
        handler: The handler.
        max_pending: How many frames outside of queue groups may wait for it.

    Attributes:
        confirmed: Completed when the hub has confirmed the subscription.
    """

    def __init__(
        self, owner: SubscriptionOwner, request: wire.Subscribe, handler: FrameHandler, max_pending: int
    ) -> None:
        self.request = request
        self.confirmed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._owner = owner
        self._runner = HandlerRunner(request.pattern, handler, self._on_done)
        self._consumer = Consumer(
            request.pattern, self._runner.run, prefetch=request.prefetch, max_pending=max_pending
        )
        self._dropped_by_hub = 0
        self._dropped_by_earlier_hubs = 0
        self._closing = False
        self._acks: list[int] = []
        self._max_acks = max(1, min(request.prefetch // 4, MAX_UNSENT_ACKS))
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    @property
    def dropped(self) -> int:
        """How many frames were dropped, here or in the hub, because the handler was too slow."""
        return self._dropped_by_hub + self._consumer.dropped

    # --- frames -------------------------------------------------------------------------------------

    def deliver(self, delivered: wire.Deliver) -> None:
        """Pass a frame to the handler."""
        number = delivered.number
        if not number:
            self._consumer.push(delivered.frame)
        elif self._consumer.closed:
            self._owner.send(wire.Requeue(self.request.sub, number))
        else:
            held_ms = delivered.held_ms
            frame = HeldFrame(delivered.frame, held_ms / 1000) if held_ms else delivered.frame
            if self._runner.run(frame, number):
                self._on_done(number, None)

    def _on_done(self, number: int, error: BaseException | None) -> None:
        if not number:
            self._consumer.complete()
        elif error is None:
            self._acks.append(number)
            # After unsubscribing, acknowledge at once: the Synapse may be closed before the timer fires.
            if len(self._acks) >= self._max_acks or self._consumer.closed:
                self.flush_acks()
            elif self._timer is None:
                self._timer = self._loop.call_later(ACK_DELAY_S, self.flush_acks)
        elif not self._closing:
            self._owner.send(wire.Nack(self.request.sub, number, repr(error)[: wire.MAX_REASON]))

    def flush_acks(self) -> None:
        """Send the collected acknowledgements to the hub."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._acks:
            acks, self._acks = self._acks, []
            self._owner.send(wire.Ack(self.request.sub, acks))

    def set_dropped_by_hub(self, total: int) -> None:
        """Record how many frames the hub has dropped."""
        self._dropped_by_hub = self._dropped_by_earlier_hubs + total

    def reset(self) -> None:
        """Discard the collected acknowledgements: another hub does not know these deliveries."""
        self._acks.clear()
        self._dropped_by_earlier_hubs = self._dropped_by_hub

    # --- ending -------------------------------------------------------------------------------------

    async def unsubscribe(self) -> None:
        """Deliver no more frames once this returns. Unsubscribing twice is not an error."""
        await self._owner.unsubscribe(self)

    def stop(self) -> None:
        """Pass no more frames to the handler."""
        self._consumer.close()

    async def close(self) -> None:
        """Stop, and cancel running handlers. The hub redelivers their frames to other members."""
        self.stop()
        self._closing = True
        await self._runner.close()
        self.flush_acks()
