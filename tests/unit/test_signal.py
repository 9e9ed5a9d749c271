"""Signals and their codec, by example."""

from __future__ import annotations

import copy
import pickle
import sys
from typing import Any

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
