"""The codec: Signals to bytes and back, as JSON in UTF-8 with envelope version 1."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from cosmo_core.errors import MalformedSignalError, UnencodableError
from cosmo_core.protocol.signal import Directed, Signal
from cosmo_core.protocol.signal_type import SignalType


class _Wire(msgspec.Struct, omit_defaults=True, gc=False):
    """A Signal as it is encoded: msgspec omits defaults of its own structs, but not of attrs classes."""

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
    """Encode ``signal`` as a frame, without the fields that have no value (P-1.8).

    Payloads may also contain values with an obvious JSON form: tuples and sets become arrays, dates and
    UUIDs become strings, dataclasses and attrs classes become objects, NaN and the infinities become null.

    Raises:
        UnencodableError: ``payload`` or ``meta`` contains a value that JSON cannot represent.
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
    """Decode ``frame`` and validate every field of its envelope (P-1.10).

    Unknown fields of the envelope are ignored; unknown keys of ``payload`` and ``meta`` are kept (P-12.2,
    P-12.3).

    Raises:
        MalformedSignalError: The frame is not a valid Signal. The error names the field and the reason; it
            is the only one raised, whatever the bytes are.
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
        # The checks of the Signal itself raised it, so it already names the field.
        return error.__cause__
    found = _AT.match(str(error))
    path = found["path"] if found else None
    reason = found["reason"] if found else str(error)
    return MalformedSignalError(path or "$", reason)
