"""`cosmo schema`: the JSON Schema of Signals, generated from the code that validates them."""

from __future__ import annotations

import inspect
from typing import Any, Final

import click
import msgspec

from cosmo_core import SignalType
from cosmo_core.protocol.ids import TOKEN_PATTERN
from cosmo_core.protocol.payloads import PAYLOADS, ToolResult
from cosmo_core.protocol.signal import EVENT_ID_PATTERN, TRACE_ID_PATTERN, TS_PATTERN, VERSION_PATTERN
from cosmo_core_cli.options import signal_type
from cosmo_core_cli.output import print_json

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


@click.command()
@click.option("--type", "type", metavar="TYPE", type=signal_type, help="Only the payload of this type.")
def schema(type: str | None) -> None:
    """Print the JSON Schema (2020-12) of a Signal on the wire, or of the payload of one type."""
    document = json_schema()
    print_json(document if type is None else _payload(document, SignalType(type)))


def _payload(document: dict[str, Any], type: SignalType) -> dict[str, Any]:
    for rule in document["allOf"]:
        if rule["if"]["properties"]["type"]["const"] == type:
            name = rule["then"]["properties"]["payload"]["$ref"].rpartition("/")[2]
            return {"$schema": document["$schema"], **document["$defs"][name]}
    raise LookupError(f"the schema has no rule for {type.value}")


# --- the schema --------------------------------------------------------------------------------------


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a Signal on the wire; ``$defs`` has the payload of every type.

    It accepts what `decode` accepts, apart from what a schema cannot express (P-1.14): a time stamp must
    name a moment that exists, an integer is written without fraction and exponent, a number fits into a
    double, and text is Unicode.
    """
    names = {type: payload.__name__.rstrip("_") for type, payload in PAYLOADS.items()}
    _, components = msgspec.json.schema_components(PAYLOADS.values(), ref_template="#/$defs/{name}")
    definitions = {name.rstrip("_"): _tidy(schema) for name, schema in components.items()}
    # This check is a method, which the generator does not see.
    definitions[ToolResult.__name__]["anyOf"] = [{"required": ["result"]}, {"required": ["error"]}]
    return {
        "$schema": _DIALECT,
        "title": "Signal",
        "type": "object",
        "required": ["v", "id", "trace_id", "type", "ts", "payload"],
        "properties": {
            "v": _pattern(VERSION_PATTERN),
            "id": _pattern(EVENT_ID_PATTERN),
            "trace_id": _pattern(TRACE_ID_PATTERN),
            "parent_id": _optional(_pattern(EVENT_ID_PATTERN)),
            "type": {"enum": [type.value for type in PAYLOADS]},
            "directed": _optional(_directed()),
            "ts": _pattern(TS_PATTERN),
            "payload": {"type": "object"},
            "meta": {"type": "object"},
        },
        "allOf": [
            {
                "if": {"properties": {"type": {"const": type.value}}, "required": ["type"]},
                "then": {"properties": {"payload": {"$ref": f"#/$defs/{name}"}}},
            }
            for type, name in names.items()
        ],
        "$defs": definitions,
    }


def _directed() -> dict[str, Any]:
    token = _pattern(TOKEN_PATTERN)
    return {
        "type": "object",
        "properties": {
            "id": _optional(token),
            "type": _optional(token),
            "capabilities": {"type": "array", "items": token},
        },
    }


def _tidy(definition: dict[str, Any]) -> dict[str, Any]:
    """Return a definition with the name in references to it, and an unindented description."""
    tidied = {**definition, "title": definition["title"].rstrip("_")}
    # Under ``python -OO`` there are no docstrings.
    if description := definition.get("description"):
        tidied["description"] = inspect.cleandoc(description)
    return tidied


def _pattern(pattern: str) -> dict[str, Any]:
    # In some dialects $ also matches before a final newline, and \d matches the digits of any script.
    portable = pattern.replace(r"\d", "[0-9]")
    return {"type": "string", "pattern": f"^{portable}$(?!\\n)"}


def _optional(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}
