"""The tables of docs/protocol.md match the code."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from cosmo_core import EngramError, SignalType, decode
from cosmo_core.arguments import MAX_INTEGER
from cosmo_core.protocol.ids import TOKEN_PATTERN
from cosmo_core.protocol.payloads import PAYLOADS
from cosmo_core.protocol.signal_type import ORCHESTRATION_TYPES
from cosmo_core_cli.schema import json_schema

CHECKOUT = Path(__file__).parents[2]
PAGE = (CHECKOUT / "docs" / "protocol.md").read_text("utf-8")
SCHEMA = json_schema()


def kind(schema: dict[str, Any]) -> str:
    """Return the page's name for the kind of values that ``schema`` allows; null is not mentioned."""
    if "$ref" in schema:
        return kind(SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]])
    if "anyOf" in schema:
        return " or ".join(kind(each) for each in schema["anyOf"] if each != {"type": "null"})
    if "enum" in schema:
        return "one of " + ", ".join(filter(None, schema["enum"]))
    match schema.get("type"):
        case None:
            return "any"
        case "string":
            return "token" if TOKEN_PATTERN in schema.get("pattern", "") else "string"
        case "array":
            items = kind(schema["items"]) if schema.get("items") else None
            return f"array of {items}s" if items else "array"
        case "integer" if "minimum" in schema:
            # The page states the largest integer once, in P-1.9.
            assert schema["maximum"] == MAX_INTEGER
            return f"integer from {schema['minimum']}"
        case "number" if "maximum" in schema:
            return f"number from {schema['minimum']} to {schema['maximum']}"
    return str(schema["type"])


def row(type: SignalType) -> str:
    """Return the row of a type, generated from its schema."""
    schema = SCHEMA["$defs"][PAYLOADS[type].__name__.rstrip("_")]
    keys = {name: f"`{name}` {kind(value)}" for name, value in schema["properties"].items()}
    required = ", ".join(cell for name, cell in keys.items() if name in schema["required"])
    optional = ", ".join(cell for name, cell in keys.items() if name not in schema["required"])
    about = schema["description"].splitlines()[0].replace("``", "`")
    return f"| `{type.value}` | {required} | {optional} | {about} |".replace("|  |", "| |")


@pytest.mark.clause("P-2.1", "P-2.2", "P-2.3")
def test_page_lists_every_type_with_its_keys() -> None:
    section = PAGE.partition("## 2 ")[2].partition("## 3 ")[0]
    rows = re.findall(r"^\| `.*$", section, re.MULTILINE)
    assert sorted(rows) == sorted(row(type) for type in SignalType)


@pytest.mark.clause("P-1.2")
def test_page_lists_the_fields_of_the_envelope() -> None:
    section = PAGE.partition("## 1 ")[2].partition("## 2 ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (yes|no) \|", section, re.MULTILINE)
    required = [name for name, needed in rows if needed == "yes"]
    assert sorted(required) == sorted(SCHEMA["required"])
    assert sorted(name for name, _ in rows) == sorted(SCHEMA["properties"])


@pytest.mark.clause("P-1.1")
def test_frame_on_the_page_is_valid() -> None:
    frame = PAGE.partition("```json\n")[2].partition("```")[0]
    jsonschema.validate(json.loads(frame), SCHEMA)
    assert decode(frame).payload == {"input": {"text": "hello"}}


@pytest.mark.clause("P-10.2")
def test_page_lists_the_types_that_a_worker_may_not_send() -> None:
    clause = PAGE.partition("**P-10.2**")[2].partition("**P-10.3**")[0]
    listed = set(re.findall(r"\b[A-Z_]{4,}\b", clause)) - {"MUST"}
    assert listed == {type.value for type in ORCHESTRATION_TYPES}


# --- ERROR codes ------------------------------------------------------------------------------------


def _codes() -> set[str]:
    """Return the error codes of the core: its upper-case strings that are not Signal types."""
    patterns = ("errors.py", "contracts/*.py", "dendrite/**/*.py", "extensions/**/*.py")
    sources = [file for pattern in patterns for file in (CHECKOUT / "cosmo_core").glob(pattern)]
    found = {
        node.value
        for source in sources
        for node in ast.walk(ast.parse(source.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if re.fullmatch(r"[A-Z]{3,}|[A-Z]+(_[A-Z]+)+", node.value)
    }
    codes = {name for name in found if not name.startswith("MAX_")}
    # Codes of exceptions that are never sent, and the forms in which the words of an entry are compared.
    return codes - set(SignalType) - {"AUTH_FAILED", "NO_BID"} - {"NFC", "NFKD"}


def _is_of_memory(code: str) -> bool:
    return code.startswith("ENGRAM_")


@pytest.mark.clause("P-5.12")
def test_page_lists_the_error_codes_of_the_core() -> None:
    section = PAGE.partition("## 5 ")[2].partition("## 6 ")[0]
    listed = re.findall(r"^\| `([A-Z_]+)` \| (?:yes|no) \|", section, re.MULTILINE)
    assert listed == sorted(code for code in _codes() if not _is_of_memory(code))


@pytest.mark.clause("P-14.8")
def test_page_lists_the_error_codes_of_memory() -> None:
    section = PAGE.partition("## 14 ")[2].partition("## 15 ")[0]
    listed = re.findall(r"^\| `([A-Z_]+)` \| (?:yes|no) \|", section, re.MULTILINE)
    # Only Engrams raise the codes of stores; the docstring of EngramError lists them.
    named = set(re.findall(r"ENGRAM_[A-Z_]+", EngramError.__doc__ or ""))
    assert listed == sorted(named.union(filter(_is_of_memory, _codes())))
