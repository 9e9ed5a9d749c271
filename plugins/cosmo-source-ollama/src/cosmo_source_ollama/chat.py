"""Ollama's chat API: how a request is worded, and how its whole answer is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cosmo_llm import UnexpectedShapeError, to_output
from cosmo_source_ollama.messages import to_ollama_messages

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cosmo_source_ollama.options import OllamaOptions

# For prompts, too: /api/generate makes the same conversation of a prompt and applies the same template to
# it, but answers in another shape, and takes no tools. What it can do more (raw prompts, suffixes) has no
# counterpart in the input of an LLM Neuron.
PATH: Final = "/api/chat"

PASSED_ON: Final = ("tools", "format", "think")
"""What a call's input may bring besides messages and settings; it reaches Ollama as it is."""


def request_body(options: OllamaOptions, input: Mapping[str, Any], *, stream: bool) -> dict[str, Any]:
    """The messages, and every setting that was made.

    Raises:
        NeuronError: With code ``INPUT_INVALID``, when the input does not fit.
    """
    body = {
        "model": options.model,
        "messages": to_ollama_messages(input, system=options.system),
        "stream": stream,  # said either way, for Ollama streams unless told not to
        "options": options.generation or None,
        "keep_alive": options.keep_alive,
        **{name: input.get(name) for name in PASSED_ON},
    }
    return {name: value for name, value in body.items() if value is not None}


def output_of(answer: dict[str, Any]) -> dict[str, Any]:
    """The text of the message; ``meta`` is the whole answer.

    Raises:
        UnexpectedShapeError: It is not such an answer.
    """
    return to_output(text_in(message_in(answer), "content"), answer)


def message_in(answer: dict[str, Any]) -> dict[str, Any]:
    """The message of an answer, or of a part of one.

    Raises:
        UnexpectedShapeError: There is none.
    """
    message = answer.get("message")
    if not isinstance(message, dict):
        raise UnexpectedShapeError("no message")
    return message


def text_in(message: dict[str, Any], name: str) -> str:
    """One of the texts of a message; empty where it is left out.

    Raises:
        UnexpectedShapeError: It is not a text.
    """
    text = message.get(name)
    if text is None:
        return ""
    if not isinstance(text, str):
        raise UnexpectedShapeError(f"{name} that is not a string")
    return text
