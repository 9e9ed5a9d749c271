"""What a Neuron answers: a tool's result, or the list of tools, in the shape that every source has."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mcp.types import EmbeddedResource, TextContent, TextResourceContents

from cosmo_source_mcp.json_values import check_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mcp.types import CallToolResult, ContentBlock, Tool
    from pydantic import BaseModel


def result_output(result: CallToolResult, meta: dict[str, Any]) -> dict[str, Any]:
    """The output for a tool's result.

    Raises:
        ValueError: The result holds something that JSON cannot carry.
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
    """The output for a list of tools: their names, and as ``result`` all that the server says of them.

    Raises:
        ValueError: The list holds something that JSON cannot carry.
    """
    names = "\n".join(tool.name for tool in tools)
    output = {"response": names, "result": _dumped(tools), "is_error": False, "content": [], "meta": meta}
    check_json(output)
    return output


def text_of(content: Iterable[ContentBlock]) -> str:
    """All the text in a result."""
    return "\n".join(text for block in content if (text := _text_in(block)) is not None)


def _text_in(block: ContentBlock) -> str | None:
    if isinstance(block, TextContent):
        return block.text
    if isinstance(block, EmbeddedResource) and isinstance(block.resource, TextResourceContents):
        return block.resource.text
    return None


def _dumped(models: Iterable[BaseModel]) -> list[dict[str, Any]]:
    return [model.model_dump(mode="json", by_alias=True, exclude_none=True) for model in models]


def _parsed(text: str) -> Any:
    """The object or array that servers without structured results write as text; else the text."""
    if not text.lstrip().startswith(("{", "[")):
        return text
    try:
        value = json.loads(text)
        check_json(value)
    except (ValueError, RecursionError):
        return text
    return value
