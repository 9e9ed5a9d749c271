"""Signals by example: what cannot be said as a law."""

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
from cosmo_core.protocol.signal import address, mint


def task(**input: object) -> Signal:
    return Signal.new(SignalType.TASK, {"input": input}, directed=Directed("echo"))


@pytest.mark.clause("P-1.13")
def test_a_signal_cannot_be_changed() -> None:
    signal = task()
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        signal.id = "evt_other"  # type: ignore[misc]


@pytest.mark.clause("P-1.4", "P-1.5")
def test_a_root_begins_a_trace_of_its_own() -> None:
    one, other = task(), task()
    assert one.parent_id is None
    assert one.trace_id != other.trace_id


def test_a_wrong_payload_is_refused_when_it_is_made() -> None:
    with pytest.raises(MalformedSignalError, match=r"payload\.code: .*`code`.*in a ERROR"):
        Signal.new(SignalType.ERROR, {"message": "no code", "recoverable": False})


@pytest.mark.clause("P-1.8")
def test_a_root_is_sent_without_empty_fields() -> None:
    frame = encode(Signal.new(SignalType.STOP, {"rollback": False}))
    for absent in (b"parent_id", b"directed", b"meta", b"null"):
        assert absent not in frame


@pytest.mark.clause("P-1.11")
@pytest.mark.parametrize(
    "value", [object(), "\ud800", {1: {object(): 2}}], ids=["object", "surrogate", "key"]
)
def test_what_json_cannot_carry_is_said(value: object) -> None:
    with pytest.raises(UnencodableError, match=r"TASK evt_.* cannot be sent as JSON"):
        encode(task(value=value))


def test_endless_nesting_is_said() -> None:
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(UnencodableError):
        encode(task(value=endless))


def test_a_payload_is_not_in_the_repr() -> None:
    assert "s3cr3t" not in repr(task(key="s3cr3t"))
    assert "payload={input}" in repr(task(key="s3cr3t"))


def test_an_error_signal_can_be_raised() -> None:
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


def test_a_minted_signal_is_like_a_checked_one() -> None:
    minted = mint(SignalType.TASK, {"input": {}}, directed=address("echo"), meta={"a": 1})
    checked = Signal(**{field.name: getattr(minted, field.name) for field in attrs.fields(Signal)})
    assert minted == checked
