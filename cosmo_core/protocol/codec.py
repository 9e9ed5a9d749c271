"""Signals to bytes and back: JSON in UTF-8, envelope version 1. The only JSON on a Signal's path."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from cosmo_core.errors import MalformedSignalError, UnencodableError
from cosmo_core.protocol.signal import Directed, Signal
from cosmo_core.protocol.signal_type import SignalType


class _Wire(msgspec.Struct, omit_defaults=True, gc=False):
    """A Signal as it is written: msgspec leaves out the defaults of its own structs, not those of attrs."""

    v: str
    id: str
    trace_id: str
    type: SignalType
    ts: str
    payload: dict[str, Any]
    parent_id: str | None = None
    directed: Directed | None = None
    meta: dict[str, Any] = {}


_encode_json: Final = msgspec.json.Encoder().encode
_decode_signal: Final = msgspec.json.Decoder(Signal).decode
_AT = re.compile(r"^(?P<reason>.*?)(?: - at `\$\.?(?P<path>.*)`)?$", re.DOTALL)


def encode(signal: Signal) -> bytes:
    """Return the frame that carries ``signal``. Fields without a value are left out (P-1.8).

    Payloads may also hold what has an obvious JSON form: tuples and sets become arrays, dates and UUIDs
    strings, dataclasses and attrs classes objects, NaN and infinities null.

    Raises:
        UnencodableError: The payload or meta holds something that JSON cannot carry.
    """
    wire = _Wire(
        signal.v,
        signal.id,
        signal.trace_id,
        signal.type,
        signal.ts,
        signal.payload,
        signal.parent_id,
        signal.directed,
        signal.meta,
    )
    try:
        return _encode_json(wire)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise UnencodableError(f"{signal.type.value} {signal.id} cannot be sent as JSON: {error}") from error


def decode(frame: bytes | bytearray | memoryview | str) -> Signal:
    """Return the Signal that ``frame`` carries, with every field of its envelope checked (P-1.10).

    Fields of the envelope that this version does not know are ignored; unknown keys of the payload and of
    meta are kept (P-12.2, P-12.3).

    Raises:
        MalformedSignalError: The frame is no valid Signal, whatever its bytes are. The error names the
            field and the reason.
    """
    try:
        return _decode_signal(frame)
    except msgspec.ValidationError as error:
        raise _explain(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedSignalError("$", f"not JSON: {error}") from None
    except RecursionError:
        raise MalformedSignalError("$", "nested too deeply") from None


def _explain(error: msgspec.ValidationError) -> MalformedSignalError:
    if isinstance(error.__cause__, MalformedSignalError):
        # Raised by the Signal's own checks: it names the field already.
        return error.__cause__
    found = _AT.match(str(error))
    path = found["path"] if found else None
    reason = found["reason"] if found else str(error)
    return MalformedSignalError(path or "$", reason)
