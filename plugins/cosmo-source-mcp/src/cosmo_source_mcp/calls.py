"""The input of a TASK, read as a call of a tool, and the output that its result becomes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mcp.types import EmbeddedResource, TextContent, TextResourceContents

from cosmo_llm import INPUT_INVALID

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mcp.types import CallToolResult, ContentBlock, Tool
    from pydantic import BaseModel

LIST_TOOLS: Final = "__list_tools__"
"""In the place of a tool's name it asks for the list of tools; it is also accepted as a key."""

_KEYS: Final = {"tool", "arguments", "list_tools", LIST_TOOLS}
_EXPECTED: Final = 'expected {"tool": "name", "arguments": {…}} or {"list_tools": true}'


class Call(NamedTuple):
    """A call of a tool.

    Attributes:
        tool: The name of the tool.
        arguments: Its arguments.
    """

    tool: str
    arguments: dict[str, Any]


def read_call(input: Mapping[str, Any], bound_tool: str | None) -> Call | None:
    """Read an input without changing it.

    Args:
        input: The input of a TASK; with a bound tool, the arguments of that tool.
        bound_tool: The one tool that the Neuron calls, if it is bound to one.

    Returns:
        The call, or ``None`` if the input asks for the list of tools.

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


def result_output(result: CallToolResult, meta: dict[str, Any]) -> dict[str, Any]:
    """The output for a tool's result.

    Args:
        result: The result.
        meta: The ``meta`` of the output; the result's own ``_meta`` is added to it.

    Raises:
        ValueError: The result holds a value that JSON cannot encode.
    """
    text = text_of(result.content)
    structured = result.structured_content
    output = {
        "response": text,
        "result": _parsed(text) if structured is None else structured,
        "is_error": False,
        "content": _dumped(result.content),
        "meta": {**meta, "_meta": result.meta} if result.meta else meta,
    }
    check_json(output)
    return output


def list_output(tools: Sequence[Tool], meta: dict[str, Any]) -> dict[str, Any]:
    """The output for a list of tools: their names, and as ``result`` their full descriptions.

    Raises:
        ValueError: The list holds a value that JSON cannot encode.
    """
    names = "\n".join(tool.name for tool in tools)
    output = {"response": names, "result": _dumped(tools), "is_error": False, "content": [], "meta": meta}
    check_json(output)
    return output


def text_of(content: Iterable[ContentBlock]) -> str:
    """All the text of a result, one block per line."""
    return "\n".join(text for block in content if (text := _text_in(block)) is not None)


def check_json(value: object) -> None:
    """Accept a value that JSON in UTF-8 can encode.

    Raises:
        ValueError: It is nested too deep, or holds a value such as ``NaN`` or half a surrogate pair.
    """
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, RecursionError) as error:
        raise ValueError(str(error)) from None


def _text_in(block: ContentBlock) -> str | None:
    if isinstance(block, TextContent):
        return block.text
    if isinstance(block, EmbeddedResource) and isinstance(block.resource, TextResourceContents):
        return block.resource.text
    return None


def _dumped(models: Iterable[BaseModel]) -> list[dict[str, Any]]:
    return [model.model_dump(mode="json", by_alias=True, exclude_none=True) for model in models]


def _parsed(text: str) -> Any:
    """The object or array that a server without structured results writes as text; else the text."""
    if not text.lstrip().startswith(("{", "[")):
        return text
    try:
        value = json.loads(text)
        check_json(value)
    except (ValueError, RecursionError):
        return text
    return value
