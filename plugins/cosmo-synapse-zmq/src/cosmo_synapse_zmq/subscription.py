"""One subscription of a peer: calls its handler, and says what that is done with."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from cosmo_core import FrameHandler, HeldFrame
from cosmo_core.routing import Consumer
from cosmo_core.routing.handlers import HandlerRunner
from cosmo_synapse_zmq import wire

SETTLE_S: Final = 0.02
"""For how long the hub is not told what was done, if nothing else is to be said."""

MAX_UNSAID: Final = 100
"""How many frames may be done with before the hub is told in any case."""


class Line(Protocol):
    """What a subscription says to the hub."""

    def put(self, command: wire.Command, size: int = 0) -> None:
        """Say ``command``."""
        ...

    async def end(self, subscription: ZmqSubscription) -> None:
        """Have the hub deliver nothing more, and return when it does not."""
        ...


class ZmqSubscription:
    """A handler's place on the bus.

    What comes by a queue group is bounded by the hub, which gives it to another member if this one is lost.
    What comes otherwise is bounded here.

    Args:
        line: The way to the hub.
        wanted: What the hub was asked for.
        handler: The handler.
        max_pending: How many frames may wait for it.

    Attributes:
        confirmed: Done when the hub has said that it holds.
    """

    def __init__(self, line: Line, wanted: wire.Subscribe, handler: FrameHandler, max_pending: int) -> None:
        self.wanted = wanted
        self.confirmed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line = line
        self._runner = HandlerRunner(wanted.pattern, handler, self._done)
        self._member = Consumer(
            wanted.pattern, self._runner.run, prefetch=wanted.credit, max_pending=max_pending
        )
        self._dropped_by_hub = 0
        self._dropped_before = 0
        self._leaving = False
        self._settled: list[int] = []
        self._enough = max(1, min(wanted.credit // 4, MAX_UNSAID))
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    @property
    def dropped(self) -> int:
        """How many frames were given up, here or in the hub, because the handler was too slow."""
        return self._dropped_by_hub + self._member.dropped

    # --- a frame comes ------------------------------------------------------------------------------

    def deliver(self, delivered: wire.Deliver) -> None:
        """Hand a frame to the handler."""
        number = delivered.number
        if not number:
            self._member.push(delivered.frame)
        elif self._member.closed:
            self._line.put(wire.GiveBack(self.wanted.sub, number))
        else:
            held_ms = delivered.held_ms
            frame = HeldFrame(delivered.frame, held_ms / 1000) if held_ms else delivered.frame
            if self._runner.run(frame, number):
                self._done(number, None)

    def _done(self, number: int, error: BaseException | None) -> None:
        if not number:
            self._member.complete()
        elif error is None:
            self._settled.append(number)
            # One that takes nothing more may be gone before there is more to say.
            if len(self._settled) >= self._enough or self._member.closed:
                self.say()
            elif self._timer is None:
                self._timer = self._loop.call_later(SETTLE_S, self.say)
        elif not self._leaving:
            self._line.put(wire.Fail(self.wanted.sub, number, repr(error)))

    def say(self) -> None:
        """Tell the hub what was done."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._settled:
            settled, self._settled = self._settled, []
            self._line.put(wire.Settle(self.wanted.sub, settled))

    def count(self, dropped: int) -> None:
        """Take note of how many frames the hub has given up."""
        self._dropped_by_hub = self._dropped_before + dropped

    def forget(self) -> None:
        """Forget what was to be said: the hub that was to hear it is another one now."""
        self._settled.clear()
        self._dropped_before = self._dropped_by_hub

    # --- the end ------------------------------------------------------------------------------------

    async def unsubscribe(self) -> None:
        """Deliver nothing more once this returns. Doing it twice is not an error."""
        await self._line.end(self)

    def end(self) -> None:
        """Take nothing more."""
        self._member.close()

    async def close(self) -> None:
        """Take nothing more, and cancel what the handler still works on: the hub gives that to others."""
        self.end()
        self._leaving = True
        await self._runner.close()
        self.say()
