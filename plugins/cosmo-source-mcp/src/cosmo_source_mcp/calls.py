"""The input of a TASK, read as a request to a server, and the output that its result becomes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from mcp.shared.uri_template import UriTemplate
from mcp.types import EmbeddedResource, TextContent, TextResourceContents

from cosmo_llm import INPUT_INVALID

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mcp.types import (
        CallToolResult,
        ContentBlock,
        GetPromptResult,
        Prompt,
        ReadResourceResult,
        Resource,
        ResourceTemplate,
        Tool,
    )
    from pydantic import BaseModel

    Listed = Tool | Resource | ResourceTemplate | Prompt

LIST_TOOLS: Final = "__list_tools__"
"""In the place of a tool's name it asks for the list of tools; it is also accepted as a key."""
CLARIFICATIONS: Final = "clarifications"
"""The key of an input under which the answers to questions arrive."""

_LISTS: Final = ("list_tools", "list_resources", "list_resource_templates", "list_prompts")
_NAMED: Final = ("tool", "resource", "prompt")
_KEYS: Final = {*_LISTS, *_NAMED, LIST_TOOLS, "arguments", CLARIFICATIONS}
_EXPECTED: Final = (
    'expected {"tool": "name", "arguments": {…}}, {"resource": "uri"}, {"prompt": "name", "arguments": {…}}, '
    'or a list such as {"list_tools": true}'
)


@dataclass(frozen=True, slots=True)
class Call:
    """A request to a server.

    Attributes:
        kind: ``tool``, ``resource`` or ``prompt``, or the name of a list, such as ``list_tools``.
        name: The name of the tool or the prompt, or the URI of the resource; empty for a list.
        arguments: The arguments of the tool or the prompt.
        answers: The answers to questions of the server, with the questions.
    """

    kind: str
    name: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)
    answers: tuple[dict[str, Any], ...] = ()

    @property
    def key(self) -> str:
        """The same for the same request, whatever its answers."""
        return json.dumps([self.kind, self.name, self.arguments], sort_keys=True)


def read_call(input: Mapping[str, Any], bound_tool: str | None) -> Call:
    """Read an input without changing it.

    Args:
        input: The input of a TASK; with a bound tool, the arguments of that tool.
        bound_tool: The one tool that the Neuron calls, if it is bound to one.

    Raises:
        NeuronError: With code ``INPUT_INVALID``; the message says what was expected.
    """
    answers = _answers(input.get(CLARIFICATIONS))
    if bound_tool is not None:
        left_out = {CLARIFICATIONS} if answers else set()
        arguments = {name: value for name, value in input.items() if name not in left_out}
        return Call("tool", bound_tool, _arguments(arguments), answers)
    if unknown := sorted(set(input) - _KEYS):
        raise INPUT_INVALID.error(f"the input has unknown keys, {', '.join(unknown)}: {_EXPECTED}")
    wanted = {name for name in _LISTS if input.get(name)}
    named = {name for name in _NAMED if input.get(name) is not None}
    if input.get(LIST_TOOLS) or input.get("tool") == LIST_TOOLS:
        wanted.add("list_tools")
        named -= {"tool"} if input.get("tool") == LIST_TOOLS else set()
    if len(wanted) + len(named) != 1:
        raise INPUT_INVALID.error(f"the input does not name one tool, resource, prompt or list: {_EXPECTED}")
    if wanted:
        return Call(wanted.pop())
    kind = named.pop()
    name = input[kind]
    if not isinstance(name, str) or not name:
        raise INPUT_INVALID.error(f"the input does not name one tool, resource or prompt: {_EXPECTED}")
    arguments = _arguments(input.get("arguments"))
    if kind == "resource":
        return Call(kind, _expanded(name, arguments), {}, answers)
    if kind == "prompt" and not all(isinstance(value, str) for value in arguments.values()):
        raise INPUT_INVALID.error("input.arguments: the arguments of a prompt are strings")
    return Call(kind, name, arguments, answers)


def _answers(given: object) -> tuple[dict[str, Any], ...]:
    if not isinstance(given, list):
        return ()
    return tuple(entry for entry in given if isinstance(entry, dict) and "question" in entry)


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


def _expanded(uri: str, arguments: Mapping[str, Any]) -> str:
    """The URI of a resource; with arguments, the URI is a template that they fill in."""
    try:
        check_json(uri)
        return UriTemplate.parse(uri).expand(arguments) if arguments else uri
    except (TypeError, ValueError) as error:
        raise INPUT_INVALID.error(f"input.resource cannot be expanded: {error}") from None


def tool_output(result: CallToolResult, meta: dict[str, Any]) -> dict[str, Any]:
    """The output for a tool's result.

    Everything is in it once: text in ``response``, and structured content in ``result``. Servers send
    structured content again as text, for older clients; that text is left out, and so is structured content
    that only wraps the text. A text that is a JSON object or array is structured content.

    Args:
        result: The result.
        meta: The ``meta`` of the output; the result's own ``_meta`` is added to it.

    Raises:
        ValueError: The result holds a value that JSON cannot encode.
    """
    texts = [text for block in result.content if (text := _text_in(block)) is not None]
    text, structured = "\n".join(texts), result.structured_content
    outcome: Any = None if structured == {"result": text} else structured
    if outcome is None and isinstance(value := _parsed(text), (dict, list)):
        outcome, text = value, ""
    elif structured is not None and _repeats(texts, structured):
        text = ""
    return _output(text, outcome, _dumped_content(result.content), _with_meta(meta, result.meta))


def resource_output(result: ReadResourceResult, meta: dict[str, Any]) -> dict[str, Any]:
    """The output for a resource: its text, and its contents without the text.

    Raises:
        ValueError: The result holds a value that JSON cannot encode.
    """
    texts = [part.text for part in result.contents if isinstance(part, TextResourceContents)]
    content = [
        {name: value for name, value in part.items() if name != "text"} for part in _dumped(result.contents)
    ]
    return _output("\n".join(texts), None, content, _with_meta(meta, result.meta))


def prompt_output(result: GetPromptResult, meta: dict[str, Any]) -> dict[str, Any]:
    """The output for a prompt: ``messages`` in the form that sources of language models take.

    The content of a message is a text, or a content block of another type.

    Raises:
        ValueError: The result holds a value that JSON cannot encode.
    """
    messages = [
        {
            "role": message.role,
            "content": message.content.text
            if isinstance(message.content, TextContent)
            else _dumped([message.content])[0],
        }
        for message in result.messages
    ]
    output = _output("", None, [], _with_meta(meta, result.meta))
    output["messages"] = messages
    if result.description:
        output["meta"] = {**output["meta"], "description": result.description}
    check_json(output)
    return output


def list_output(entries: Sequence[Listed], meta: dict[str, Any]) -> dict[str, Any]:
    """The output for a list: names or URIs, one per line, and as ``result`` the full descriptions.

    Raises:
        ValueError: The list holds a value that JSON cannot encode.
    """
    names = [
        getattr(entry, "uri", None) or getattr(entry, "uri_template", None) or entry.name for entry in entries
    ]
    return _output("\n".join(map(str, names)), _dumped(entries), [], meta)


def error_text(result: CallToolResult) -> str:
    """The text of a tool's error, followed by its structured content, unless that only repeats the text."""
    texts = [text for block in result.content if (text := _text_in(block)) is not None]
    text, structured = "\n".join(texts), result.structured_content
    if structured is None or structured == {"result": text} or _repeats(texts, structured):
        return text
    return f"{text}\n{json.dumps(structured, ensure_ascii=False)}" if text else json.dumps(structured)


def check_json(value: object) -> None:
    """Accept a value that JSON in UTF-8 can encode.

    Raises:
        ValueError: It is nested too deep, or holds a value such as ``NaN`` or half a surrogate pair.
    """
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, RecursionError) as error:
        raise ValueError(str(error)) from None


def _output(text: str, result: Any, content: list[dict[str, Any]], meta: dict[str, Any]) -> dict[str, Any]:
    output = {"response": text, "result": result, "is_error": False, "content": content, "meta": meta}
    check_json(output)
    return output


def _with_meta(meta: dict[str, Any], own: Mapping[str, Any] | None) -> dict[str, Any]:
    return {**meta, "_meta": own} if own else meta


def _text_in(block: ContentBlock) -> str | None:
    if isinstance(block, TextContent):
        return block.text
    if isinstance(block, EmbeddedResource) and isinstance(block.resource, TextResourceContents):
        return block.resource.text
    return None


def _dumped_content(blocks: Iterable[ContentBlock]) -> list[dict[str, Any]]:
    """The blocks of a result in their order, without their text."""
    content = _dumped(blocks)
    for block in content:
        block.pop("text", None)
        if isinstance(block.get("resource"), dict):
            block["resource"].pop("text", None)
    return content


def _dumped(models: Iterable[BaseModel]) -> list[dict[str, Any]]:
    return [model.model_dump(mode="json", by_alias=True, exclude_none=True) for model in models]


def _repeats(texts: Sequence[str], structured: dict[str, Any]) -> bool:
    """Whether the texts are the JSON of structured content, or of the object or the array that it wraps."""
    values = [_parsed(text) for text in texts]
    wrapped = structured["result"] if structured.keys() == {"result"} else None
    if isinstance(wrapped, list) and len(wrapped) == len(texts):
        pairs = zip(wrapped, texts, values, strict=True)
        if all(item in (text, value) for item, text, value in pairs):
            return True
    return values == [structured] or (isinstance(wrapped, (dict, list)) and values == [wrapped])


def _parsed(text: str) -> Any:
    """The object or the array of a JSON text; another text as it is."""
    if not text.lstrip().startswith(("{", "[")):
        return text
    try:
        value = json.loads(text)
        check_json(value)
    except (ValueError, RecursionError):
        return text
    return value
