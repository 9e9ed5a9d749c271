"""Tool schemas come from a server, and may be invalid."""

from __future__ import annotations

import socket

import pytest

from cosmo_source_mcp.toolbox import ToolSchema


@pytest.mark.parametrize(
    ("schema", "arguments", "problem"),
    [
        ({}, {"a": 1}, None),
        ({"properties": {"a": {"type": "integer"}}}, {"a": 1}, None),
        (
            {"properties": {"a": {"type": "integer"}}},
            {"a": "x"},
            "'x' is not of type 'integer' (at arguments.a)",
        ),
        ({"required": ["a"]}, {}, "'a' is a required property (at arguments)"),
        ({"additionalProperties": False}, {"a": 1}, "Additional properties are not allowed"),
        (
            {"properties": {"a": {"items": {"minimum": 0}}}},
            {"a": [1, -1]},
            "-1 is less than the minimum of 0",
        ),
        ({"type": 7}, {"a": 1}, None),
        ({"properties": {"a": {"pattern": "["}}}, {"a": "x"}, None),
        ({"$ref": "#/$defs/gone"}, {}, None),
        ({"$ref": "#"}, {}, None),
    ],
    ids=str,
)
def test_mismatch_of_arguments_and_schema(
    schema: dict[str, object], arguments: dict[str, object], problem: str | None
) -> None:
    found = ToolSchema(schema).mismatch(arguments)
    assert (found or "").startswith(problem or "")
    assert (found is None) == (problem is None)


def test_reference_to_a_url_is_not_fetched() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        elsewhere = f"http://127.0.0.1:{listener.getsockname()[1]}/schema"
        assert ToolSchema({"properties": {"a": {"$ref": elsewhere}}}).mismatch({"a": 1}) is None
        with pytest.raises(BlockingIOError):
            listener.accept()
