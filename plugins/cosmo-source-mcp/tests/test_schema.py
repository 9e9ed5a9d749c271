"""Schemas come from a server, and may be invalid, or made to take for ever."""

from __future__ import annotations

import socket
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from cosmo_core.errors import NeuronError
from cosmo_source_mcp import McpNeuron, limits
from cosmo_source_mcp.schema import mismatch

Ask = Callable[..., Coroutine[Any, Any, dict[str, Any]]]

SLOW_PATTERN = "^(a+)+$"
SLOW_TEXT = "a" * 40 + "!"


@pytest.mark.parametrize(
    ("schema", "arguments", "problem"),
    [
        ({}, {"a": 1}, None),
        (True, {"a": 1}, None),
        (False, {"a": 1}, "an object is not allowed (at arguments)"),
        ({"properties": {"a": {"type": "integer"}}}, {"a": 1}, None),
        ({"properties": {"a": {"type": "integer"}}}, {"a": 1.0}, None),
        ({"properties": {"a": {"type": "number"}}}, {"a": True}, "True is not of type 'number'"),
        (
            {"properties": {"a": {"type": "integer"}}},
            {"a": "x"},
            "'x' is not of type 'integer' (at arguments.a)",
        ),
        (
            {"properties": {"a": {"type": ["null", "object"]}}},
            {"a": []},
            "an array is not of type 'null', 'obj",
        ),
        ({"required": ["a"]}, {}, "'a' is a required property (at arguments)"),
        ({"additionalProperties": False}, {"a": 1}, "Additional properties are not allowed ('a')"),
        ({"additionalProperties": False, "properties": {"a": {}}}, {"a": 1}, None),
        ({"additionalProperties": False, "patternProperties": {"^a": {}}}, {"a": 1}, None),
        ({"additionalProperties": {"type": "null"}}, {"a": 1}, "1 is not of type 'null' (at arguments.a)"),
        (
            {"properties": {"a": {"items": {"minimum": 0}}}},
            {"a": [1, -1]},
            "-1 is less than the minimum of 0 (at arguments.a[1])",
        ),
        ({"properties": {"a": {"prefixItems": [{}], "items": {"type": "null"}}}}, {"a": [1, 2]}, "2 is not"),
        ({"properties": {"a": {"items": [{"type": "null"}]}}}, {"a": [1, 2]}, "1 is not of type 'null'"),
        ({"properties": {"a": {"enum": ["x", "y", None]}}}, {"a": "z"}, "'z' is not one of 'x', 'y', None"),
        ({"properties": {"a": {"enum": ["x"]}}}, {"a": "x"}, None),
        ({"properties": {"a": {"const": 3}}}, {"a": 4}, "4 is not one of 3"),
        ({"properties": {"a": {"maxLength": 2}}}, {"a": "abc"}, "'abc' has more characters than 2"),
        ({"properties": {"a": {"minItems": 2}}}, {"a": [1]}, "an array has fewer items than 2"),
        ({"properties": {"a": {"exclusiveMaximum": 2}}}, {"a": 2}, "2 is not less than 2"),
        ({"properties": {"a": {"maximum": 2, "exclusiveMaximum": True}}}, {"a": 2}, None),
        ({"properties": {"a": {"maximum": 2}}}, {"a": 10**4_000}, "a large integer is greater than"),
        (
            {"properties": {"a": {"$ref": "#/$defs/n"}}, "$defs": {"n": {"type": "null"}}},
            {"a": 1},
            "1 is not",
        ),
        ({"properties": {"a": {"$ref": "#/x~1y"}}, "x/y": {"type": "null"}}, {"a": 1}, "1 is not"),
        ({"allOf": [{"required": ["a"]}, {"required": ["b"]}]}, {"a": 1}, "'b' is a required property"),
        ({"anyOf": [{"required": ["a"]}, {"required": ["b"]}]}, {"c": 1}, "'b' is a required property"),
        ({"anyOf": [{"required": ["a"]}, {"required": ["b"]}]}, {"b": 1}, None),
        ({"properties": {"a": {"oneOf": [{"type": "null"}]}}}, {"a": 1}, "1 is not of type 'null'"),
        # What two schemas differ in may be left to the server, so that both seem to match.
        ({"properties": {"a": {"oneOf": [{"pattern": "^x"}, {"pattern": "^y"}]}}}, {"a": "x"}, None),
        ({"properties": {"a": {"not": {"pattern": "^x"}}}}, {"a": "y"}, None),
        # Schemas that are not valid.
        ({"type": 7}, {"a": 1}, None),
        ({"type": []}, {"a": 1}, None),
        (
            {"required": 7, "properties": [], "enum": 3, "allOf": {}, "additionalProperties": 0},
            {"a": 1},
            None,
        ),
        ({"properties": {"a": {"pattern": "["}}}, {"a": "x"}, None),
        ({"$ref": "#/$defs/gone"}, {}, None),
        ({"$ref": "#"}, {}, None),
        ({"$ref": 7}, {}, None),
        (7, {}, None),
    ],
    ids=lambda value: str(value)[:80],
)
def test_mismatch_of_arguments_and_schema(
    schema: object, arguments: dict[str, object], problem: str | None
) -> None:
    found = mismatch(arguments, schema, "arguments")
    assert (found or "").startswith(problem or "")
    assert (found is None) == (problem is None)


def doubling(keyword: str, last: object) -> dict[str, Any]:
    """A schema that refers to the next one twice, forty times over."""
    steps = {f"s{n}": {keyword: [{"$ref": f"#/$defs/s{n + 1}"}] * 2} for n in range(40)}
    return {"$ref": "#/$defs/s0", "$defs": {**steps, "s40": last}}


MANY = [f"v{n}" for n in range(100_000)]
HOSTILE: dict[str, tuple[object, object]] = {
    "pattern": ({"properties": {"a": {"pattern": SLOW_PATTERN}}}, {"a": SLOW_TEXT}),
    "patternProperties": ({"patternProperties": {SLOW_PATTERN: {}}}, {SLOW_TEXT: 1}),
    "propertyNames": ({"propertyNames": {"pattern": SLOW_PATTERN}}, {SLOW_TEXT: 1}),
    "unevaluatedProperties": (
        {"patternProperties": {SLOW_PATTERN: {}}, "unevaluatedProperties": False},
        {SLOW_TEXT: 1},
    ),
    "allOf": (doubling("allOf", {}), {}),
    "anyOf": (doubling("anyOf", False), {}),
    "oneOf": (doubling("oneOf", {"type": "string"}), {}),
    "enum": ({"allOf": [{"properties": {"a": {"enum": MANY}}}] * 1_000}, {"a": "v99999"}),
    "uniqueItems": ({"properties": {"a": {"uniqueItems": True}}}, {"a": [{"n": n} for n in range(100_000)]}),
    "items": ({"properties": {"a": {"items": {"allOf": [{}] * 1_000}}}}, {"a": [1] * 100_000}),
    "required": ({"allOf": [{"required": MANY}] * 1_000}, dict.fromkeys(MANY)),
    "type": ({"type": ["x"] * 1_000_000}, {}),
    "depth": ({"additionalProperties": {"$ref": "#"}}, {"a": {"a": {}}}),
}


@pytest.mark.parametrize(("schema", "value"), HOSTILE.values(), ids=HOSTILE)
def test_no_schema_of_a_server_takes_long(
    schema: object, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The work is counted: regular expressions are never run, and the steps are limited."""
    monkeypatch.setattr("re.compile", None)
    monkeypatch.setattr("re._compile", None)
    assert mismatch(value, schema, "arguments") is None


def test_deep_value_is_left_to_the_server() -> None:
    value: dict[str, Any] = {}
    for _ in range(limits.MAX_SCHEMA_DEPTH * 2):
        value = {"a": value}
    assert mismatch(value, {"additionalProperties": {"$ref": "#"}, "maxProperties": 0}, "arguments") is None


def test_what_comes_after_the_last_step_is_left_to_the_server() -> None:
    schema = {"properties": {"a": {"items": {"type": "integer"}}}}
    assert (
        mismatch({"a": [1] * 100 + ["x"]}, schema, "arguments")
        == "'x' is not of type 'integer' (at arguments.a[100])"
    )
    assert mismatch({"a": [1] * limits.MAX_SCHEMA_STEPS + ["x"]}, schema, "arguments") is None


async def test_pattern_of_an_input_schema_is_not_run(by_hand: Callable[..., McpNeuron], ask: Ask) -> None:
    output = await ask(by_hand(), "slow_pattern", x=SLOW_TEXT)
    assert output["result"] == {"arguments": {"x": SLOW_TEXT}}


@pytest.mark.parametrize("x", [SLOW_TEXT, "a"])
async def test_no_output_schema_of_a_server_takes_long(
    by_hand: Callable[..., McpNeuron], ask: Ask, x: str
) -> None:
    assert (await ask(by_hand(), "slow_promise", x=x))["result"] == {"arguments": {"x": x}}


async def test_broken_output_schema_accepts_any_result(by_hand: Callable[..., McpNeuron], ask: Ask) -> None:
    assert (await ask(by_hand(), "odd_promise", x=1))["result"] == {"arguments": {"x": 1}}


async def test_result_without_the_promised_content_is_malformed(
    by_hand: Callable[..., McpNeuron], ask: Ask
) -> None:
    with pytest.raises(NeuronError, match="sent no structured content") as caught:
        await ask(by_hand(), "empty_promise")
    assert caught.value.code == "PROVIDER_MALFORMED"


def test_reference_to_a_url_is_not_fetched() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        elsewhere = f"http://127.0.0.1:{listener.getsockname()[1]}/schema"
        assert mismatch({"a": 1}, {"properties": {"a": {"$ref": elsewhere}}}, "arguments") is None
        with pytest.raises(BlockingIOError):
            listener.accept()
