"""Listening that begins with the first who wants it and ends with the last."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from cosmo_core.dendrite.hosting.seen_ids import RecentIds
from cosmo_core.protocol.signal import Signal

if TYPE_CHECKING:
    from cosmo_core.contracts.synapse import Subscription
    from cosmo_core.dendrite.transport.link import Link


class Tap:
    """Hands over each Signal that arrives on some patterns, once, for as long as somebody wants it.

    Args:
        link: The way to the bus.
        patterns: What to listen to; one subscription, and so one decode, for each.
        receive: Takes the Signals.
        wanted: Whether anybody wants them at present.
        now: Monotonic seconds, for how long a repeated Signal is known as such.
    """

    def __init__(
        self,
        link: Link,
        patterns: Sequence[str],
        receive: Callable[[Signal], None],
        *,
        wanted: Callable[[], bool],
        now: Callable[[], float],
    ) -> None:
        self.patterns = patterns
        self._link = link
        self._receive = receive
        self._wanted = wanted
        self._now = now
        self._recent = RecentIds(now)
        self._lock = asyncio.Lock()
        self._subscriptions: list[Subscription] = []

    async def settle(self) -> None:
        """Listen if that is wanted now, and otherwise do not; when this returns, it is so.

        It looks again after every step, so whoever changes the wish meanwhile gets what was wished last.

        Raises:
            SynapseError: The Synapse would not listen.
        """
        async with self._lock:
            while True:
                listening = len(self._subscriptions)
                if self._wanted():
                    if listening == len(self.patterns):
                        return
                    subscription = await self._link.listen(self.patterns[listening], self._take)
                    self._subscriptions.append(subscription)
                elif listening:
                    await self._link.end(self._subscriptions.pop())
                else:
                    self._recent = RecentIds(self._now)
                    return

    def _take(self, signal: Signal) -> None:
        # A bus may bring a frame twice.
        if self._recent.add(signal.id):
            self._receive(signal)
