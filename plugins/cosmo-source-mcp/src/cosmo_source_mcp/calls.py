"""What a Neuron is asked to do: the input of a TASK, read and checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cosmo_llm import INPUT_INVALID
from cosmo_source_mcp.json_values import check_json

if TYPE_CHECKING:
    from collections.abc import Mapping

LIST_TOOLS: Final = "__list_tools__"
"""Names the list of tools in the place of a tool; also accepted as a key."""

_KEYS: Final = {"tool", "arguments", "list_tools", LIST_TOOLS}
_EXPECTED: Final = 'expected {"tool": "name", "arguments": {…}} or {"list_tools": true}'


class Call(NamedTuple):
    """A tool, and what to call it with."""

    tool: str
    arguments: dict[str, Any]


def read_call(input: Mapping[str, Any], bound_tool: str | None) -> Call | None:
    """Read an input, without touching it; ``None`` asks for the list of tools.

    Args:
        input: The arguments of ``bound_tool``, if there is one.
        bound_tool: The one tool that the Neuron calls.

    Raises:
        NeuronError: With code ``INPUT_INVALID``; the message says what was expected.
    """
    if bound_tool is not None:
        return Call(bound_tool, _arguments(dict(input)))
    if unknown := sorted(set(input) - _KEYS):
        raise INPUT_INVALID.error(f"the input has unknown keys, {', '.join(unknown)}: {_EXPECTED}")
    tool = input.get("tool")
    wants_list = bool(input.get("list_tools") or input.get(LIST_TOOLS))
    if tool == LIST_TOOLS or (wants_list and tool is None):
        return None
    if not isinstance(tool, str) or not tool or wants_list:
        raise INPUT_INVALID.error(f"the input does not name one tool: {_EXPECTED}")
    return Call(tool, _arguments(input.get("arguments")))


def _arguments(given: object) -> dict[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise INPUT_INVALID.error(f"input.arguments is not an object: {_EXPECTED}")
    try:
        check_json(given)
    except ValueError as error:
        raise INPUT_INVALID.error(f"the arguments cannot be sent as JSON: {error}") from None
    return given
