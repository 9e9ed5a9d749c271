"""What hooks return: the shapes that run per Signal, per Neuron call and per Neuron error.

The core compiles these once, when a Dendrite starts or an Axon is attached; pluggy is not involved when
they run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

import attrs
from attrs.validators import instance_of, matches_re

from cosmo_core.contracts.neuron import NeuronFn

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from cosmo_core.protocol.signal import Signal

Direction: TypeAlias = Literal["inbound", "outbound"]
"""Which way Signals pass a middleware: in from the Synapse, or out to it."""


@attrs.frozen
class Dropped:
    """What a middleware returns instead of a Signal that shall go no further.

    Attributes:
        reason: Why, for observers and counters.
    """

    reason: str


Forward: TypeAlias = "Callable[[Signal], Awaitable[Signal | Dropped]]"
"""The rest of the chain, as a middleware sees it."""


class SignalMiddleware(Protocol):
    """One link of the chain that a Signal passes on its way in or out.

    It awaits ``forward(signal)`` to pass the Signal on, with another ``payload`` or ``meta`` if it likes
    (the rest of the envelope stays), and returns what that gave; or it returns `Dropped` without
    forwarding.
    """

    async def __call__(self, signal: Signal, forward: Forward, /) -> Signal | Dropped:
        """Pass the Signal on, or drop it."""
        ...


@attrs.frozen
class SignalEvent:
    """What an observer is told.

    Attributes:
        kind: What happened to the Signal.
        signal: The Signal; None when the frame was malformed.
        reason: Why it was dropped, or what is wrong with the frame; None otherwise.
    """

    kind: Literal["sent", "received", "dropped", "malformed"]
    signal: Signal | None = None
    reason: str | None = None


SignalObserver: TypeAlias = Callable[[SignalEvent], None]
"""A plain function that watches; what it raises is logged and disturbs nobody."""

NeuronWrapper: TypeAlias = Callable[[NeuronFn], NeuronFn]
"""Takes a Neuron and returns the Neuron to run in its place."""


@attrs.frozen
class ErrorInfo:
    """How an exception of a Neuron is told to whoever asked.

    Attributes:
        code: A stable, upper-case code, such as ``RATE_LIMITED``.
        message: What happened and what to do about it. It travels: keep secrets out of it.
        recoverable: Whether trying the same TASK again may help.
    """

    code: str = attrs.field(validator=matches_re(r"[A-Z][A-Z0-9_]*"))
    message: str = attrs.field(validator=instance_of(str))
    recoverable: bool = attrs.field(validator=instance_of(bool))
