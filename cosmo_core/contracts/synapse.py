"""The Synapse contract: moves opaque frames between subjects, and never looks inside one."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol, runtime_checkable

from cosmo_core.contracts.delivery import (
    DeadLetter,
    FrameHandler,
    Guarantees,
    Subscription,
    UndeliveredHandler,
)
from cosmo_core.errors import SynapseError


@runtime_checkable
class Synapse(Protocol):
    """The bus that a Dendrite publishes to and subscribes to.

    After `subscribe` returns, no frame is lost whose publisher could know that it did. An exception of a
    handler never affects another handler or the publisher. A broken connection is restored, with all
    subscriptions; until then `publish` waits, up to a limit.
    """

    @property
    def guarantees(self) -> Guarantees:
        """The guarantees of this Synapse."""

    async def connect(self) -> None:
        """Connect to the bus. Connecting again has no effect.

        Raises:
            SynapseAuthError: The bus refused the credentials.
            SynapseError: The bus cannot be reached.
        """

    async def close(self) -> None:
        """End every subscription and release every resource. Closing it again has no effect."""

    def publish(
        self,
        subject: str,
        frame: bytes,
        *,
        undelivered: UndeliveredHandler | None = None,
        message_id: str | None = None,
    ) -> Awaitable[None]:
        """Publish ``frame`` to the subscribers of ``subject``; ``async def`` is the usual way to write it.

        A Synapse that often publishes without waiting may do so in the call, and return `DONE`: then a
        Dendrite awaits nothing.

        Args:
            subject: Tokens joined by dots.
            frame: The frame.
            undelivered: For a frame to a queue group: called when the Synapse finds that the frame cannot be
                delivered, which may be at once. Without it, the publisher waits while every member is at its
                in-flight limit.
            message_id: A unique id of the frame. A Synapse that stores frames stores each id once.

        Raises:
            SynapseClosedError: The Synapse is not connected.
            FrameTooLargeError: The frame is larger than ``guarantees.max_frame``; nothing was sent.
            SynapseError: The subject is malformed, or the bus cannot be reached.
        """

    async def subscribe(
        self, pattern: str, handler: FrameHandler, *, queue_group: str | None = None
    ) -> Subscription:
        """Call ``handler`` with every frame that matches ``pattern``.

        Members of a queue group share the frames: each goes to one of them.

        Raises:
            SynapseClosedError: The Synapse is not connected.
            SynapseError: The pattern or the queue group is malformed, or the bus cannot be reached.
        """


@runtime_checkable
class DeadLetters(Protocol):
    """A Synapse that stores dead letters; one with ``max_deliveries`` above 1 must."""

    async def dead_letters(self) -> list[DeadLetter]:
        """Return the stored dead letters, oldest first."""


@runtime_checkable
class AnswerStore(Protocol):
    """A durable Synapse that stores answers, too: their receiver gets them although its connection broke."""

    async def store_answer(self, subject: str, frame: bytes, message_id: str) -> None:
        """Store ``frame`` for the subscriber of ``subject``, once for each id; return when it is stored.

        Raises:
            SynapseError: As `Synapse.publish` does, or the frame was not stored in time.
        """

    async def subscribe_answers(self, pattern: str, handler: FrameHandler) -> Subscription:
        """Subscribe as `Synapse.subscribe` does, as the one subscriber, who gets stored answers, too.

        Each stored answer is delivered once, those of the time without a connection when it is restored.
        """


@runtime_checkable
class ThreadPublisher(Protocol):
    """A Synapse that can also publish while its event loop is blocked."""

    def publish_from_thread(self, subject: str, frame: bytes) -> None:
        """Publish ``frame`` to the subscribers of ``subject`` from any thread, if the bus can be reached.

        It is for heartbeats: a failure is not reported.
        """


@runtime_checkable
class FailureReporter(Protocol):
    """A Synapse that reports when its connection has ended for good, so that a program can end, too."""

    async def wait_failed(self) -> SynapseError:
        """Return why the connection has ended for good, once it has."""
