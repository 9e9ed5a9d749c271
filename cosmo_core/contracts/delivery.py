"""The types of a delivery: handlers, what a Synapse guarantees, subscriptions, and what is undeliverable."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, Literal, Protocol, Self, runtime_checkable

import attrs

FrameHandler = Callable[[bytes], Awaitable[None] | None]
"""Takes a frame. None: done with it. An awaitable: done when that completes; a Synapse that acknowledges
does so then, and one that is at its in-flight limit stops delivering until then. What it raises, at once or
in the awaitable, says that it could not be done with the frame."""

Undelivered = Literal["no_consumers", "overloaded", "lost", "failed"]
"""Why a frame for a queue group was not delivered.

``no_consumers``: the group has no members. ``overloaded``: every member is at its in-flight limit.
``lost``: the member that had the frame is gone, and the group has no other. ``failed``: the frame was
delivered as often as ``max_deliveries`` allows and is now a dead letter.
"""

UndeliveredHandler = Callable[[bytes, Undelivered], None]
"""Takes a frame that was not delivered, and why. It is called in the event loop, at most once per frame."""

DEFAULT_MAX_FRAME: Final = 1024 * 1024 - 4096
"""Bytes in the largest frame that every Synapse carries, unless it is told otherwise."""


class HeldFrame(bytes):
    """A frame that waited in the Synapse before it came to its handler.

    Time may be of the essence in it, and the clocks of those who send and receive may differ.

    Attributes:
        held_s: For how many seconds it waited.
    """

    held_s: float

    def __new__(cls, frame: bytes, held_s: float) -> Self:
        """Return ``frame``, and for how long it was held."""
        held = super().__new__(cls, frame)
        held.held_s = held_s
        return held


@attrs.frozen(kw_only=True)
class Guarantees:
    """What a Synapse promises; the conformance kit holds it to that.

    Attributes:
        delivery: Whether a frame for a queue group may be lost, or rather come twice. Frames for others are
            never sent again.
        ordering: Whether the frames of one publisher arrive in the order it sent them.
        queue_groups: Whether one member of a queue group gets each frame.
        max_frame: Bytes in the largest frame.
        durable: Whether frames for a queue group that was there once wait while no member is.
        takeover_s: Seconds after which another member has what one that is lost had; None: never, and so
            nobody need say when a frame is done with.
        max_deliveries: How many times a frame is given to members of a queue group until one is done with
            it. After that it is a dead letter: see `DeadLetters`.
    """

    delivery: Literal["at-most-once", "at-least-once"] = "at-most-once"
    ordering: Literal["none", "per-publisher"] = "per-publisher"
    queue_groups: bool = True
    max_frame: int = DEFAULT_MAX_FRAME
    durable: bool = False
    takeover_s: float | None = None
    max_deliveries: int = 1


@runtime_checkable
class Subscription(Protocol):
    """A handler's place on the bus."""

    @property
    def dropped(self) -> int:
        """How many frames were given up because the handler was too slow."""
        ...

    async def unsubscribe(self) -> None:
        """Deliver nothing more once this returns. Doing it twice is not an error.

        What came before goes to the handler still; what a handler works on goes on.
        """
        ...


@attrs.frozen(kw_only=True)
class DeadLetter:
    """A frame for a queue group that no member was ever done with.

    Attributes:
        subject: Where it was published.
        frame: The frame.
        deliveries: How many times it was given to a member.
        reason: What became of the last one.
    """

    subject: str
    frame: bytes
    deliveries: int
    reason: str
