"""The Synapse contract: moves opaque frames between subjects, and never looks inside one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal, Protocol, runtime_checkable
from urllib.parse import urlsplit

import attrs

from cosmo_core.errors import SynapseError

FrameHandler = Callable[[bytes], Awaitable[None] | None]
"""Takes a frame. None: done with it. An awaitable: done when that completes; a Synapse that acknowledges
does so then, and one that is at its in-flight limit stops delivering until then."""

DEFAULT_MAX_FRAME: Final = 1024 * 1024 - 4096
"""Bytes in the largest frame that every Synapse carries, unless it is told otherwise."""


@attrs.frozen(kw_only=True)
class Guarantees:
    """What a Synapse promises; the conformance kit holds it to that.

    Attributes:
        delivery: Whether a frame may be lost, or rather come twice.
        ordering: Whether the frames of one publisher arrive in the order it sent them.
        queue_groups: Whether one member of a queue group gets each frame.
        max_frame: Bytes in the largest frame.
    """

    delivery: Literal["at-most-once", "at-least-once"] = "at-most-once"
    ordering: Literal["none", "per-publisher"] = "per-publisher"
    queue_groups: bool = True
    max_frame: int = DEFAULT_MAX_FRAME


@runtime_checkable
class Subscription(Protocol):
    """A handler's place on the bus."""

    @property
    def dropped(self) -> int:
        """How many frames were given up because the handler was too slow."""
        ...

    async def unsubscribe(self) -> None:
        """Deliver nothing more. Doing it twice is not an error."""
        ...


@runtime_checkable
class Synapse(Protocol):
    """The bus, as a Dendrite sees it.

    When `subscribe` returns, no later publish from anyone who could know of it is lost. A handler that
    raises never stops another handler or the publisher.
    """

    @property
    def guarantees(self) -> Guarantees:
        """What this Synapse promises."""
        ...

    async def connect(self) -> None:
        """Make the Synapse usable. Doing it twice is not an error."""
        ...

    async def close(self) -> None:
        """End every subscription and let go of every resource. Doing it twice is not an error."""
        ...

    async def publish(self, subject: str, frame: bytes) -> None:
        """Hand ``frame`` to whoever subscribes to ``subject``.

        Raises:
            SynapseClosedError: The Synapse is not connected.
            FrameTooLargeError: The frame is larger than ``guarantees.max_frame``; nothing was sent.
            SynapseError: The subject is malformed.
        """
        ...

    async def subscribe(
        self, pattern: str, handler: FrameHandler, *, queue_group: str | None = None
    ) -> Subscription:
        """Call ``handler`` with every frame that matches ``pattern``.

        Members of a queue group share the frames: each goes to one of them.

        Raises:
            SynapseClosedError: The Synapse is not connected.
            SynapseError: The pattern or the queue group is malformed.
        """
        ...


async def connect_synapse(url: str, **options: Any) -> Synapse:
    """Return a connected Synapse for ``url``; its scheme names the plugin, as in ``memory://``.

    Raises:
        UnknownPluginError: No installed plugin answers to the scheme; the message names those that are
            installed, and the install that would add this one.
        SynapseError: The URL has no scheme, or the Synapse could not connect.
    """
    scheme = urlsplit(url).scheme
    if not scheme:
        raise SynapseError(f"{url!r} has no scheme to say which Synapse is meant: write memory://")
    # Imported on use: reading entry points costs more than the rest of the core together.
    from cosmo_core.plugin.manager import default_manager

    synapse: Synapse = default_manager().factory("cosmo.synapses", scheme)(url, **options)
    await synapse.connect()
    return synapse
