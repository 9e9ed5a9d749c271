"""The exported JSON Schema and the codec accept the same frames; an independent library reads the schema."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosmo_core import Directed, MalformedSignalError, Signal, SignalType, decode, encode
from cosmo_core.protocol.payloads import PAYLOADS
from cosmo_core_cli.schema import json_schema
from cosmo_testing.strategies import json_objects, json_values, payloads, signals

SCHEMA = json_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
NEAR_MISSES = ["", "a.b", "a b", "a\n", "x" * 65, "ok", "add", "merge", 0, 1, -1, 2**53, 0.5, 1.5, True, None]
EVERY_TYPE = pytest.mark.parametrize("type", SignalType)


def accepts(frame: bytes) -> bool:
    """Return whether the codec accepts a frame."""
    try:
        decode(frame)
    except MalformedSignalError:
        return False
    return True


def definition(type: SignalType) -> dict[str, Any]:
    """Return the schema of the payload of a type."""
    found: dict[str, Any] = SCHEMA["$defs"][PAYLOADS[type].__name__.rstrip("_")]
    return found


def told_apart() -> st.SearchStrategy[Any]:
    """Values for which schema and codec can agree: a schema sees no difference between 1.0 and 1."""
    value = json_values() | st.sampled_from(NEAR_MISSES) | st.lists(st.sampled_from(NEAR_MISSES), max_size=2)
    return value.filter(lambda value: not (isinstance(value, float) and value.is_integer()))


def from_schema(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that satisfy a schema, generated from the schema alone."""
    if "anyOf" in schema:
        return st.one_of([from_schema(each) for each in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema.get("type"):
        case None:
            return json_values()
        case "object":
            return json_objects()
        case "array":
            return st.lists(from_schema(schema.get("items", {})), max_size=3)
        case "string":
            pattern = schema.get("pattern")
            return st.text() if pattern is None else st.from_regex(re.compile(pattern, re.ASCII))
        case "integer":
            return st.integers(schema.get("minimum"), schema.get("maximum"))
        case "number":
            low, high = schema.get("minimum"), schema.get("maximum")
            return st.floats(low, high, allow_nan=False, allow_infinity=False)
        case "boolean":
            return st.booleans()
        case other:
            assert other == "null"
            return st.none()


def payloads_from_schema(type: SignalType) -> st.SearchStrategy[dict[str, Any]]:
    """Payloads that satisfy the schema of a type."""
    schema = definition(type)
    keys = {name: from_schema(value) for name, value in schema["properties"].items()}
    required = {name: keys.pop(name) for name in schema["required"]}
    return st.fixed_dictionaries(required, optional=keys).filter(
        jsonschema.Draft202012Validator({**schema, "$defs": SCHEMA["$defs"]}).is_valid
    )


def frame(type: SignalType, payload: Any, **fields: Any) -> dict[str, Any]:
    """Return the frame for a payload, without validation."""
    root = json.loads(encode(Signal.new(SignalType.TASK, {"input": {}})))
    return {**root, "type": type.value, "payload": payload, **fields}


# --- in both directions, for every type -------------------------------------------------------------


@pytest.mark.clause("P-1.14", "P-2.2", "P-2.3")
@EVERY_TYPE
def test_schema_accepts_what_the_codec_accepts(type: SignalType) -> None:
    @settings(max_examples=20, deadline=None)
    @given(signals(type))
    def check(signal: Signal) -> None:
        VALIDATOR.validate(json.loads(encode(signal)))

    check()


@pytest.mark.clause("P-1.14", "P-2.2", "P-2.3")
@EVERY_TYPE
def test_codec_accepts_what_the_schema_accepts(type: SignalType) -> None:
    @settings(max_examples=20, deadline=None)
    @given(payloads_from_schema(type))
    def check(payload: dict[str, Any]) -> None:
        wire = frame(type, payload)
        VALIDATOR.validate(wire)
        assert decode(json.dumps(wire)).payload == payload

    check()


@pytest.mark.clause("P-1.14", "P-2.2", "P-2.3", "P-2.4")
@EVERY_TYPE
def test_schema_and_codec_agree_on_damaged_payloads(type: SignalType) -> None:
    keys = sorted(definition(type)["properties"])

    @settings(max_examples=40, deadline=None)
    @given(payloads(type), st.lists(st.tuples(st.sampled_from(keys), st.none() | told_apart().map(_Value))))
    def check(payload: dict[str, Any], changes: list[tuple[str, _Value | None]]) -> None:
        for key, change in changes:
            if change is None:
                payload.pop(key, None)
            else:
                payload[key] = change.value
        wire = frame(type, payload)
        assert accepts(msgspec.json.encode(wire)) is VALIDATOR.is_valid(wire)

    check()


class _Value:
    """A value to set; None stands for a key to remove."""

    def __init__(self, value: Any) -> None:
        self.value = value


FIELDS = [*SCHEMA["properties"], "directed.id", "directed.type", "directed.capabilities"]


@pytest.mark.clause("P-1.14", "P-1.2", "P-1.7", "P-1.8")
@settings(max_examples=150, deadline=None)
@given(signals(), st.sampled_from(FIELDS), told_apart() | st.none().map(lambda _: ...))
def test_schema_and_codec_agree_on_damaged_envelopes(signal: Signal, field: str, value: Any) -> None:
    wire = json.loads(encode(signal))
    outer, _, inner = field.partition(".")
    place, key = (wire.setdefault(outer, {}), inner) if inner else (wire, outer)
    if value is ...:
        place.pop(key, None)
    else:
        place[key] = value
    assert accepts(msgspec.json.encode(wire)) is VALIDATOR.is_valid(wire)


@pytest.mark.clause("P-1.3", "P-1.4", "P-1.6", "P-12.1")
@settings(max_examples=150, deadline=None)
@given(signals(), st.sampled_from(["v", "id", "trace_id", "ts"]), st.data())
def test_schema_and_codec_agree_on_ids_with_one_changed_character(
    signal: Signal, field: str, data: st.DataObject
) -> None:
    wire = json.loads(encode(signal))
    stamp = wire[field]
    at = data.draw(st.integers(0, len(stamp)))
    cut = data.draw(st.integers(0, 1))
    # Some parsers take these characters for digits, or for the end of a line.
    patch = data.draw(st.text(st.sampled_from("09aZIL.\n\u0662\uff11 "), max_size=1))
    wire[field] = stamp[:at] + patch + stamp[at + cut :]
    if field == "ts" and VALIDATOR.is_valid(wire) and not accepts(json.dumps(wire).encode()):
        # A schema cannot express this (P-1.6).
        with pytest.raises(MalformedSignalError, match="is not a valid point in time"):
            decode(json.dumps(wire))
    else:
        assert accepts(json.dumps(wire).encode()) is VALIDATOR.is_valid(wire)


# --- what a schema cannot express -------------------------------------------------------------------


@pytest.mark.clause("P-1.6")
@pytest.mark.parametrize(
    "ts",
    [
        "2026-02-30T22:35:51Z",
        "2026-13-01T22:35:51Z",
        "0000-01-01T00:00:00Z",
        "2026-11-20T25:00:00Z",
        "2026-11-20T23:59:60Z",
    ],
)
def test_only_the_codec_rejects_moments_that_do_not_exist(ts: str) -> None:
    wire = frame(SignalType.TASK, {"input": {}}, ts=ts)
    assert VALIDATOR.is_valid(wire)
    with pytest.raises(MalformedSignalError, match=r"ts: .* is not a valid point in time"):
        decode(json.dumps(wire))


@pytest.mark.clause("P-1.9")
@pytest.mark.parametrize(
    ("type", "payload", "number"),
    [
        (SignalType.TASK, '{"input": {}, "deadline_ms": N}', "1.0"),
        (SignalType.TASK, '{"input": {}, "deadline_ms": N}', "1e3"),
        (SignalType.THOUGHT_DELTA, '{"delta": "", "seq": N}', "0.0"),
        (SignalType.BID, '{"cost": N}', "1" + "0" * 400),
        (SignalType.BID, '{"cost": N}', "1e999"),
        (SignalType.TASK, '{"input": {"n": N}}', "1e999"),
        (SignalType.TASK, '{"input": {"n": N}}', "1" + "0" * 309),
        (SignalType.TASK, '{"input": {"n": [{"m": N}]}}', "-" + "9" * 400),
        (SignalType.TASK, '{"input": {"text": "a text", "n": N}}', "9" * 4000),
    ],
)
def test_only_the_codec_rejects_other_notations(type: SignalType, payload: str, number: str) -> None:
    wire = json.dumps(frame(type, "PAYLOAD")).replace('"PAYLOAD"', payload)
    assert VALIDATOR.is_valid(json.loads(wire.replace("N}", number + "}")))
    assert not accepts(wire.replace("N}", number + "}").encode())
    assert accepts(wire.replace("N}", "7}").encode())


@pytest.mark.clause("P-1.1")
@pytest.mark.parametrize(
    "damage",
    [
        lambda text: b"\xef\xbb\xbf" + text.encode(),
        lambda text: text.encode("utf-16"),
        lambda text: text.replace("MARK", "\\ud800").encode(),
        lambda text: text.replace("MARK", "ä").encode("latin-1"),
        lambda text: text.replace('"MARK"', "NaN").encode(),
        lambda text: text.encode() + b"{}",
        lambda text: b"[" + text.encode() + b"]",
        lambda text: b"",
    ],
    ids=["byte-order-mark", "utf-16", "surrogate", "latin-1", "nan", "two", "array", "empty"],
)
def test_codec_rejects_bytes_that_are_not_json(damage: Any) -> None:
    text = json.dumps(frame(SignalType.TASK, {"input": {"text": "MARK"}}))
    assert accepts(text.encode())
    assert not accepts(damage(text))


@pytest.mark.clause("P-1.1")
def test_last_value_of_a_repeated_key_counts() -> None:
    text = json.dumps(frame(SignalType.TASK, {"input": {}}))
    assert decode('{"v": "2", ' + text[1:]).v == "1"
    with pytest.raises(MalformedSignalError):
        decode(text[:-1] + ', "v": "2"}')


# --- null and unknown keys --------------------------------------------------------------------------


@pytest.mark.clause("P-1.8", "P-2.3")
@EVERY_TYPE
def test_null_counts_as_absent_for_optional_keys(type: SignalType) -> None:
    schema = definition(type)
    optional = schema["properties"].keys() - set(schema["required"])

    @settings(max_examples=10, deadline=None)
    @given(payloads(type).filter(lambda payload: type is not SignalType.TOOL_RESULT or "result" in payload))
    def check(payload: dict[str, Any]) -> None:
        payload |= dict.fromkeys(optional - {"result"})
        directed: dict[str, Any] = {"id": None, "type": None, "capabilities": []}
        assert accepts(msgspec.json.encode(frame(type, payload, parent_id=None, directed=directed)))
        assert accepts(msgspec.json.encode(frame(type, payload, directed=None)))

    check()
    assert not accepts(msgspec.json.encode(frame(SignalType.STOP, {"rollback": False}, meta=None)))


@pytest.mark.clause("P-12.2")
def test_unknown_keys_of_directed_are_ignored() -> None:
    wire = frame(SignalType.TASK, {"input": {}}, directed={"id": "echo", "colour": "red"})
    assert VALIDATOR.is_valid(wire)
    assert decode(json.dumps(wire)).directed == Directed("echo")


@pytest.mark.clause("P-12.5", "P-2.1")
@pytest.mark.parametrize("type", ["TASKS", "task", "", "ROUTED", None, 7])
def test_unknown_type_is_malformed(type: Any) -> None:
    wire = frame(SignalType.TASK, {"input": {}}) | {"type": type}
    assert not VALIDATOR.is_valid(wire)
    assert not accepts(json.dumps(wire).encode())


# --- the schema itself ------------------------------------------------------------------------------


@pytest.mark.clause("P-1.14", "P-2.1")
def test_schema_is_valid_and_describes_every_type() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    json.dumps(SCHEMA)
    assert SCHEMA["properties"]["type"]["enum"] == [type.value for type in SignalType]
    chosen = {rule["if"]["properties"]["type"]["const"]: rule["then"] for rule in SCHEMA["allOf"]}
    for type in SignalType:
        name = chosen[type.value]["properties"]["payload"]["$ref"].removeprefix("#/$defs/")
        assert SCHEMA["$defs"][name]["title"] == name
        assert definition(type)["title"] == name
        assert "\n  " not in SCHEMA["$defs"][name]["description"]


@pytest.mark.clause("P-1.14")
def test_schema_patterns_are_portable() -> None:
    patterns = re.findall(r'"pattern": "((?:[^"\\]|\\.)*)"', json.dumps(SCHEMA))
    assert patterns
    for pattern in map(json.loads, (f'"{pattern}"' for pattern in patterns)):
        # Every dialect has these; \d and \w differ between dialects.
        assert not re.search(r"\\[dwsbAZ]|\(\?[^:!]", pattern)
        assert pattern.startswith("^")
