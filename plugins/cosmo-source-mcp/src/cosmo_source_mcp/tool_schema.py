"""The JSON Schema of a tool's arguments."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from jsonschema import Draft202012Validator, SchemaError
from jsonschema.exceptions import best_match
from jsonschema.validators import validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jsonschema.protocols import Validator


class ToolSchema:
    """Checks arguments; compiled on first use and kept, for compiling costs more than checking."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self._schema = schema
        self._validator: Validator | None = None

    def problem(self, arguments: Mapping[str, Any]) -> str | None:
        """What is wrong with the arguments, or ``None``.

        A schema that is itself not right is not held against them: the server has the last word anyway.
        """
        try:
            error = best_match(self._compiled().iter_errors(arguments))
        except (SchemaError, Unresolvable, RecursionError, re.error):
            return None
        if error is None:
            return None
        return f"{error.message} (at {error.json_path.replace('$', 'arguments', 1)})"

    def _compiled(self) -> Validator:
        if self._validator is None:
            kind = _dialect(self._schema)
            kind.check_schema(self._schema)
            # An empty registry: no reference in a server's schema makes us fetch anything.
            self._validator = kind(self._schema, registry=Registry())
        return self._validator


def _dialect(schema: dict[str, Any]) -> type[Validator]:
    name = schema.get("$schema")
    try:
        return validator_for({"$schema": name} if isinstance(name, str) else {}, default=Draft202012Validator)
    except ValueError:  # it is not even a URI
        return Draft202012Validator
