"""Ollama's chat API: the body of a request, the messages in it, and the answer, whole or streamed."""

from __future__ import annotations

from functools import partial
from types import NoneType
from typing import TYPE_CHECKING, Any, Final

from cosmo_llm import (
    INPUT_INVALID,
    Failures,
    UnexpectedShapeError,
    parse_object,
    to_messages,
    to_output,
    with_arguments,
)
from cosmo_llm.assembly import DELTA, PART, add_to, assembled
from cosmo_llm.decoding import LineDecoder, check_finish, text_of
from cosmo_llm.http.neuron import merged
from cosmo_source_ollama.options import PASSED_ON, OllamaOptions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Prompts use it too. /api/generate makes the same conversation of a prompt and applies the same template,
# but its answer has another shape, and it accepts no tools. Its extras (raw prompts, suffixes) have no
# counterpart in the input of an LLM Neuron.
PATH: Final = "/api/chat"


class Chat:
    """The chat API as the dialect of a Neuron."""

    path = PATH

    def body(self, options: OllamaOptions, input: Mapping[str, Any]) -> dict[str, Any]:
        """The messages, and every option that has a value.

        Raises:
            NeuronError: With code ``INPUT_INVALID``, when the input is not valid.
        """
        body = {
            "model": options.model,
            "messages": to_ollama_messages(input, system=options.system),
            "stream": True,
            "options": options.generation or None,
            "keep_alive": options.keep_alive,
            **{name: input.get(name) for name in PASSED_ON},
        }
        return merged({name: value for name, value in body.items() if value is not None}, options.extra)

    def instead(self, body: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        """The request for a whole answer."""
        return ({**body, "stream": False},)

    def decoder(self, failures: Failures, body: Mapping[str, Any]) -> ChatDecoder:
        """A decoder for an answer, which is a single line if it is not streamed."""
        return ChatDecoder(failures)


# --- requests -----------------------------------------------------------------------------------------


def to_ollama_messages(input: Mapping[str, Any], *, system: str | None) -> list[dict[str, Any]]:
    """Convert a Neuron's input to messages for Ollama; the input is not changed.

    The forms that other sources accept are converted: content in parts, images as ``data:`` URLs, arguments
    of tool calls as JSON in a string, and the role ``developer``.

    Raises:
        NeuronError: With code ``INPUT_INVALID``, when Ollama has no form for it.
    """
    messages = [_converted(message) for message in to_messages(input, system=system)]
    if (images := input.get("images")) is not None:
        if input.get("messages") is not None:
            raise INPUT_INVALID.error("input.images goes with a prompt: in messages, each has its own images")
        messages[-1]["images"] = images
    return messages


def _converted(message: dict[str, Any]) -> dict[str, Any]:
    role = message["role"]
    if role == "developer":
        message["role"] = "system"
    if isinstance(message.get("content"), list):
        message |= _from_parts(role, message["content"], message.get("images") or [])
    return with_arguments(message, partial(_arguments, role))


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
                    f"Ollama accepts text and images; a message of role {role!r} has a part {kind!r}"
                )
    content: dict[str, Any] = {"content": "\n".join(texts)}
    return {**content, "images": images} if images else content


def _image(role: str, url: str) -> str:
    head, comma, data = url.partition(",")
    if not (comma and head.startswith("data:") and head.endswith(";base64")):
        raise INPUT_INVALID.error(
            f"a message of role {role!r} has an image by its URL, which Ollama does not fetch: send "
            "the image itself, as data:image/png;base64,…"
        )
    return data


def _arguments(role: str, given: object) -> object:
    if not isinstance(given, str):
        return given
    try:
        return parse_object(given)
    except ValueError as error:
        raise INPUT_INVALID.error(
            f"a message of role {role!r} has a tool call whose arguments are not a JSON object: {error}"
        ) from None


# --- answers ------------------------------------------------------------------------------------------


class ChatDecoder(LineDecoder):
    """Joins the parts of an answer, which come as one JSON object per line."""

    def __init__(self, failures: Failures) -> None:
        super().__init__(failures)
        self._head: dict[str, Any] = {}
        self._message: dict[str, Any] = {"role": "assistant", "content": ""}
        self._has_message = False

    @property
    def begun(self) -> bool:
        """Whether any message has arrived."""
        return self._has_message or self.done

    @property
    def complete(self) -> bool:
        """Whether Ollama has marked the answer as complete."""
        return self.done

    def add(self, part: dict[str, Any]) -> str:
        """Add one part; some have no message, such as the last one of older versions of Ollama."""
        message = part.get("message")
        if message is not None and not isinstance(message, dict):
            raise UnexpectedShapeError("message is not an object")
        for holder, name in ((message or {}, "tool_calls"), (part, "logprobs")):
            if not isinstance(holder.get(name), (list, NoneType)):
                raise UnexpectedShapeError(f"{name} is not a list")
        text = text_of((message or {}).get("content"))
        check_finish(part, part.get("done_reason"), self._failures)
        self._has_message = self._has_message or message is not None
        self.done = part.get("done") is True
        # Ollama sends whole tool calls, which do not continue each other.
        calls = [call for call in (message or {}).get("tool_calls") or [] if call is not None]
        rest = {name: value for name, value in (message or {}).items() if name != "tool_calls"}
        add_to(self._message, rest, DELTA)
        if calls:
            self._message.setdefault("tool_calls", []).extend(calls)
        add_to(self._head, {name: value for name, value in part.items() if name != "message"}, PART)
        return text

    def joined(self) -> dict[str, Any]:
        """The text; ``meta`` is the answer as Ollama sends it without streaming."""
        message = assembled(self._message)
        return to_output(text_of(message["content"]), {**self._head, "message": message})
