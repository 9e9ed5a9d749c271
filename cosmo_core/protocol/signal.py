"""The Signal: the envelope of every message on the bus, and its JSON form in UTF-8 (envelope version 1)."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache, partial
from os import PathLike, fspath
from types import NoneType
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cosmo_core.arguments import MAX_SECONDS, check_options, check_wait
from cosmo_core.errors import CosmoError, MalformedSignalError, UnencodableError
from cosmo_core.protocol.ids import ULID_PATTERN, is_token, new_event
from cosmo_core.protocol.payloads import PAYLOADS
from cosmo_core.protocol.signal_type import TERMINAL_TYPES, SignalType

EVENT_ID_PATTERN: Final = f"evt_{ULID_PATTERN}"
TRACE_ID_PATTERN: Final = f"trc_{ULID_PATTERN}"
TS_PATTERN: Final = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z"
VERSION_PATTERN: Final = r"1(?:\.\d{1,9})*"

# One match over all ids and the time stamp is cheaper than one match each; none of them can contain a space.
_root = re.compile(f"{EVENT_ID_PATTERN} {TRACE_ID_PATTERN} {TS_PATTERN}", re.ASCII).fullmatch
_child = re.compile(
    f"{EVENT_ID_PATTERN} {TRACE_ID_PATTERN} {TS_PATTERN} {EVENT_ID_PATTERN}", re.ASCII
).fullmatch
_event_id = re.compile(EVENT_ID_PATTERN).fullmatch
_trace_id = re.compile(TRACE_ID_PATTERN).fullmatch


class _ValidatingMeta(msgspec.StructMeta):
    """Validates what a call of the class makes. What the codec makes is validated there, or valid already."""

    if not TYPE_CHECKING:

        def __call__(self, *values: Any, **fields: Any) -> Any:
            made = super().__call__(*values, **fields)
            made._validate()
            return made


class Directed(msgspec.Struct, frozen=True, metaclass=_ValidatingMeta):
    """The participant that a Signal addresses or describes (P-1.7); ``id`` selects it (P-3.10)."""

    id: str | None = None
    type: str | None = None
    capabilities: tuple[str, ...] = ()

    def _validate(self) -> None:
        id, type = self.id, self.type
        if id is not None and not is_token(id):
            raise MalformedSignalError("directed.id", f"{id!r} is not a valid name")
        if type is not None and not is_token(type):
            raise MalformedSignalError("directed.type", f"{type!r} is not a valid name")
        capabilities: object = self.capabilities
        if isinstance(capabilities, list):
            # A list could be changed after it was validated.
            msgspec.structs.force_setattr(self, "capabilities", tuple(capabilities))
        elif not isinstance(capabilities, tuple):
            raise MalformedSignalError("directed.capabilities", f"{capabilities!r} is not a tuple of names")
        for capability in self.capabilities:
            if not is_token(capability):
                raise MalformedSignalError("directed.capabilities", f"{capability!r} is not a valid name")


@lru_cache(maxsize=10_000)
def address(id: str) -> Directed:
    """Return the `Directed` with this id; equal ids give the same object."""
    return Directed(id)


class RemoteError(CosmoError):
    """An ERROR Signal, raised as an exception by `Signal.raise_for_error`.

    Attributes:
        code: The stable code, such as ``NO_ROUTE`` or ``NEURON_ERROR``.
        message: The message.
        recoverable: Whether the same TASK may succeed later.
        signal: The ERROR Signal itself.
    """

    def __init__(self, signal: Signal) -> None:
        self.code: str = signal.payload["code"]
        self.message: str = signal.payload["message"]
        self.recoverable: bool = signal.payload["recoverable"]
        self.signal = signal
        super().__init__(f"{self.code}: {self.message}")


class QuestionError(CosmoError):
    """A CLARIFICATION or PERMISSION where an output was expected, raised by `Signal.output`.

    Answer it with `Dendrite.respond_to_clarification` or `Dendrite.respond_to_permission`.

    Attributes:
        signal: The question.
    """

    def __init__(self, signal: Signal) -> None:
        self.signal = signal
        kind, neuron = signal.type.value, signal.directed.id if signal.directed is not None else None
        asked = signal.payload.get("question", signal.payload.get("action"))
        how = f"dendrite.respond_to_{kind.lower()}(error.signal, …)"
        super().__init__(f"Neuron {neuron!r} answered with {kind}: {asked}; answer it with {how}")


class Signal(msgspec.Struct, frozen=True, omit_defaults=True, metaclass=_ValidatingMeta):
    """An immutable message on one trace. `Signal.new` and `Signal.reply` make new ones.

    The constructor takes the envelope as it is on the wire, and validates all of it. ``repr`` shows only
    the keys of ``payload`` and ``meta``: the values may be private, and long.

    Attributes:
        v: The version of the envelope, ``1`` or ``1.x`` (P-12.1).
        id: ``evt_`` + ULID, never reused (P-1.3).
        trace_id: ``trc_`` + ULID, the same for all Signals of one workflow (P-1.4).
        type: The type of the message; it determines the keys of ``payload`` (P-2.2).
        ts: The time of creation: RFC 3339, UTC, ending in ``Z`` (P-1.6).
        payload: The content.
        parent_id: The ``id`` of the Signal that caused this one; None at the root of a trace.
        directed: The participant that it addresses; None for all participants.
        meta: Further data, such as ``reply_to``.

    Raises:
        MalformedSignalError: A field breaks the protocol; the error names it.
    """

    v: str
    id: str
    trace_id: str
    type: SignalType
    ts: str
    payload: dict[str, Any]
    parent_id: str | None = None
    directed: Directed | None = None
    meta: dict[str, Any] = {}

    def __hash__(self) -> int:
        return hash(self.id)

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        values = ((name, getattr(self, name)) for name in self.__struct_fields__)
        return [(name, list(value) if isinstance(value, dict) else value) for name, value in values]

    def __repr__(self) -> str:
        return f"Signal({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"

    @classmethod
    def new(
        cls,
        type: SignalType,
        payload: dict[str, Any],
        *,
        trace_id: str | None = None,
        parent_id: str | None = None,
        directed: Directed | None = None,
        meta: dict[str, Any] | None = None,
    ) -> Signal:
        """Make a Signal with a new id and time stamp, on a new trace unless ``trace_id`` is given.

        A new trace has the same ULID as the Signal that begins it.

        Raises:
            MalformedSignalError: The payload does not fit the type, or an id is malformed.
        """
        id, ts = new_event()
        return cls(
            v="1",
            id=id,
            trace_id="trc_" + id[4:] if trace_id is None else trace_id,
            type=type,
            ts=ts,
            payload=payload,
            parent_id=parent_id,
            directed=directed,
            meta={} if meta is None else meta,
        )

    def reply(
        self,
        type: SignalType,
        payload: dict[str, Any],
        *,
        directed: Directed | None = None,
        meta: dict[str, Any] | None = None,
    ) -> Signal:
        """Make a Signal on the same trace, with this one as its parent.

        It has the ``directed`` of this Signal unless another one is given.
        """
        return Signal.new(
            type,
            payload,
            trace_id=self.trace_id,
            parent_id=self.id,
            directed=self.directed if directed is None else directed,
            meta=meta,
        )

    def replace(self, **changes: Any) -> Signal:
        """Return a copy with other values of some fields, validated as the constructor does.

        A middleware may change ``payload`` and ``meta`` only.

        Raises:
            TypeError: A Signal has no such field.
            MalformedSignalError: A value breaks the protocol; the error names the field.
        """
        check_options("Signal.replace", changes, self.__struct_fields__)
        changed = msgspec.structs.replace(self, **changes)
        changed._validate()
        return changed

    __replace__ = replace

    def _validate(self) -> None:
        if not isinstance(self.directed, Directed | None):
            raise MalformedSignalError("directed", f"{self.directed!r} is not a Directed")
        self._check_envelope()
        self._check_payload()

    def _check_envelope(self) -> None:
        # Not formatted: a subclass of str may be formatted as another text than the one that is sent.
        if self.parent_id is None:
            stamped = _root(" ".join((self.id, self.trace_id, self.ts)))
        else:
            stamped = _child(" ".join((self.id, self.trace_id, self.ts, self.parent_id)))
        if stamped is None:
            raise _envelope_error(self)
        if self.v != "1" and re.fullmatch(VERSION_PATTERN, self.v, re.ASCII) is None:
            raise MalformedSignalError("v", f"unsupported protocol version {self.v!r}; supported: 1 and 1.x")
        try:
            datetime.fromisoformat(self.ts)
        except ValueError as error:
            raise MalformedSignalError("ts", f"{self.ts!r} is not a valid point in time: {error}") from None
        if self.directed is not None:
            self.directed._validate()

    def _check_payload(self) -> None:
        try:
            msgspec.convert(self.payload, PAYLOADS[self.type])
        except (msgspec.ValidationError, OverflowError) as error:
            raise payload_error(self.type, error) from None

    def raise_for_error(self) -> Signal:
        """Return this Signal, or raise a `RemoteError` if it is an ERROR.

        Raises:
            RemoteError: This Signal is an ERROR; the exception has its code, message and ``recoverable``.
        """
        if self.type is SignalType.ERROR:
            raise RemoteError(self)
        return self

    @property
    def output(self) -> Any:
        """The output of an AGENT_OUTPUT, an object where an Axon made it (P-5.8), or the result of a FINAL.

        Raises:
            RemoteError: This Signal is an ERROR.
            QuestionError: It is a CLARIFICATION or a PERMISSION.
            TypeError: It is of another type, which has no output.
        """
        if self.type is SignalType.AGENT_OUTPUT:
            return self.payload["output"]
        if self.type is SignalType.FINAL:
            return self.payload["result"]
        self.raise_for_error()
        if self.type in TERMINAL_TYPES:
            raise QuestionError(self)
        raise TypeError(f"{self.type.value} has no output; the Signals that end a TASK do")


# Makes a Signal from all of its fields in their order, without validation.
_make: Final[Callable[..., Signal]] = partial(msgspec.StructMeta.__call__, Signal)


def new_unvalidated(
    type: SignalType,
    payload: dict[str, Any],
    trace_id: str | None = None,
    parent_id: str | None = None,
    directed: Directed | None = None,
    meta: dict[str, Any] | None = None,
) -> Signal:
    """Make a Signal like `Signal.new`, without validation, in a quarter of the time.

    For arguments that are valid by construction: ids of other Signals, and payloads built from validated
    parts. A receiver validates the Signal, but one in this process may take such an envelope as it is.
    """
    global _made_last
    id, ts = new_event()
    trace = "trc_" + id[4:] if trace_id is None else trace_id
    _made_last = ("1", id, trace, ts, parent_id, directed)
    return _make("1", id, trace, type, ts, payload, parent_id, directed, {} if meta is None else meta)


def check_signal(name: str, value: object) -> None:
    """Check that an argument is a Signal.

    Raises:
        TypeError: It is not.
    """
    if not isinstance(value, Signal):
        raise TypeError(f"{name} is a Signal, as Signal.new(type, payload) makes one, not {value!r}")


def deadline_ms(seconds: float) -> int:
    """Return a remaining time as ``deadline_ms``: whole milliseconds, 0 when the time is up.

    Raises:
        TypeError: It is not a number.
        ValueError: It is infinite, not a number (NaN), or above `MAX_SECONDS`.
    """
    if 0 < seconds <= MAX_SECONDS:
        return int(seconds * 1000)
    check_wait(seconds)
    return 0


def shorten_deadline(signal: Signal, seconds: float) -> Signal:
    """Return ``signal`` with its ``deadline_ms`` reduced by the time that it waited on its way (P-5.10)."""
    left, waited = signal.payload.get("deadline_ms"), int(seconds * 1000)
    if left is None or not waited:
        return signal
    payload = {**signal.payload, "deadline_ms": max(0, left - waited)}
    return msgspec.structs.replace(signal, payload=payload)


def check_trace_id(trace_id: str) -> str:
    """Return ``trace_id`` if it is a valid trace id.

    Raises:
        MalformedSignalError: It is not.
    """
    if _trace_id(trace_id) is None:
        raise MalformedSignalError("trace_id", f"{trace_id!r} is not a valid trace id: trc_ and a ULID")
    return trace_id


def check_event_id(field: str, event_id: str) -> str:
    """Return ``event_id`` if it is a valid Signal id.

    Raises:
        MalformedSignalError: It is not; the error names ``field``.
    """
    if _event_id(event_id) is None:
        raise MalformedSignalError(field, f"{event_id!r} is not a valid Signal id: evt_ and a ULID")
    return event_id


def _envelope_error(signal: Signal) -> MalformedSignalError:
    check_event_id("id", signal.id)
    check_trace_id(signal.trace_id)
    if signal.parent_id is not None:
        check_event_id("parent_id", signal.parent_id)
    return MalformedSignalError("ts", f"{signal.ts!r} is not an RFC 3339 time stamp in UTC that ends in Z")


def payload_error(type: SignalType, error: Exception) -> MalformedSignalError:
    """Convert msgspec's error about a payload to one that names the key, if msgspec does."""
    reason, path = _split(error)
    missing = re.match("Object missing required field `([^`]*)`", reason)
    field = f"payload{path}" + (f".{missing[1]}" if missing else "")
    return MalformedSignalError(field, f"{reason} (in a {type.value})")


def _split(error: Exception) -> tuple[str, str]:
    """Return the reason that msgspec names, and the path below the value that it checked."""
    reason, _, path = str(error).partition(" - at `$")
    return reason, path.removesuffix("`")


# --- the codec --------------------------------------------------------------------------------------


def plain_value(value: Any) -> Any:
    """Return what an object of a type that JSON does not know stands for, as msgspec's ``enc_hook``.

    A subclass of ``str``, ``int`` or ``float`` stands for its value, a pydantic model for its fields by
    their aliases, an array or scalar of numpy and similar libraries for its numbers, a path for its text, and
    any other sequence for its items.

    Raises:
        TypeError: It stands for no value.
    """
    if type(value) in (list, tuple, dict, NoneType):
        # JSON has these, but not as keys.
        raise TypeError(f"a key of an object cannot be of type {type(value).__name__}")
    if isinstance(value, str):
        return str.__str__(value)
    for number in (int, float):
        if isinstance(value, number):
            return number(value)
    if isinstance(value, PathLike):
        return fspath(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence | deque):
        return list(value)
    if (dump := getattr(value, "model_dump", None)) is not None:
        # As the model reads them: by their aliases, and a number or a date as JSON has it.
        return dump(mode="json", by_alias=True)
    if (to_list := getattr(value, "tolist", None)) is not None:
        return to_list()
    raise TypeError(f"an object of type {type(value).__qualname__} has no JSON form")


_encode_json: Final = msgspec.json.Encoder(enc_hook=plain_value).encode
_decode_signal: Final = msgspec.json.Decoder(Signal).decode

# The key of each type whose payload has one key with any value: looking for it is a tenth of a validation.
_FREE_KEYS: Final = {
    type: field.name
    for type, payload in PAYLOADS.items()
    # Not `fields` of all: that resolves every annotation of a payload.
    if len(payload.__struct_fields__) == 1
    for field in msgspec.structs.fields(payload)
    if field.required and field.type is Any
}

# The frame that was encoded last, and the envelope that `new_unvalidated` made last. A receiver in this
# process that finds this envelope in this frame does not check it again: that takes as long as parsing the
# frame, and the comparison a sixth of it. Without the comparison, a Signal that was changed by means that
# validate nothing would not be refused, nor a payload with JSON of its own (`msgspec.Raw`) that reaches into
# the envelope.
_encoded_last: bytes | None = None
_made_last: tuple[object, ...] = ()


def encode(signal: Signal) -> bytes:
    """Encode ``signal`` as a frame, without the fields that have no value (P-1.8).

    Payloads may also contain values with an obvious JSON form: tuples and sets become arrays, dates and
    UUIDs become strings, dataclasses and attrs classes become objects, NaN and the infinities become null;
    see `plain_value` for others.

    Raises:
        UnencodableError: ``payload`` or ``meta`` contains a value that JSON cannot represent, or an integer
            that does not fit into a double.
    """
    global _encoded_last
    try:
        frame = _encode_json(signal)
        if len(frame) >= _SHORTEST_TOO_LONG:
            _check_integers(frame)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise UnencodableError(f"{signal.type.value} {signal.id} cannot be sent as JSON: {error}") from error
    _encoded_last = frame
    return frame


def decode(frame: bytes | bytearray | memoryview | str) -> Signal:
    """Decode ``frame`` and validate every field of its envelope (P-1.10).

    Unknown fields of the envelope are ignored; unknown keys of ``payload`` and ``meta`` are kept (P-12.2,
    P-12.3).

    Raises:
        MalformedSignalError: The frame is not a valid Signal. The error names the field and the reason; it
            is the only one raised, whatever the bytes are.
    """
    try:
        signal = _decode_signal(frame)
        if frame is not _encoded_last:
            signal._check_envelope()
            if len(frame) >= _SHORTEST_TOO_LONG:
                _check_integers(frame.encode() if isinstance(frame, str) else bytes(frame))
        elif (
            signal.v,
            signal.id,
            signal.trace_id,
            signal.ts,
            signal.parent_id,
            signal.directed,
        ) != _made_last:
            signal._check_envelope()
        if _FREE_KEYS.get(signal.type) not in signal.payload:
            signal._check_payload()
    except OverflowError as error:
        raise MalformedSignalError("$", str(error)) from None
    except msgspec.ValidationError as error:
        raise _explain(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedSignalError("$", f"not JSON: {error}") from None
    except RecursionError:
        raise MalformedSignalError("$", "nested too deeply") from None
    return signal


# The digits of the shortest integer that no double can hold, and the length of a frame that can have one:
# each frame also has two ids, of 30 characters.
_TOO_LONG: Final = 309
_SHORTEST_TOO_LONG: Final = _TOO_LONG + 2 * 30
_DIGITS: Final = bytes(ord("0") if chr(code) in "0123456789" else ord(" ") for code in range(256))


def _check_integers(frame: bytes) -> None:
    """Check that a frame has no integer beyond the range of a double (P-1.9).

    msgspec decodes integers of any size. Only a run of digits can be one; of every third of its length one
    byte is looked at first, so that this costs a hundredth of decoding a long text.

    Raises:
        OverflowError: It has one.
    """
    if b"000" in frame[:: _TOO_LONG // 3].translate(_DIGITS) and b"0" * _TOO_LONG in frame.translate(_DIGITS):
        # The digits may also be text: then the frame is valid. Imported on use: hardly any frame gets here.
        import json

        json.loads(frame, parse_int=_double)


def _double(digits: str) -> float:
    try:
        return float(int(digits))
    except OverflowError:
        raise OverflowError(f"an integer of {len(digits)} digits does not fit into a double") from None


def _explain(error: msgspec.ValidationError) -> MalformedSignalError:
    reason, path = _split(error)
    return MalformedSignalError(path.removeprefix(".") or "$", reason)
