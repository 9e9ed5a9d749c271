"""The memory Synapse: it calls the core's routing directly, without a socket."""

from __future__ import annotations

import asyncio
import inspect
import weakref
from collections.abc import Awaitable, Iterable
from typing import Any, Final
from urllib.parse import urlsplit

from cosmo_core.arguments import check_count, check_options
from cosmo_core.contracts.delivery import (
    DEFAULT_MAX_FRAME,
    DONE,
    FrameHandler,
    Guarantees,
    UndeliveredHandler,
    failed,
)
from cosmo_core.errors import FrameTooLargeError, SynapseClosedError, SynapseError, redacted
from cosmo_core.protocol.ids import is_token
from cosmo_core.routing import Consumer, Delivery, Router
from cosmo_core.routing.handlers import HandlerRunner

MAX_WAITING: Final = 1000
"""How many frames of one subject may wait for a queue group."""


class MemoryBus:
    """The bus that connects the Synapses made with it.

    Args:
        max_waiting: How many frames of one subject may wait for a queue group.
    """

    def __init__(self, *, max_waiting: int = MAX_WAITING) -> None:
        check_count("max_waiting", max_waiting)
        self.router = Router(max_waiting=max_waiting, on_dequeued=self._wake)
        # By group and subject: set when there is space in a full queue.
        self._space: dict[tuple[str, str], asyncio.Event] = {}

    async def deliver(self, deliveries: Iterable[Delivery]) -> None:
        """Wait until each delivery is delivered or queued."""
        for delivery in deliveries:
            while not self.router.try_deliver(delivery):
                space = self._space.setdefault((delivery.group, delivery.subject), asyncio.Event())
                await space.wait()

    def _wake(self, delivery: Delivery) -> None:
        if self._space and (space := self._space.pop((delivery.group, delivery.subject), None)) is not None:
            space.set()


_named: Final[weakref.WeakValueDictionary[str, MemoryBus]] = weakref.WeakValueDictionary()


def _named_bus(name: str) -> MemoryBus:
    """Return the bus of this name. It exists as long as a Synapse uses it."""
    bus = _named.get(name)
    if bus is None:
        bus = _named[name] = MemoryBus()
    return bus


class MemorySubscription:
    """One subscription. A handler that finishes at once costs one call for each frame."""

    def __init__(
        self,
        router: Router,
        subscriptions: set[MemorySubscription],
        pattern: str,
        handler: FrameHandler,
        *,
        queue_group: str | None,
        max_in_flight: int,
        max_pending: int,
    ) -> None:
        self._router = router
        self._subscriptions = subscriptions
        self._runner = HandlerRunner(pattern, handler, self._on_done)
        self._consumer = Consumer(
            pattern,
            self._runner.run,
            queue_group=queue_group,
            prefetch=max_in_flight,
            max_pending=max_pending,
        )
        router.add_consumer(self._consumer)
        subscriptions.add(self)

    @property
    def dropped(self) -> int:
        """How many frames were dropped because the handler was too slow."""
        return self._consumer.dropped

    def _on_done(self, number: int, error: BaseException | None) -> None:
        if not number:
            self._consumer.complete()
        elif error is None:
            self._router.ack(self._consumer, number)
        else:
            self._router.nack(self._consumer, number, repr(error))

    async def unsubscribe(self) -> None:
        """Deliver no more frames. Running handlers go on. Unsubscribing twice is not an error."""
        self._subscriptions.discard(self)
        self._router.remove_consumer(self._consumer)

    async def close(self) -> None:
        """Unsubscribe, and cancel running handlers."""
        await self.unsubscribe()
        await self._runner.close()


class MemorySynapse:
    """Carries frames between the Dendrites of one process and one event loop.

    Frames are delivered as bytes, inside `publish`, exactly as a socket would deliver them.

    Args:
        bus: The bus to join; by default a new one.
        max_frame: Bytes in the largest frame.
        max_in_flight: How many frames a handler may work on at once.
        max_pending: How many more may wait for it. On a new bus, also how many of one subject may wait for a
            queue group.

    Raises:
        TypeError: A limit is not an integer.
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
        check_count("max_frame", max_frame)
        check_count("max_in_flight", max_in_flight)
        check_count("max_pending", max_pending)
        self.guarantees = Guarantees(max_frame=max_frame)
        self._bus = MemoryBus(max_waiting=max_pending) if bus is None else bus
        self._route = self._bus.router.publish
        self._max_frame = max_frame
        self._max_in_flight = max_in_flight
        self._max_pending = max_pending
        self._connected = False
        self._subscriptions: set[MemorySubscription] = set()

    async def connect(self) -> None:
        """Connect to the bus. Connecting twice is not an error."""
        self._connected = True

    async def close(self) -> None:
        """End every subscription of this Synapse, and cancel running handlers."""
        self._connected = False
        for subscription in list(self._subscriptions):
            await subscription.close()

    def publish(
        self,
        subject: str,
        frame: bytes,
        *,
        undelivered: UndeliveredHandler | None = None,
        message_id: str | None = None,
    ) -> Awaitable[None]:
        """Deliver ``frame`` to all subscribers of ``subject`` in the call; await the rest if there is any.

        Where a queue is full, the awaitable waits for space. ``message_id`` is ignored, because nothing is
        stored.

        Raises:
            SynapseClosedError: The Synapse is not connected.
            FrameTooLargeError: The frame is larger than ``guarantees.max_frame``; nothing was sent.
            SynapseError: The subject is malformed.
        """
        if not self._connected or len(frame) > self._max_frame:
            return self._refuse(subject, frame)
        try:
            blocked = self._route(subject, frame, undelivered)
        except SynapseError as error:
            return failed(error)
        return DONE if blocked is None else self._bus.deliver(blocked)

    async def _refuse(self, subject: str, frame: bytes) -> None:
        if not self._connected:
            raise self._closed(f"publish on {subject}")
        raise FrameTooLargeError(
            f"a frame of {len(frame)} bytes on {subject} exceeds the limit of {self._max_frame} bytes"
        )

    async def subscribe(
        self, pattern: str, handler: FrameHandler, *, queue_group: str | None = None
    ) -> MemorySubscription:
        """Call ``handler`` with every frame that matches ``pattern``, from now on.

        Raises:
            SynapseClosedError: The Synapse is not connected.
            SynapseError: The pattern or the name of the queue group is malformed.
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

    def _closed(self, action: str) -> SynapseClosedError:
        return SynapseClosedError(
            f"cannot {action}: this MemorySynapse is not connected; await connect() first"
        )

    def __repr__(self) -> str:
        return f"<MemorySynapse {'connected' if self._connected else 'closed'}>"


def from_url(url: str, **options: Any) -> MemorySynapse:
    """Return the Synapse for ``memory://`` (a new bus) or ``memory://name`` (the bus of that name).

    Args:
        url: The URL.
        **options: As for `MemorySynapse`.

    Raises:
        SynapseError: The name is not a token, or the URL has a path, a query or a fragment.
        TypeError: An option is unknown.
    """
    check_options("a memory Synapse", options, inspect.signature(MemorySynapse).parameters)
    parts = urlsplit(url)
    if parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise SynapseError(
            f"invalid URL of a memory Synapse: {redacted(url)!r}; use memory:// or memory://name,"
            " and keywords for options"
        )
    if not parts.netloc:
        return MemorySynapse(**options)
    if not is_token(parts.netloc):
        raise SynapseError(f"invalid name of a memory bus in {redacted(url)!r}: use A-Z a-z 0-9 _ -")
    return MemorySynapse(_named_bus(parts.netloc), **options)
