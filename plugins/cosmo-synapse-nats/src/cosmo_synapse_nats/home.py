"""The subscriptions of one Synapse, which ends them when it closes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cosmo_synapse_nats.durable.subscription import DurableSubscription
    from cosmo_synapse_nats.subscription import NatsSubscription


class Home:
    """Knows every subscription until nothing is left of it."""

    def __init__(self) -> None:
        self._open: set[OwnedSubscription] = set()
        self._ended: set[OwnedSubscription] = set()

    def add(self, plain: NatsSubscription) -> OwnedSubscription:
        """Own a subscription."""
        owned = OwnedSubscription(self, plain)
        self._open.add(owned)
        return owned

    def reconnected(self) -> None:
        """Have every queue group ask for its frames again."""
        for subscription in self._open:
            if subscription.pulled is not None:
                subscription.pulled.pull.reconnected()

    def ended(self, subscription: OwnedSubscription) -> None:
        """Own an unsubscribed one only as long as its handler works on something."""
        self._open.discard(subscription)
        self._ended = {ended for ended in self._ended | {subscription} if ended.in_flight}

    async def close(self) -> None:
        """Unsubscribe all, and cancel what their handlers work on."""
        await asyncio.gather(*(subscription.close() for subscription in self._open | self._ended))
        self._open.clear()
        self._ended.clear()


class OwnedSubscription:
    """A subscription: what the server delivers, and what is pulled from the stream."""

    def __init__(self, home: Home, plain: NatsSubscription) -> None:
        self.pulled: DurableSubscription | None = None
        self._home = home
        self._plain = plain

    @property
    def dropped(self) -> int:
        """How many frames were given up because the handler was too slow."""
        return self._plain.dropped

    @property
    def in_flight(self) -> int:
        """How many frames the handler works on."""
        return self._plain.in_flight + (0 if self.pulled is None else self.pulled.in_flight)

    async def unsubscribe(self) -> None:
        """Deliver nothing more. What the handler works on goes on; doing it twice is not an error."""
        await self._plain.unsubscribe()
        if self.pulled is not None:
            await self.pulled.unsubscribe()
        self._home.ended(self)

    async def close(self) -> None:
        """Unsubscribe, and cancel what the handler still works on."""
        await self._plain.close()
        if self.pulled is not None:
            await self.pulled.close()
