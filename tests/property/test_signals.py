"""Properties of the envelope and its codec."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cosmo_core import MalformedSignalError, Signal, SignalType, decode, encode
from cosmo_core.protocol.payloads import PAYLOADS
from cosmo_core_cli.schema import json_schema
from cosmo_testing.strategies import directed, json_objects, json_values, payloads, signals

SCHEMA = json_schema()
SAMPLE = encode(Signal.new(SignalType.TASK, {"input": {"prompt": "hi"}}, meta={"reply_to": "me"}))


def decodes(frame: bytes) -> bool:
    """Return whether a frame decodes; any error except MalformedSignalError fails the test."""
    try:
        decode(frame)
    except MalformedSignalError:
        return False
    return True


@pytest.mark.clause("P-2.1")
@pytest.mark.parametrize("type", SignalType)
def test_every_type_round_trips(type: SignalType) -> None:
    @settings(max_examples=50)
    @given(signals(type))
    def check(signal: Signal) -> None:
        assert decode(encode(signal)) == signal

    check()


@pytest.mark.clause("P-1.1", "P-1.10")
@given(
    st.binary(max_size=300)
    | st.text().map(lambda text: text.encode())
    | json_values().map(msgspec.json.encode)
)
@example(b"[" * 100_000)
@example(b'{"v":' * 100_000)
@example(b"1e999")
@example(b'"\\ud800"')
@example(b"\xff\xfe")
def test_any_bytes_decode_or_raise_malformed_signal_error(frame: bytes) -> None:
    decodes(frame)


@given(
    st.integers(0, len(SAMPLE) - 1),
    st.integers(0, 10),
    st.binary(max_size=4),
)
def test_damaged_frame_decodes_or_raises_malformed_signal_error(at: int, cut: int, patch: bytes) -> None:
    frame = SAMPLE[:at] + patch + SAMPLE[at + cut :]
    decodes(frame)


@pytest.mark.clause("P-12.2")
@given(signals(), st.text().filter(lambda key: key not in SCHEMA["properties"]), json_values())
def test_unknown_envelope_fields_are_ignored(signal: Signal, key: str, value: Any) -> None:
    wire = msgspec.json.decode(encode(signal))
    wire[key] = value
    assert decode(msgspec.json.encode(wire)) == signal


@pytest.mark.clause("P-12.3")
@given(
    st.sampled_from(SignalType).flatmap(lambda kind: st.tuples(st.just(kind), payloads(kind))), json_objects()
)
def test_unknown_payload_and_meta_keys_survive(
    drawn: tuple[SignalType, dict[str, Any]], meta: dict[str, Any]
) -> None:
    type, payload = drawn
    signal = decode(encode(Signal.new(type, payload, meta=meta)))
    assert signal.payload == payload
    assert signal.meta == meta


REQUIRED = [
    (type, field.encode_name)
    for type, payload in PAYLOADS.items()
    for field in msgspec.structs.fields(payload)
    if field.required
]


@pytest.mark.clause("P-2.2")
@pytest.mark.parametrize(("type", "key"), REQUIRED)
def test_error_names_the_missing_payload_key(type: SignalType, key: str) -> None:
    @settings(max_examples=5)
    @given(signals(type))
    def check(signal: Signal) -> None:
        wire = msgspec.json.decode(encode(signal))
        del wire["payload"][key]
        with pytest.raises(MalformedSignalError, match=f"`{key}`") as caught:
            decode(msgspec.json.encode(wire))
        assert caught.value.field == f"payload.{key}"

    check()


@pytest.mark.clause("P-1.2")
@pytest.mark.parametrize("field", ["v", "id", "trace_id", "type", "ts", "payload"])
def test_error_names_the_missing_envelope_field(field: str) -> None:
    wire = msgspec.json.decode(SAMPLE)
    del wire[field]
    with pytest.raises(MalformedSignalError, match=f"`{field}`"):
        decode(msgspec.json.encode(wire))


@pytest.mark.clause("P-1.3", "P-1.4", "P-1.5", "P-1.6", "P-1.7", "P-1.8", "P-2.1", "P-3.1", "P-12.1")
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("v", "2"),
        ("v", "1x"),
        ("v", 1),
        ("id", "evt_"),
        ("id", "trc_01M7XJN3184V5JMW2Y9K221JJZ"),
        ("id", "evt_01M7XJN3184V5JMW2Y9K221JJZ\n"),
        ("id", "evt_01M7XJN3184V5JMW2Y9K221JJ!"),
        ("id", "evt_81M7XJN3184V5JMW2Y9K221JJZ"),
        ("id", "evt_01m7xjn3184v5jmw2y9k221jjz"),
        ("trace_id", "evt_01M7XJN3184V5JMW2Y9K221JJZ"),
        ("trace_id", None),
        ("parent_id", "evt_"),
        ("parent_id", 7),
        ("type", "TUSK"),
        ("type", "task"),
        ("ts", "2026-11-20T22:35:51"),
        ("ts", "2026-11-20T22:35:51+00:00"),
        ("ts", "2026-11-20T22:35:51+05:30"),
        ("ts", "2026-02-30T22:35:51Z"),
        ("ts", "20261120T223551Z"),
        ("ts", "\u0662026-11-20T22:35:51Z"),
        ("ts", 1700000000),
        ("directed", "echo"),
        ("directed.id", "a.b"),
        ("directed.id", "*"),
        ("directed.id", ""),
        ("directed.id", "x" * 65),
        ("directed.id", "echo\n"),
        ("directed.id", "\u0435cho"),
        ("directed.type", "a b"),
        ("directed.capabilities", [">"]),
        ("payload", []),
        ("payload.input", "hello"),
        ("payload.capabilities", ["a.b"]),
        ("meta", None),
    ],
)
def test_error_names_the_wrong_field(field: str, value: object) -> None:
    wire = msgspec.json.decode(SAMPLE)
    outer, _, inner = field.partition(".")
    if inner:
        wire.setdefault(outer, {})[inner] = value
    else:
        wire[outer] = value
    with pytest.raises(MalformedSignalError) as caught:
        decode(msgspec.json.encode(wire))
    assert caught.value.field.startswith(field)


@pytest.mark.clause("P-1.4", "P-1.5")
@given(signals(), payloads(SignalType.AGENT_OUTPUT), st.none() | directed())
def test_reply_keeps_the_trace_and_has_its_parent(
    cause: Signal, payload: dict[str, Any], address: Any
) -> None:
    reply = cause.reply(SignalType.AGENT_OUTPUT, payload, directed=address)
    assert reply.trace_id == cause.trace_id
    assert reply.parent_id == cause.id
    assert reply.id != cause.id
    assert reply.directed == (cause.directed if address is None else address)


@pytest.mark.clause("P-1.11")
@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_without_a_json_form_become_null(number: float) -> None:
    assert decode(encode(Signal.new(SignalType.FINAL, {"result": number}))).payload == {"result": None}
