"""The Signal: the one envelope that crosses the bus."""

from __future__ import annotations

import re
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

import attrs
import msgspec

from cosmo_core.errors import MalformedSignalError, RemoteError
from cosmo_core.protocol.ids import ULID_PATTERN, is_token, new_event
from cosmo_core.protocol.payloads import PAYLOADS
from cosmo_core.protocol.signal_type import SignalType

EVENT_ID_PATTERN: Final = f"evt_{ULID_PATTERN}"
TRACE_ID_PATTERN: Final = f"trc_{ULID_PATTERN}"
TS_PATTERN: Final = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z"
VERSION_PATTERN: Final = r"1(?:\.\d{1,9})*"

# One match over all the stamps is cheaper than one for each; none can hold the space that keeps them apart.
_root = re.compile(f"{EVENT_ID_PATTERN} {TRACE_ID_PATTERN} {TS_PATTERN}", re.ASCII).fullmatch
_child = re.compile(
    f"{EVENT_ID_PATTERN} {TRACE_ID_PATTERN} {TS_PATTERN} {EVENT_ID_PATTERN}", re.ASCII
).fullmatch
_event_id = re.compile(EVENT_ID_PATTERN).fullmatch
_trace_id = re.compile(TRACE_ID_PATTERN).fullmatch
_version = re.compile(VERSION_PATTERN, re.ASCII).fullmatch
_missing = re.compile("Object missing required field `([^`]*)`").match


class Directed(msgspec.Struct, frozen=True):
    """Whom a Signal is meant for, or speaks of (P-1.7). Only ``id`` chooses who acts (P-3.10)."""

    id: str | None = None
    type: str | None = None
    capabilities: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        id, type = self.id, self.type
        if id is not None and not is_token(id):
            raise MalformedSignalError("directed.id", f"{id!r} is not a name")
        if type is not None and not is_token(type):
            raise MalformedSignalError("directed.type", f"{type!r} is not a name")
        for capability in self.capabilities:
            if not is_token(capability):
                raise MalformedSignalError("directed.capabilities", f"{capability!r} is not a name")


@lru_cache(maxsize=10_000)
def address(id: str) -> Directed:
    """Return the `Directed` of one id; the same object for the same id."""
    return Directed(id)


def _keys_only(value: dict[str, Any]) -> str:
    return "{" + ", ".join(map(str, value)) + "}"


@attrs.frozen(kw_only=True)
class Signal:
    """An immutable message on one trace. Make new ones with `Signal.new` and `Signal.reply`.

    The constructor takes the envelope exactly as it is on the wire and checks all of it. What a payload
    holds is not shown by ``repr``: it may be private, and long.

    Attributes:
        v: The envelope's version, ``1`` or ``1.x`` (P-12.1).
        id: ``evt_`` + ULID, never used twice (P-1.3).
        trace_id: ``trc_`` + ULID, the same for everything that belongs to one workflow (P-1.4).
        type: What kind of message this is; it decides which keys ``payload`` must have (P-2.2).
        ts: When it was made: RFC 3339, UTC, ending in ``Z`` (P-1.6).
        payload: The content.
        parent_id: The ``id`` of the Signal that caused this one; None at the root of a trace.
        directed: Whom it is meant for, if it is not for everybody.
        meta: Whatever travels along.

    Raises:
        MalformedSignalError: A field breaks the protocol; the error names it.
    """

    v: str
    id: str
    trace_id: str
    type: SignalType
    ts: str
    payload: dict[str, Any] = attrs.field(repr=_keys_only)
    parent_id: str | None = None
    directed: Directed | None = None
    meta: dict[str, Any] = attrs.field(factory=dict, repr=_keys_only)

    def __attrs_post_init__(self) -> None:
        if self.parent_id is None:
            stamped = _root(f"{self.id} {self.trace_id} {self.ts}")
        else:
            stamped = _child(f"{self.id} {self.trace_id} {self.ts} {self.parent_id}")
        if stamped is None:
            raise _envelope_error(self)
        if self.v != "1" and _version(self.v) is None:
            raise MalformedSignalError("v", f"version {self.v!r} is not spoken here; only 1 and 1.x are")
        try:
            datetime.fromisoformat(self.ts)
        except ValueError as error:
            raise MalformedSignalError("ts", f"{self.ts!r} is no moment in time: {error}") from None
        try:
            msgspec.convert(self.payload, PAYLOADS[self.type])
        except msgspec.ValidationError as error:
            raise payload_error(self.type, error) from None

    def __hash__(self) -> int:
        return hash(self.id)

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
        """Make a Signal with a fresh id and time stamp, on a new trace unless one is given.

        A new trace has the same ULID as the Signal that begins it.

        Raises:
            MalformedSignalError: The payload lacks a key that the type requires, or an id is malformed.
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
        """Make a Signal that this one caused: the same trace, with this one as its parent.

        It is directed as this one is, unless ``directed`` says otherwise.
        """
        return Signal.new(
            type,
            payload,
            trace_id=self.trace_id,
            parent_id=self.id,
            directed=self.directed if directed is None else directed,
            meta=meta,
        )

    def raise_for_error(self) -> Signal:
        """Return this Signal, or raise it if it is an ERROR.

        Raises:
            RemoteError: This is an ERROR; it carries the code, the message and whether to try again.
        """
        if self.type is SignalType.ERROR:
            raise RemoteError(self)
        return self


# The slots themselves, past the frozen class's guard and checks.
_v, _id, _trace, _type, _ts, _payload, _parent, _directed, _meta = (
    getattr(Signal, field.name).__set__ for field in attrs.fields(Signal)
)


def mint(
    type: SignalType,
    payload: dict[str, Any],
    trace_id: str | None = None,
    parent_id: str | None = None,
    directed: Directed | None = None,
    meta: dict[str, Any] | None = None,
) -> Signal:
    """Make a Signal as `Signal.new` does, unchecked, in a quarter of the time.

    Only for what is right by construction: ids from other Signals, and a payload that was just put together
    from parts that were checked. Whoever receives it checks it anyway.
    """
    id, ts = new_event()
    signal = Signal.__new__(Signal)
    _v(signal, "1")
    _id(signal, id)
    _trace(signal, "trc_" + id[4:] if trace_id is None else trace_id)
    _type(signal, type)
    _ts(signal, ts)
    _payload(signal, payload)
    _parent(signal, parent_id)
    _directed(signal, directed)
    _meta(signal, {} if meta is None else meta)
    return signal


def deadline_ms(seconds: float) -> int:
    """Return a remaining time as ``deadline_ms``: whole milliseconds, 0 when the time is up."""
    return int(seconds * 1000) if seconds > 0 else 0


def shorten_deadline(signal: Signal, seconds: float) -> Signal:
    """Return ``signal`` with its ``deadline_ms`` reduced by the time that it waited on its way (P-5.10)."""
    left = signal.payload.get("deadline_ms")
    if left is None:
        return signal
    return attrs.evolve(signal, payload={**signal.payload, "deadline_ms": max(0, int(left - seconds * 1000))})


def check_trace_id(trace_id: str) -> str:
    """Return ``trace_id`` if it is one.

    Raises:
        MalformedSignalError: It is not, so nothing could ever be on it.
    """
    if _trace_id(trace_id) is None:
        raise MalformedSignalError("trace_id", f"{trace_id!r} is not trc_ and a ULID")
    return trace_id


def check_event_id(field: str, event_id: str) -> str:
    """Return ``event_id`` if it is the id of a Signal.

    Raises:
        MalformedSignalError: It is not; it names ``field``.
    """
    if _event_id(event_id) is None:
        raise MalformedSignalError(field, f"{event_id!r} is not evt_ and a ULID")
    return event_id


def _envelope_error(signal: Signal) -> MalformedSignalError:
    if _event_id(signal.id) is None:
        return MalformedSignalError("id", f"{signal.id!r} is not evt_ and a ULID")
    check_trace_id(signal.trace_id)
    if signal.parent_id is not None and _event_id(signal.parent_id) is None:
        return MalformedSignalError("parent_id", f"{signal.parent_id!r} is not evt_ and a ULID")
    return MalformedSignalError("ts", f"{signal.ts!r} is not RFC 3339 in UTC, ending in Z")


def payload_error(type: SignalType, error: msgspec.ValidationError) -> MalformedSignalError:
    """Say which key of a payload is wrong, from what msgspec said of it."""
    reason, _, path = str(error).partition(" - at `$")
    missing = _missing(reason)
    field = f"payload{path.removesuffix('`')}" + (f".{missing[1]}" if missing else "")
    return MalformedSignalError(field, f"{reason} (in a {type.value})")
