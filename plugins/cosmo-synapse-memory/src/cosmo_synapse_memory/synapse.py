"""A Synapse without a socket: the core's routing, called directly."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from cosmo_core.contracts.delivery import DEFAULT_MAX_FRAME, FrameHandler, Guarantees, UndeliveredHandler
from cosmo_core.errors import FrameTooLargeError, SynapseClosedError, SynapseError
from cosmo_core.protocol.ids import is_token
from cosmo_synapse_memory.bus import MemoryBus, named_bus
from cosmo_synapse_memory.subscription import MemorySubscription


class MemorySynapse:
    """Carries frames between the Dendrites of one process and one event loop.

    A frame is handed over as bytes, inside `publish`, so what arrives is what a socket would have brought.

    Args:
        bus: The bus to join; one of its own by default.
        max_frame: Bytes in the largest frame.
        max_in_flight: How many frames a handler may work on at once.
        max_pending: How many more may wait for it; on a bus of its own, also for a queue group.

    Raises:
        ValueError: A limit is less than 1.
    """

    def __init__(
        self,
        bus: MemoryBus | None = None,
        *,
        max_frame: int = DEFAULT_MAX_FRAME,
        max_in_flight: int = 1000,
        max_pending: int = 1000,
    ) -> None:
        if min(max_frame, max_in_flight, max_pending) < 1:
            raise ValueError("max_frame, max_in_flight and max_pending start at 1")
        self.guarantees = Guarantees(max_frame=max_frame)
        self._bus = MemoryBus(max_waiting=max_pending) if bus is None else bus
        self._max_frame = max_frame
        self._max_in_flight = max_in_flight
        self._max_pending = max_pending
        self._connected = False
        self._subscriptions: set[MemorySubscription] = set()

    async def connect(self) -> None:
        """Make the Synapse usable. Doing it twice is not an error."""
        self._connected = True

    async def close(self) -> None:
        """End every subscription of this Synapse, and cancel what their handlers still work on."""
        self._connected = False
        for subscription in list(self._subscriptions):
            await subscription.close()

    async def publish(
        self,
        subject: str,
        frame: bytes,
        *,
        undelivered: UndeliveredHandler | None = None,
        message_id: str | None = None,
    ) -> None:
        """Hand ``frame`` to whoever subscribes to ``subject``, before this returns.

        ``message_id`` means nothing here, as nothing is stored.

        Raises:
            SynapseClosedError: The Synapse is not connected.
            FrameTooLargeError: The frame is larger than ``guarantees.max_frame``; nothing was sent.
            SynapseError: The subject is malformed.
        """
        if not self._connected:
            raise self._closed(f"publish on {subject}")
        if len(frame) > self._max_frame:
            raise FrameTooLargeError(
                f"{len(frame)} bytes on {subject} are more than the {self._max_frame} this Synapse carries"
            )
        crowded = self._bus.router.publish(subject, frame, undelivered)
        if crowded is not None:
            await self._bus.place(crowded)

    async def subscribe(
        self, pattern: str, handler: FrameHandler, *, queue_group: str | None = None
    ) -> MemorySubscription:
        """Call ``handler`` with every frame that matches ``pattern``, from now on.

        Raises:
            SynapseClosedError: The Synapse is not connected.
            SynapseError: The pattern or the queue group is malformed.
        """
        if not self._connected:
            raise self._closed(f"subscribe to {pattern}")
        return MemorySubscription(
            self._bus.router,
            self._subscriptions,
            pattern,
            handler,
            queue_group=queue_group,
            max_in_flight=self._max_in_flight,
            max_pending=self._max_pending,
        )

    def _closed(self, what: str) -> SynapseClosedError:
        return SynapseClosedError(
            f"cannot {what}: this MemorySynapse is not connected; await connect() first"
        )

    def __repr__(self) -> str:
        return f"<MemorySynapse {'connected' if self._connected else 'closed'}>"


def from_url(url: str, **options: Any) -> MemorySynapse:
    """Return the Synapse for ``memory://`` (a bus of its own) or ``memory://name`` (the bus of that name).

    Args:
        url: The URL.
        **options: As for `MemorySynapse`.

    Raises:
        SynapseError: The name is not a token, or the URL has a part that means nothing here.
    """
    parts = urlsplit(url)
    if parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise SynapseError(f"{url!r}: a memory Synapse takes memory:// or memory://name")
    if not parts.netloc:
        return MemorySynapse(**options)
    if not is_token(parts.netloc):
        raise SynapseError(f"{url!r}: the name of a memory bus is made of A-Z a-z 0-9 _ -")
    return MemorySynapse(named_bus(parts.netloc), **options)
