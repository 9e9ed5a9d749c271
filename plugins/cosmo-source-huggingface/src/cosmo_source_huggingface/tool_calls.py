"""Tool calls that arrive in fragments."""

from __future__ import annotations

from typing import Any

from cosmo_llm import UnexpectedShapeError


class ToolCalls:
    """Joins the fragments that belong to one call; they share its index."""

    def __init__(self) -> None:
        self._calls: dict[int, dict[str, Any]] = {}
        self._arguments: dict[int, list[str]] = {}

    def feed(self, fragments: object) -> None:
        """Take the ``tool_calls`` of one delta, or ``None``.

        Raises:
            UnexpectedShapeError: They do not look like tool calls.
        """
        if fragments is None:
            return
        if not isinstance(fragments, list):
            raise UnexpectedShapeError("tool_calls that are not a list")
        for fragment in fragments:
            self._feed_one(fragment)

    def whole(self) -> list[dict[str, Any]]:
        """The calls so far, in the order of their index."""
        return [
            call | {"function": call["function"] | {"arguments": "".join(self._arguments[index])}}
            for index, call in sorted(self._calls.items())
        ]

    def _feed_one(self, fragment: object) -> None:
        index = fragment.get("index", 0) if isinstance(fragment, dict) else None
        if not isinstance(fragment, dict) or type(index) is not int:
            raise UnexpectedShapeError("a tool call that is not an object with an index")
        function = fragment.get("function") or {}
        arguments = function.get("arguments") or "" if isinstance(function, dict) else None
        if not isinstance(arguments, str):
            raise UnexpectedShapeError("a tool call whose arguments are not a string")
        call = self._calls.setdefault(index, {"type": "function", "function": {}})
        self._arguments.setdefault(index, []).append(arguments)
        call |= {name: fragment[name] for name in ("id", "type") if fragment.get(name)}
        if function.get("name"):
            call["function"]["name"] = function["name"]
