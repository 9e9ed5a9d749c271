"""Signals and their codec, by example."""

from __future__ import annotations

import copy
import pickle
import sys
from collections.abc import Callable
from enum import Enum
from typing import Any

import msgspec
import pytest

from cosmo_core import (
    Directed,
    MalformedSignalError,
    RemoteError,
    Signal,
    SignalType,
    UnencodableError,
    decode,
    encode,
)
from cosmo_core.protocol.signal import address, new_unvalidated


def task(**input: object) -> Signal:
    return Signal.new(SignalType.TASK, {"input": input}, directed=Directed("echo"))


@pytest.mark.clause("P-1.13")
def test_signal_is_immutable() -> None:
    signal = task()
    with pytest.raises(AttributeError):
        signal.id = "evt_other"  # type: ignore[misc]


@pytest.mark.clause("P-1.4", "P-1.5")
def test_root_signal_begins_its_own_trace() -> None:
    one, other = task(), task()
    assert one.parent_id is None
    assert one.trace_id != other.trace_id


def test_constructor_rejects_a_wrong_payload() -> None:
    with pytest.raises(MalformedSignalError, match=r"payload\.code: .*`code`.*in a ERROR"):
        Signal.new(SignalType.ERROR, {"message": "no code", "recoverable": False})


@pytest.mark.clause("P-1.8")
def test_root_signal_is_encoded_without_empty_fields() -> None:
    frame = encode(Signal.new(SignalType.STOP, {"rollback": False}))
    for absent in (b"parent_id", b"directed", b"meta", b"null"):
        assert absent not in frame


@pytest.mark.clause("P-1.11")
@pytest.mark.parametrize(
    "value", [object(), "\ud800", {1: {object(): 2}}], ids=["object", "surrogate", "key"]
)
def test_encode_rejects_values_without_a_json_form(value: object) -> None:
    with pytest.raises(UnencodableError, match=r"TASK evt_.* cannot be sent as JSON"):
        encode(task(value=value))


def test_encode_rejects_endless_nesting() -> None:
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(UnencodableError):
        encode(task(value=endless))


def test_repr_omits_payload_values() -> None:
    assert "s3cr3t" not in repr(task(key="s3cr3t"))
    assert "payload=['input']" in repr(task(key="s3cr3t"))


def test_error_signal_is_raised_as_remote_error() -> None:
    signal = task().reply(SignalType.ERROR, {"code": "OVERLOADED", "message": "later", "recoverable": True})
    with pytest.raises(RemoteError, match="OVERLOADED: later") as caught:
        signal.raise_for_error()
    assert caught.value.recoverable
    assert caught.value.signal is signal
    output = task().reply(SignalType.AGENT_OUTPUT, {"output": 1})
    assert output.raise_for_error() is output


def test_signals_are_hashable_by_id() -> None:
    signal = task()
    assert hash(signal) == hash(decode(encode(signal)))


def test_minted_signal_equals_a_validated_one() -> None:
    minted = new_unvalidated(SignalType.TASK, {"input": {}}, directed=address("echo"), meta={"a": 1})
    checked = Signal(**{name: getattr(minted, name) for name in Signal.__struct_fields__})
    assert minted == checked


def test_replace_returns_a_validated_copy() -> None:
    signal = task(value=1)
    changed = signal.replace(meta={"a": 1})
    assert (changed.meta, changed.id, changed.payload) == ({"a": 1}, signal.id, signal.payload)
    assert signal.meta == {}
    with pytest.raises(MalformedSignalError, match="parent_id"):
        signal.replace(parent_id="evt_other")
    with pytest.raises(MalformedSignalError, match=r"payload\.input"):
        signal.replace(payload={})
    with pytest.raises(TypeError, match=r"did you mean payload\?"):
        signal.replace(paylod={})


def test_copies_are_equal_and_unpickling_validates() -> None:
    signal = task(value=1).replace(meta={"a": 1})
    assert copy.copy(signal) == copy.deepcopy(signal) == pickle.loads(pickle.dumps(signal)) == signal  # noqa: S301
    forged = pickle.dumps(signal).replace(signal.id.encode(), b"evt_" + b"!" * 26)
    with pytest.raises(MalformedSignalError, match="id"):
        pickle.loads(forged)  # noqa: S301


@pytest.mark.skipif(sys.version_info < (3, 13), reason="copy.replace is new in Python 3.13")
def test_copy_replace_validates() -> None:
    replace: Any = vars(copy)["replace"]
    assert replace(task(), meta={"a": 1}).meta == {"a": 1}
    with pytest.raises(MalformedSignalError, match="trace_id"):
        replace(task(), trace_id="trc_other")


# --- envelopes that were changed by means that validate nothing ---------------------------------------


def test_list_of_capabilities_becomes_a_tuple_that_cannot_be_changed_later() -> None:
    names: Any = ["read"]
    directed = Directed("echo", None, names)
    names.append("not a name")
    assert directed == Directed("echo", None, ("read",))
    assert hash(directed) == hash(Directed("echo", None, ("read",)))


@pytest.mark.parametrize("capabilities", ["read", {"read": 1}, None], ids=repr)
def test_capabilities_are_a_tuple(capabilities: Any) -> None:
    with pytest.raises(MalformedSignalError, match=r"directed\.capabilities: .* is not a tuple of names"):
        Directed("echo", None, capabilities)


def test_constructor_validates_the_text_that_is_sent() -> None:
    good = task()

    class Formatted(str):
        __slots__ = ()

        def __str__(self) -> str:
            return good.id

        def __format__(self, spec: str) -> str:
            return good.id

    class Name(str, Enum):  # noqa: UP042 - StrEnum is formatted as its value
        ID = good.id

    with pytest.raises(MalformedSignalError, match="id: 'no id' is not a valid Signal id"):
        good.replace(id=Formatted("no id"))
    assert decode(encode(good.replace(id=Name.ID))) == good


BAD_NAME = msgspec.structs.replace(Directed("echo"), id="a.b")
RAW = msgspec.Raw(b'1}},"trace_id":"no id","more":{"output":{"a":1')


@pytest.mark.parametrize("copied", [False, True], ids=["same frame", "copied frame"])
@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("id", lambda signal: msgspec.structs.replace(signal, id="no id")),
        ("trace_id", lambda signal: msgspec.structs.replace(signal, trace_id="no id")),
        ("parent_id", lambda signal: msgspec.structs.replace(signal, parent_id="no id")),
        ("ts", lambda signal: msgspec.structs.replace(signal, ts="2026-02-30T22:35:51Z")),
        ("v", lambda signal: msgspec.structs.replace(signal, v="2")),
        ("directed.id", lambda signal: msgspec.structs.replace(signal, directed=BAD_NAME)),
        ("trace_id", lambda signal: signal.payload["output"].update(raw=RAW)),
        ("payload.output", lambda signal: signal.payload.clear()),
    ],
)
@pytest.mark.parametrize("make", [new_unvalidated, Signal.new])
def test_invalid_signal_is_refused_by_its_receiver(
    make: Callable[..., Signal], field: str, change: Callable[[Signal], object], copied: bool
) -> None:
    signal = make(SignalType.AGENT_OUTPUT, {"output": {}}, directed=Directed("echo"))
    changed = change(signal)
    frame = encode(changed if isinstance(changed, Signal) else signal)
    with pytest.raises(MalformedSignalError) as caught:
        decode(bytes(bytearray(frame)) if copied else frame)
    assert caught.value.field == field
