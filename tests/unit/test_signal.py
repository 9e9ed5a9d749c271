"""Signals and their codec, by example."""

from __future__ import annotations

import attrs
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
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
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
    assert "payload={input}" in repr(task(key="s3cr3t"))


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
    checked = Signal(**{field.name: getattr(minted, field.name) for field in attrs.fields(Signal)})
    assert minted == checked
