"""A bus for agents: plain async functions, typed Signals, and plugins for everything that varies."""

from cosmo_core.codec import decode, encode
from cosmo_core.errors import CosmoError, MalformedSignalError, RemoteError, UnencodableError
from cosmo_core.signal import Directed, Signal
from cosmo_core.signal_type import SignalType

__all__ = [
    "CosmoError",
    "Directed",
    "MalformedSignalError",
    "RemoteError",
    "Signal",
    "SignalType",
    "UnencodableError",
    "decode",
    "encode",
]
