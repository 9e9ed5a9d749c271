"""The Synapse contract: moves opaque frames between subjects, and never looks inside one."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from cosmo_core.contracts.delivery import (
    DeadLetter,
    FrameHandler,
    Guarantees,
    Subscription,
    UndeliveredHandler,
)


@runtime_checkable
class Synapse(Protocol):
    """The bus, as a Dendrite sees it.

    When `subscribe` returns, no later publish from anyone who could know of it is lost. A handler that
    raises never stops another handler or the publisher. A connection that breaks is made again, and every
    subscription with it; until then `publish` waits, within bounds.
    """

    @property
    def guarantees(self) -> Guarantees:
        """What this Synapse promises."""
        ...

    async def connect(self) -> None:
        """Make the Synapse usable. Doing it twice is not an error.

        Raises:
            SynapseAuthError: The bus does not let this program in.
            SynapseError: The bus cannot be reached.
        """
        ...

    async def close(self) -> None:
        """End every subscription and let go of every resource. Doing it twice is not an error."""
        ...

    async def publish(
        self,
        subject: str,
        frame: bytes,
        *,
        undelivered: UndeliveredHandler | None = None,
        message_id: str | None = None,
    ) -> None:
        """Hand ``frame`` to whoever subscribes to ``subject``.

        Args:
            subject: Tokens joined by dots.
            frame: What to carry.
            undelivered: The frame is for a queue group. It is told when the Synapse learns that no member
                will be done with it, which may be at once. Without it, one that finds no room in a queue
                group waits for it, and so does the publisher.
            message_id: What tells this frame from others. A Synapse that stores frames stores one of each id.

        Raises:
            SynapseClosedError: The Synapse is not connected.
            FrameTooLargeError: The frame is larger than ``guarantees.max_frame``; nothing was sent.
            SynapseError: The subject is malformed, or the bus cannot be reached.
        """
        ...

    async def subscribe(
        self, pattern: str, handler: FrameHandler, *, queue_group: str | None = None
    ) -> Subscription:
        """Call ``handler`` with every frame that matches ``pattern``.

        Members of a queue group share the frames: each goes to one of them.

        Raises:
            SynapseClosedError: The Synapse is not connected.
            SynapseError: The pattern or the queue group is malformed, or the bus cannot be reached.
        """
        ...


@runtime_checkable
class DeadLetters(Protocol):
    """A Synapse that keeps what nobody was done with; one with ``max_deliveries`` above 1 has to."""

    async def dead_letters(self) -> list[DeadLetter]:
        """Return the dead letters that are kept, oldest first."""
        ...


@runtime_checkable
class ThreadPublisher(Protocol):
    """A Synapse that can also publish while its event loop is blocked."""

    def publish_from_thread(self, subject: str, frame: bytes) -> None:
        """Hand ``frame`` to whoever subscribes to ``subject``, from any thread, if the bus can be reached.

        It is for signs of life: nobody is told what became of it.
        """
        ...
