"""Messages as Ollama takes them: text in one string, images beside it, arguments of tool calls as objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cosmo_llm import INPUT_INVALID, parse_object, to_messages

if TYPE_CHECKING:
    from collections.abc import Mapping


def to_ollama_messages(input: Mapping[str, Any], *, system: str | None) -> list[dict[str, Any]]:
    """Turn a Neuron's input into messages for Ollama, without touching the input.

    What other sources take is translated: parts of a content, ``data:`` URLs of images, arguments of tool
    calls that are JSON in a string, and the role ``developer``.

    Raises:
        NeuronError: With code ``INPUT_INVALID``, when there is no way to say it to Ollama.
    """
    messages = [_translated(message) for message in to_messages(input, system=system)]
    if (images := input.get("images")) is not None:
        if input.get("messages") is not None:
            raise INPUT_INVALID.error("input.images goes with a prompt: in messages, each has its own images")
        messages[-1]["images"] = images
    return messages


def _translated(message: dict[str, Any]) -> dict[str, Any]:
    role = message["role"]
    if role == "developer":
        message["role"] = "system"
    if isinstance(message.get("content"), list):
        message |= _from_parts(role, message["content"], message.get("images") or [])
    if isinstance(calls := message.get("tool_calls"), list):
        message["tool_calls"] = [_tool_call(role, call) for call in calls]
    return message


def _from_parts(role: str, parts: list[Any], images: list[Any]) -> dict[str, Any]:
    texts: list[str] = []
    images = list(images)
    for part in parts:
        match part:
            case {"type": "text", "text": str(text)}:
                texts.append(text)
            case {"type": "image_url", "image_url": {"url": str(url)} | str(url)}:
                images.append(_image(role, url))
            case _:
                kind = part.get("type") if isinstance(part, dict) else part
                raise INPUT_INVALID.error(
                    f"Ollama takes text and images; a {role} message has a part {kind!r}"
                )
    content: dict[str, Any] = {"content": "\n".join(texts)}
    return {**content, "images": images} if images else content


def _image(role: str, url: str) -> str:
    head, comma, data = url.partition(",")
    if not (comma and head.startswith("data:") and head.endswith(";base64")):
        raise INPUT_INVALID.error(
            f"a {role} message has an image by its address, which Ollama does not fetch: send the image "
            "itself, as data:image/png;base64,…"
        )
    return data


def _tool_call(role: str, call: object) -> object:
    match call:
        case {"function": {"arguments": str(arguments), **function}, **rest}:
            try:
                return {**rest, "function": {**function, "arguments": parse_object(arguments)}}
            except ValueError as error:
                raise INPUT_INVALID.error(
                    f"a {role} message has a tool call whose arguments are no JSON object: {error}"
                ) from None
    return call
