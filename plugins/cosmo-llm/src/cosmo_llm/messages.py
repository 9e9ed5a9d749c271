"""The input and the output of an LLM Neuron."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cosmo_llm.failures import INPUT_INVALID

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PROMPT_KEYS: Final = ("prompt", "text", "query", "content")
"""The keys of an input that can hold a prompt. The first is the recommended one."""

_EXPECTED: Final = 'expected {"prompt": "…"} or {"messages": [{"role": "user", "content": "…"}]}'


def to_messages(input: Mapping[str, Any], *, system: str | None = None) -> list[dict[str, Any]]:
    """Convert a Neuron's input to chat messages; the input is not changed.

    Args:
        input: It has exactly one of ``messages`` and the `PROMPT_KEYS`; ``None`` counts as absent.
        system: The text of a system message, which becomes the first message unless the input begins with
            a system message.

    Returns:
        A new list of new objects with the values of the input.

    Raises:
        NeuronError: With code ``INPUT_INVALID``; the message says what was expected.
    """
    given = [key for key in ("messages", *PROMPT_KEYS) if input.get(key) is not None]
    if len(given) != 1:
        found = " and ".join(given) if given else "neither prompt nor messages"
        raise INPUT_INVALID.error(f"the input has {found}: {_EXPECTED}")
    key = given[0]
    messages = _checked_messages(input[key]) if key == "messages" else [_user_message(key, input[key])]
    if system is not None and messages[0]["role"] not in ("system", "developer"):
        messages.insert(0, {"role": "system", "content": system})
    return messages


def to_output(text: str, meta: Mapping[str, Any]) -> dict[str, Any]:
    """The output of every LLM Neuron: the text, and the rest of the provider's answer."""
    return {"response": text, "meta": dict(meta)}


def with_arguments(message: dict[str, Any], convert: Callable[[Any], Any]) -> dict[str, Any]:
    """A message whose tool calls have their arguments in the form that a provider takes.

    A message may come from another source: one has the arguments as JSON in a string, which can be empty, and
    another one as an object.

    Args:
        message: A message, usually of an assistant.
        convert: Converts the arguments of one call. Absent and empty ones are an empty object.
    """
    calls = message.get("tool_calls")
    if not isinstance(calls, list):
        return message
    return {**message, "tool_calls": [_call_with(call, convert) for call in calls]}


def _call_with(call: object, convert: Callable[[Any], Any]) -> object:
    match call:
        case {"function": {**function}, **rest}:
            given = function.get("arguments")
            is_empty = given is None or (isinstance(given, str) and given.strip() in ("", "null"))
            return {**rest, "function": {**function, "arguments": convert({} if is_empty else given)}}
    return call


def _user_message(key: str, prompt: object) -> dict[str, Any]:
    if not isinstance(prompt, str) or not prompt:
        raise INPUT_INVALID.error(f"input.{key} is not a non-empty string: {_EXPECTED}")
    return {"role": "user", "content": prompt}


def _checked_messages(messages: object) -> list[dict[str, Any]]:
    if not isinstance(messages, list) or not messages:
        raise INPUT_INVALID.error(f"input.messages is not a non-empty list: {_EXPECTED}")
    for index, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise INPUT_INVALID.error(f"input.messages[{index}] is not an object with a role: {_EXPECTED}")
        # Content is text, or a list of parts (images), or absent beside an assistant's tool calls.
        if not isinstance(message.get("content"), (str, list)) and not message.get("tool_calls"):
            raise INPUT_INVALID.error(f"input.messages[{index}] has no content: {_EXPECTED}")
    return [dict(message) for message in messages]
