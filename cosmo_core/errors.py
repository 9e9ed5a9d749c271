"""The exceptions of the core, except `RemoteError`, which is in ``protocol/signal.py``.

An error text says what happened, the value, and what to do. An exception that can end a TASK has a ``code``:
it is the ``code`` of the ERROR Signal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import ClassVar, Final

# What may be secret in an address, in the order of its removal, and what is shown instead. The patterns are
# compiled on use: few programs show an address, and all import this module.
_SECRETS: Final = (
    (
        (
            r"(?is)(\w*(?:pass|pwd|secret|token|cred|key|auth|jwt|sig)\w*\s*=\s*)"
            r"(?:'(?:[^'\\]|\\.)*'?|(?:(?![&\s]+\w+\s*=).)*)"
        ),
        r"\1…",
    ),
    (r"(?is)^(\s*[a-z][a-z0-9+.-]*://|).*@", r"\1…@"),
    # What is in the place of a port and is not a number may be a password.
    (r"((?://|[@,])(?:\[[\w:.%]*\]|[^\[\]/:?#,@]*):)(?!\d*(?:[/?#,]|$))[^/?#,]+", r"\1…"),
    # No address has a fragment: it is part of a password that is not percent-encoded.
    (r"(?s)(://[^#]*#).+", r"\1…"),
)


def redacted(address: str) -> str:
    """Return a URL or DSN without its user, its passwords and similar options, for messages and reprs.

    It need not be valid: everything before the last ``@`` counts as a password.
    """
    for secret, shown in _SECRETS:
        address = re.sub(secret, shown, address)
    return address


MAX_LISTED: Final = 20
"""The number of known names that an error lists."""


class CosmoError(Exception):
    """The base class of all exceptions of the core and its plugins."""


# --- Signals ----------------------------------------------------------------------------------------


class MalformedSignalError(CosmoError, ValueError):
    """A frame, or an argument of a Signal, breaks the protocol.

    Attributes:
        field: The path of the field, such as ``payload.input``; ``$`` is the whole frame.
        reason: Why its value is not valid.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class UnencodableError(CosmoError, TypeError):
    """A payload contains a value that JSON cannot represent."""


# --- Neurons ----------------------------------------------------------------------------------------


class NeuronError(CosmoError):
    """Raised by a Neuron to end its TASK with this message and code.

    Unlike the message of any other exception, this one is sent to the requester: keep secrets out of it.

    Args:
        message: What happened, the value, and what to do.
        code: A stable, upper-case code.
        recoverable: Whether the same TASK may succeed later.
    """

    def __init__(self, message: str, *, code: str = "NEURON_ERROR", recoverable: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.recoverable = recoverable


class OutputTypeError(CosmoError, ValueError):
    """The output of a Neuron does not fit the type that the caller asked for.

    Attributes:
        neuron_id: The Neuron.
        reason: The first value that does not fit, and its path in the output.
    """

    def __init__(self, neuron_id: str, type_name: str, reason: str) -> None:
        super().__init__(f"the output of Neuron {neuron_id!r} is not a valid {type_name}: {reason}")
        self.neuron_id = neuron_id
        self.reason = reason


# --- Engrams ----------------------------------------------------------------------------------------


class EngramError(NeuronError):
    """A request to shared memory failed. A Neuron that does not catch it ends its TASK with it.

    The codes (P-14.8): ``ENGRAM_INVALID`` (the request is not valid), ``ENGRAM_UNSUPPORTED`` (this Engram
    cannot do it), ``ENGRAM_EXISTS``, ``ENGRAM_NOT_FOUND``, ``ENGRAM_CONFLICT`` (the existing entries do not
    allow it), ``ENGRAM_NO_ROUTE``, ``ENGRAM_OVERLOADED``, ``ENGRAM_STOPPED`` (no host processed it),
    ``ENGRAM_REJECTED`` (a middleware dropped the request or its answer), ``ENGRAM_UNAVAILABLE``,
    ``ENGRAM_FULL``, ``ENGRAM_CORRUPT`` (the store failed). Engrams may add their own.
    """

    def __init__(self, message: str, *, code: str = "ENGRAM_ERROR", recoverable: bool = False) -> None:
        super().__init__(message, code=code, recoverable=recoverable)


class EngramTimeout(EngramError, TimeoutError):  # noqa: N818 - the promised name
    """No Engram answered in time."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="ENGRAM_TIMEOUT", recoverable=True)


class EngramNotBound(EngramError, LookupError):  # noqa: N818 - the promised name
    """A Neuron used a name of memory that its Axon does not bind, or that is ambiguous."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="ENGRAM_NOT_BOUND")


# --- the bus ----------------------------------------------------------------------------------------


class SynapseError(CosmoError):
    """An operation of a Synapse failed."""


class SynapseClosedError(SynapseError):
    """The Synapse is not connected: it was never connected, or it was closed."""


class SynapseAuthError(SynapseError):
    """The bus rejected this program: its key or its credentials are wrong or missing."""

    code: ClassVar[str] = "AUTH_FAILED"
    recoverable: ClassVar[bool] = False


class FrameTooLargeError(SynapseError):
    """A frame exceeds the limit of the Synapse; nothing was sent."""


class RoleError(CosmoError):
    """A Dendrite with ``role="worker"`` tried to send an orchestration Signal; nothing was sent."""


class LifecycleError(CosmoError, RuntimeError):
    """A Dendrite was used before it started or after it stopped, or was started twice."""


class NoRouteError(CosmoError):
    """No live Neuron can take the TASK; nothing was sent.

    Attributes:
        known: The live Neurons (or capabilities) that the Dendrite knows in its namespace.
    """

    code: ClassVar[str] = "NO_ROUTE"

    def __init__(self, wanted: str, known: Iterable[str]) -> None:
        self.known = sorted(set(known))
        listed = ", ".join(self.known[:MAX_LISTED]) or "none"
        if len(self.known) > MAX_LISTED:
            listed += f" and {len(self.known) - MAX_LISTED} more"
        super().__init__(f"no live {wanted} in this namespace; known: {listed}")


class AnswerTimeoutError(CosmoError, TimeoutError):
    """A TASK had no answer within the time limit of its caller."""

    code: ClassVar[str] = "TIMEOUT"


class NoBidError(CosmoError, TimeoutError):
    """The work of a TASK_OFFER was not assigned: no bid came in time, or none was accepted.

    Attributes:
        capabilities: The capabilities that the offer asked for.
        waited_s: The bidding time in seconds.
        bids: The number of bids that came.
    """

    code: ClassVar[str] = "NO_BID"

    def __init__(self, capabilities: Iterable[str], waited_s: float, bids: int) -> None:
        self.capabilities = list(capabilities)
        self.waited_s = waited_s
        self.bids = bids
        wanted = " and ".join(map(repr, self.capabilities))
        outcome = f"none of {bids} bids was accepted" if bids else "no Neuron bid"
        super().__init__(f"{outcome} for work that needs {wanted} within {waited_s} s")


class RejectedError(CosmoError):
    """A middleware of this Dendrite dropped the Signal; nothing was sent."""


class PathwayClosedError(CosmoError):
    """The Pathway closed before the awaited Signal arrived."""


# --- plugins ----------------------------------------------------------------------------------------


class PluginError(CosmoError):
    """A plugin cannot be used."""


class UnknownPluginError(PluginError, LookupError):
    """No installed plugin has this name."""


class PluginConflictError(PluginError):
    """Several distributions provide a plugin with the same name."""


class PluginLoadError(PluginError):
    """A plugin is installed but cannot be imported."""


class PluginIncompatibleError(PluginError):
    """A plugin is written for another version of the plugin interface."""


class HookError(PluginError):
    """A hook implementation does not fit its specification."""
