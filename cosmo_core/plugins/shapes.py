"""The types of the hooks: the view of a Dendrite that they get, and what they return.

The core compiles them once, when a Dendrite starts or an Axon is attached; pluggy is not involved when they
run.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, Protocol, TypeAlias

import attrs
from attrs.validators import instance_of, matches_re

from cosmo_core.contracts.axon import Axon
from cosmo_core.contracts.neuron import NeuronFn
from cosmo_core.contracts.options import Role
from cosmo_core.protocol.signal import Signal


class DendriteInfo(Protocol):
    """The part of a Dendrite that the plugin system uses. A hook gets the Dendrite itself."""

    namespace: str
    role: Role

    @property
    def axons(self) -> Sequence[Axon]:
        """The attached Axons."""


Direction: TypeAlias = Literal["inbound", "outbound"]
"""The direction in which Signals pass a middleware: from the Synapse, or to it."""


@attrs.frozen
class Dropped:
    """Returned by a middleware instead of a Signal, to drop the Signal.

    Attributes:
        reason: The reason, for observers and counters.
    """

    reason: str


Forward: TypeAlias = "Callable[[Signal], Awaitable[Signal | Dropped]]"
"""The rest of the chain, as a middleware sees it."""


class SignalMiddleware(Protocol):
    """One link of the chain that a Signal passes on its way in or out.

    It awaits ``forward(signal)`` and returns the result; it may replace ``payload`` and ``meta`` before or
    after, but nothing else of the envelope. Or it returns `Dropped` without forwarding.
    """

    async def __call__(self, signal: Signal, forward: Forward, /) -> Signal | Dropped:
        """Pass the Signal on, or drop it."""


@attrs.frozen
class SignalEvent:
    """The argument of an observer.

    Attributes:
        kind: What happened to the Signal.
        signal: The Signal; None if the frame was malformed.
        reason: Why the Signal was dropped or why the frame is malformed; None otherwise.
    """

    kind: Literal["sent", "received", "dropped", "malformed"]
    signal: Signal | None = None
    reason: str | None = None


SignalObserver: TypeAlias = Callable[[SignalEvent], None]
"""A plain function that is called for every event; its exceptions are logged and have no other effect."""

NeuronWrapper: TypeAlias = Callable[[NeuronFn], NeuronFn]
"""Takes a Neuron and returns the Neuron to run in its place."""


@attrs.frozen
class ErrorInfo:
    """The content of the ERROR Signal for an exception of a Neuron.

    Attributes:
        code: A stable, upper-case code, such as ``RATE_LIMITED``.
        message: What happened and what to do. It is sent to the requester: keep secrets out of it.
        recoverable: Whether the same TASK may succeed later.
    """

    code: str = attrs.field(validator=matches_re(r"[A-Z][A-Z0-9_]*"))
    message: str = attrs.field(validator=instance_of(str))
    recoverable: bool = attrs.field(validator=instance_of(bool))
