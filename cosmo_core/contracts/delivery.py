"""The types of a delivery: handlers, what a Synapse guarantees, subscriptions, and what is undeliverable."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import Any, Final, Literal, NoReturn, Protocol, Self, runtime_checkable

import msgspec

FrameHandler = Callable[[bytes], Awaitable[None] | None]
"""Receives a frame. If it returns an awaitable, the frame is in flight until that completes.

A Synapse that acknowledges does so then, and one that is at its in-flight limit delivers no more until then.
An exception, at once or in the awaitable, means that the frame was not processed.
"""


class _Done:
    def __await__(self) -> Generator[Any, None, None]:
        yield from ()


DONE: Final[Awaitable[None]] = _Done()
"""An awaitable that is done: what `Synapse.publish` may return if nothing has to be waited for."""


async def failed(error: BaseException) -> NoReturn:
    """Raise ``error`` when awaited: what a `Synapse.publish` that is a plain function returns if it fails."""
    raise error


Undelivered = Literal["no_consumers", "overloaded", "lost", "failed"]
"""Why a frame for a queue group was not delivered.

``no_consumers``: the group has no members. ``overloaded``: every member is at its in-flight limit.
``lost``: the member that had the frame is gone, and the group has no other. ``failed``: the frame was
delivered as often as ``max_deliveries`` allows and is now a dead letter.
"""

_UNDELIVERED_MESSAGES: Final[dict[Undelivered, str]] = {
    "no_consumers": "{0} has no host any more; host it again, and try again once wait_until_ready returns",
    "overloaded": "every host of {0} is at its in-flight limit; try again later, or add hosts",
    "lost": "the only host of {0} was lost while it had the {1}; try again once it is hosted again",
    "failed": "no host of {0} acknowledged the {1} within max_deliveries deliveries; it is now a dead letter"
    " of the Synapse: find the cause there before you send it again",
}


def undelivered_message(why: Undelivered, entity: str, request: str) -> str:
    """Return the error message for a request that was not delivered to a host of ``entity``."""
    return _UNDELIVERED_MESSAGES[why].format(entity, request)


UndeliveredHandler = Callable[[bytes, Undelivered], None]
"""Receives an undelivered frame and the reason. It is called in the event loop, at most once per frame."""

DEFAULT_MAX_FRAME: Final = 1024 * 1024 - 4096
"""The default for the largest frame that a Synapse carries, in bytes."""


class HeldFrame(bytes):
    """A frame that waited in the Synapse before it was delivered.

    The waiting time is subtracted from deadlines, because the clocks of publisher and receiver may differ.

    Attributes:
        held_s: Seconds that it waited.
    """

    held_s: float

    def __new__(cls, frame: bytes, held_s: float) -> Self:
        """Return ``frame`` with its waiting time."""
        held = super().__new__(cls, frame)
        held.held_s = held_s
        return held


class Guarantees(msgspec.Struct, frozen=True, kw_only=True):
    """The guarantees of a Synapse; the conformance kit tests them.

    Attributes:
        delivery: Whether a frame for a queue group may be lost, or may be delivered twice. A frame without
            a queue group is never sent again.
        ordering: Whether the frames of one publisher arrive in the order of publication.
        queue_groups: Whether each frame goes to one member of a queue group.
        max_frame: The largest frame, in bytes.
        durable: Whether frames for a known queue group are stored while it has no member.
        takeover_s: Seconds after which the unacknowledged frames of a lost member go to another one; None
            if they never do, and frames are not acknowledged.
        max_deliveries: The number of times that a frame is delivered to a queue group without being
            acknowledged. After that it is a dead letter: see `DeadLetters`.
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
    """A handler's subscription to a pattern of subjects."""

    @property
    def dropped(self) -> int:
        """The number of frames that were dropped because the handler was too slow."""

    async def unsubscribe(self) -> None:
        """Deliver no frame that arrives after this returns. Calling it again has no effect.

        Frames that have arrived before still reach the handler, and calls in progress continue.
        """


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A frame that no member of its queue group acknowledged within ``max_deliveries`` deliveries.

    Attributes:
        subject: The subject that it was published on.
        frame: The frame.
        deliveries: The number of deliveries.
        reason: The reason why the last delivery failed.
    """

    subject: str
    frame: bytes
    deliveries: int
    reason: str
