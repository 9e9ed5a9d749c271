"""Every error the core raises, on one screen.

An error says what happened, to what, and what to do about it. Those that can end a TASK carry the
``code`` under which they travel in an ERROR Signal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cosmo_core.protocol.signal import Signal


class CosmoError(Exception):
    """The root of everything raised on purpose by the core and its plugins."""


# --- Signals ----------------------------------------------------------------------------------------


class MalformedSignalError(CosmoError, ValueError):
    """A frame, or the arguments of a Signal, break the protocol.

    Attributes:
        field: The path of the offending field, such as ``payload.input``; ``$`` is the whole frame.
        reason: What is wrong with it.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class UnencodableError(CosmoError, TypeError):
    """A payload holds something that JSON cannot carry."""


class RemoteError(CosmoError):
    """An ERROR Signal, raised by `Signal.raise_for_error`.

    Attributes:
        code: The stable code, such as ``NO_ROUTE`` or ``NEURON_ERROR``.
        recoverable: Whether trying again may help.
        signal: The ERROR Signal itself.
    """

    def __init__(self, signal: Signal) -> None:
        self.code: str = signal.payload["code"]
        self.recoverable: bool = signal.payload["recoverable"]
        self.signal = signal
        super().__init__(f"{self.code}: {signal.payload['message']}")


# --- Neurons ----------------------------------------------------------------------------------------


class NeuronError(CosmoError):
    """Raised by a Neuron to end its TASK with this message and code.

    Unlike any other exception, its message travels to whoever asked: keep secrets out of it.

    Args:
        message: What happened, to what, and what to do about it.
        code: A stable, upper-case code.
        recoverable: Whether trying the same TASK again may help.
    """

    def __init__(self, message: str, *, code: str = "NEURON_ERROR", recoverable: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.recoverable = recoverable


# --- Engrams ----------------------------------------------------------------------------------------


class EngramError(NeuronError):
    """Shared memory could not do what it was asked. A Neuron that lets it pass ends its TASK with it.

    Its codes (P-14.8): ``ENGRAM_INVALID`` (nobody could do that), ``ENGRAM_UNSUPPORTED`` (this one cannot),
    ``ENGRAM_EXISTS``, ``ENGRAM_NOT_FOUND``, ``ENGRAM_CONFLICT`` (what is there does not allow it),
    ``ENGRAM_NO_ROUTE``, ``ENGRAM_OVERLOADED``, ``ENGRAM_STOPPED`` (nobody took it), ``ENGRAM_REJECTED`` (a
    middleware dropped it, or its answer), ``ENGRAM_UNAVAILABLE``, ``ENGRAM_FULL``, ``ENGRAM_CORRUPT`` (its
    store failed), and what Engrams add.
    """

    def __init__(self, message: str, *, code: str = "ENGRAM_ERROR", recoverable: bool = False) -> None:
        super().__init__(message, code=code, recoverable=recoverable)


class EngramTimeout(EngramError, TimeoutError):  # noqa: N818 - the promised name
    """No Engram answered in time."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="ENGRAM_TIMEOUT", recoverable=True)


class EngramNotBound(EngramError, LookupError):  # noqa: N818 - the promised name
    """A Neuron asked for memory under a name that its Axon does not bind, or that says too little."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="ENGRAM_NOT_BOUND")


# --- the bus ----------------------------------------------------------------------------------------


class SynapseError(CosmoError):
    """A Synapse could not do what it was asked."""


class SynapseClosedError(SynapseError):
    """The Synapse is not connected: it never was, or it was closed."""


class SynapseAuthError(SynapseError):
    """The bus does not let this program in: its key or its credentials are wrong, or missing."""

    code: ClassVar[str] = "AUTH_FAILED"


class FrameTooLargeError(SynapseError):
    """A frame is larger than the Synapse carries; nothing was sent."""


class RoleError(CosmoError):
    """A Dendrite with ``role="worker"`` tried to emit an orchestration Signal; nothing was sent."""


class LifecycleError(CosmoError, RuntimeError):
    """A Dendrite was used before it started, after it stopped, or started twice."""


class NoRouteError(CosmoError):
    """No live Neuron can take the TASK; nothing was sent.

    Attributes:
        known: The Neurons (or capabilities) that the Dendrite does see in its namespace.
    """

    code: ClassVar[str] = "NO_ROUTE"

    def __init__(self, wanted: str, known: Iterable[str]) -> None:
        self.known = sorted(known)
        listed = ", ".join(self.known) or "none at all"
        super().__init__(f"no live {wanted} in this namespace; known: {listed}")


class NoBidError(CosmoError, TimeoutError):
    """Nobody got the work of a TASK_OFFER: no bid came in time, or none was taken.

    Attributes:
        capabilities: What was asked for.
        waited_s: For how many seconds bids were taken.
        bids: How many came.
    """

    code: ClassVar[str] = "NO_BID"

    def __init__(self, capabilities: Iterable[str], waited_s: float, bids: int) -> None:
        self.capabilities = list(capabilities)
        self.waited_s = waited_s
        self.bids = bids
        wanted = " and ".join(map(repr, self.capabilities))
        came = f"none of {bids} bids was taken" if bids else "no Neuron bid"
        super().__init__(f"{came} for work that needs {wanted} within {waited_s} s")


class RejectedError(CosmoError):
    """A middleware of this Dendrite dropped the Signal; nothing was sent."""


class PathwayClosedError(CosmoError):
    """The Pathway closed before the awaited Signal came."""


# --- plugins ----------------------------------------------------------------------------------------


class PluginError(CosmoError):
    """A plugin cannot be used."""


class UnknownPluginError(PluginError, LookupError):
    """No installed plugin answers to this name."""


class PluginConflictError(PluginError):
    """Two distributions claim one name."""


class PluginLoadError(PluginError):
    """A plugin was found but could not be imported."""


class PluginIncompatibleError(PluginError):
    """A plugin was written for another version of the plugin interface."""


class HookError(PluginError):
    """A hook implementation does not fit its specification."""
