"""The check of a value against a JSON Schema of a server.

A server writes the schema, so the check has to be safe for any schema: it runs no regular expression, fetches
nothing, and visits a limited number of values (`MAX_SCHEMA_STEPS`). General validators do none of that: one
``pattern`` such as ``^(a+)+$``, or a schema that refers to itself twice, can take hours
(``test_no_schema_of_a_server_takes_long``).

It refuses only what surely violates the schema. The keywords that it does not know, such as ``pattern``,
``not`` and ``if``, are left to the server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from cosmo_source_mcp.limits import MAX_SCHEMA_DEPTH, MAX_SCHEMA_STEPS

_TYPES: Final[dict[str, Callable[[Any], bool]]] = {
    "array": lambda value: isinstance(value, list),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: _is_number(value) and (isinstance(value, int) or value.is_integer()),
    "null": lambda value: value is None,
    "number": lambda value: _is_number(value),
    "object": lambda value: isinstance(value, dict),
    "string": lambda value: isinstance(value, str),
}
_LONGEST_COMPARED: Final = 1_000
"""A longer string is not compared with the values of an ``enum``."""
_LONGEST_SHOWN: Final = 60
"""How many characters of a string, and of each step of a path, a message shows."""
_LARGE_BITS: Final = 256
"""An integer of more bits is not shown."""
_MOST_SHOWN: Final = 10
"""How many values of a list a message shows."""


def mismatch(value: object, schema: object, name: str) -> str | None:
    """Return how a value violates a schema, or ``None`` if it does not, as far as this check goes.

    Args:
        value: Any JSON value.
        schema: The schema, which may be invalid: what cannot be read is ignored.
        name: What the message calls the value.
    """
    try:
        return _Check(schema).mismatch(value, schema, name, 0)
    except _TooMuchError:
        return None


class _TooMuchError(Exception):
    """The check takes too many steps; the rest is left to the server."""


class _Check:
    """One check of one value."""

    def __init__(self, root: object) -> None:
        self._root = root
        self._steps_left = MAX_SCHEMA_STEPS

    def mismatch(self, value: Any, schema: object, path: str, depth: int) -> str | None:
        """Return the first violation, with its path."""
        self._spend(1)
        if depth > MAX_SCHEMA_DEPTH:
            raise _TooMuchError
        if schema is False:
            return f"{_shown(value)} is not allowed (at {path})"
        if not isinstance(schema, dict) or (schema is not self._root and "$id" in schema):
            return None
        if "$ref" in schema:
            return self.mismatch(value, self._referred(schema["$ref"]), path, depth + 1)
        if (reason := self._own_mismatch(value, schema)) is not None:
            return f"{reason} (at {path})"
        for item, part, at in self._parts(value, schema):
            if (reason := self.mismatch(item, part, path + at, depth + 1)) is not None:
                return reason
        return self._choice_mismatch(value, schema, path, depth)

    def _own_mismatch(self, value: Any, schema: Mapping[str, Any]) -> str | None:
        """The violation of a keyword that concerns the value itself."""
        wanted = schema.get("type")
        types = wanted if isinstance(wanted, list) else [wanted]
        self._spend(len(types))
        if types and all(
            isinstance(type, str) and type in _TYPES and not _TYPES[type](value) for type in types
        ):
            return f"{_shown(value)} is not of type {_listed(types)}"
        allowed = [schema["const"]] if "const" in schema else schema.get("enum")
        if isinstance(allowed, list) and _is_comparable(value):
            self._spend(len(allowed))
            if value not in allowed:
                return f"{_shown(value)} is not one of {_listed(allowed)}"
        if isinstance(value, dict):
            return self._object_mismatch(value, schema)
        for keyword, measured, is_wrong, text in _BOUNDS:
            bound = schema.get(keyword)
            if _is_number(bound) and (size := measured(value)) is not None and is_wrong(size, bound):
                return f"{_shown(value)} {text} {bound}"
        return None

    def _object_mismatch(self, value: dict[str, Any], schema: Mapping[str, Any]) -> str | None:
        required = schema.get("required")
        if isinstance(required, list):
            self._spend(len(required))
            for key in required:
                if isinstance(key, str) and key not in value:
                    return f"{_shown(key)} is a required property"
        if schema.get("additionalProperties") is False and "patternProperties" not in schema:
            self._spend(len(value))
            known = _object(schema.get("properties"))
            if unknown := [key for key in value if key not in known]:
                return f"Additional properties are not allowed ({_listed(unknown)})"
        return None

    def _parts(self, value: Any, schema: Mapping[str, Any]) -> Iterator[tuple[Any, object, str]]:
        """The members of an object, and the items of an array, with their schemas and paths."""
        if isinstance(value, dict):
            properties = _object(schema.get("properties"))
            rest = schema.get("additionalProperties") if "patternProperties" not in schema else None
            for key, item in value.items():
                yield item, properties.get(key, rest), f".{key[:_LONGEST_SHOWN]}"
        elif isinstance(value, list):
            items = schema.get("items")
            first = items if isinstance(items, list) else schema.get("prefixItems")
            first, rest = first if isinstance(first, list) else [], None if isinstance(items, list) else items
            for index, item in enumerate(value):
                yield item, first[index] if index < len(first) else rest, f"[{index}]"

    def _choice_mismatch(self, value: Any, schema: Mapping[str, Any], path: str, depth: int) -> str | None:
        """The violation of ``allOf``, of ``anyOf``, or of ``oneOf``, which is read as ``anyOf``.

        Two schemas of a ``oneOf`` may differ only in a keyword that this check does not know.
        """
        for part in _list(schema.get("allOf")):
            if (reason := self.mismatch(value, part, path, depth + 1)) is not None:
                return reason
        for keyword in ("anyOf", "oneOf"):
            reason = None
            for part in _list(schema.get(keyword)):
                if (reason := self.mismatch(value, part, path, depth + 1)) is None:
                    break
            if reason is not None:
                return reason
        return None

    def _referred(self, reference: object) -> object:
        """The schema to which a reference within the document leads; anything else is ``None``."""
        if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
            return None
        found = self._root
        for step in reference.split("/")[1:]:
            self._spend(1)
            key = step.replace("~1", "/").replace("~0", "~")
            found = found.get(key) if isinstance(found, dict) else None
        return found

    def _spend(self, steps: int) -> None:
        self._steps_left -= steps
        if self._steps_left < 0:
            raise _TooMuchError


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_comparable(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= _LONGEST_COMPARED
    return value is None or isinstance(value, (bool, int, float))


def _number(value: Any) -> Any:
    return value if _is_number(value) else None


def _length(value: Any) -> int | None:
    return len(value) if isinstance(value, str) else None


def _count(value: Any) -> int | None:
    return len(value) if isinstance(value, list) else None


_BOUNDS: Final[tuple[tuple[str, Callable[[Any], Any], Callable[[Any, Any], bool], str], ...]] = (
    ("minimum", _number, lambda size, bound: size < bound, "is less than the minimum of"),
    ("maximum", _number, lambda size, bound: size > bound, "is greater than the maximum of"),
    ("exclusiveMinimum", _number, lambda size, bound: size <= bound, "is not greater than"),
    ("exclusiveMaximum", _number, lambda size, bound: size >= bound, "is not less than"),
    ("minLength", _length, lambda size, bound: size < bound, "has fewer characters than"),
    ("maxLength", _length, lambda size, bound: size > bound, "has more characters than"),
    ("minItems", _count, lambda size, bound: size < bound, "has fewer items than"),
    ("maxItems", _count, lambda size, bound: size > bound, "has more items than"),
)


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _shown(value: object) -> str:
    """A value in a message. A large one is not shown, which would cost time for every violation."""
    if isinstance(value, (list, dict)):
        return "an array" if isinstance(value, list) else "an object"
    if isinstance(value, str):
        return repr(value if len(value) <= _LONGEST_SHOWN else value[:_LONGEST_SHOWN] + "…")
    # Python refuses to write an integer of more than 4,300 digits.
    return "a large integer" if isinstance(value, int) and value.bit_length() > _LARGE_BITS else repr(value)


def _listed(values: list[Any]) -> str:
    more = ", …" if len(values) > _MOST_SHOWN else ""
    return ", ".join(map(_shown, values[:_MOST_SHOWN])) + more
