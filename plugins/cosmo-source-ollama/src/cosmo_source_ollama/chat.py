"""Ollama's chat API: the body of a request, the messages in it, and the answer, whole or streamed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cosmo_llm import (
    INPUT_INVALID,
    Failures,
    UnexpectedShapeError,
    parse_object,
    read_answer,
    text_in,
    to_messages,
    to_output,
)
from cosmo_llm.streams import LineParser

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from cosmo_source_ollama.options import OllamaOptions

# Prompts use it too. /api/generate makes the same conversation of a prompt and applies the same template,
# but its answer has another shape, and it accepts no tools. Its extras (raw prompts, suffixes) have no
# counterpart in the input of an LLM Neuron.
PATH: Final = "/api/chat"

PASSED_ON: Final = ("tools", "format", "think")
"""The keys of an input that are copied into the request unchanged."""


class Chat:
    """The chat API as the dialect of a Neuron."""

    def path(self, *, stream: bool) -> str:
        """The path, which is the same with and without streaming."""
        return PATH

    def body(self, options: OllamaOptions, input: Mapping[str, Any], *, stream: bool) -> dict[str, Any]:
        """The messages, and every option that has a value.

        Raises:
            NeuronError: With code ``INPUT_INVALID``, when the input is not valid.
        """
        body = {
            "model": options.model,
            "messages": to_ollama_messages(input, system=options.system),
            "stream": stream,  # always sent, because Ollama streams by default
            "options": options.generation or None,
            "keep_alive": options.keep_alive,
            **{name: input.get(name) for name in PASSED_ON},
        }
        return {name: value for name, value in body.items() if value is not None}

    def output(self, answer: dict[str, Any]) -> dict[str, Any]:
        """The text of the message; ``meta`` is the whole answer.

        Raises:
            UnexpectedShapeError: It is not an answer of this API.
        """
        return to_output(text_in(_message_in(answer), "content"), answer)

    def decoder(self, failures: Failures) -> ChatDecoder:
        """A decoder for a streamed answer."""
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
                    f"Ollama accepts text and images; a {role} message has a part {kind!r}"
                )
    content: dict[str, Any] = {"content": "\n".join(texts)}
    return {**content, "images": images} if images else content


def _image(role: str, url: str) -> str:
    head, comma, data = url.partition(",")
    if not (comma and head.startswith("data:") and head.endswith(";base64")):
        raise INPUT_INVALID.error(
            f"a {role} message has an image by its URL, which Ollama does not fetch: send the image itself, "
            "as data:image/png;base64,…"
        )
    return data


def _tool_call(role: str, call: object) -> object:
    match call:
        case {"function": {"arguments": str(arguments), **function}, **rest}:
            try:
                return {**rest, "function": {**function, "arguments": parse_object(arguments)}}
            except ValueError as error:
                raise INPUT_INVALID.error(
                    f"a {role} message has a tool call whose arguments are not a JSON object: {error}"
                ) from None
    return call


# --- answers ------------------------------------------------------------------------------------------


class ChatDecoder:
    """Decodes a streamed answer, which is one JSON object per line, and joins its parts.

    Attributes:
        done: Whether Ollama has marked the answer as complete.
    """

    def __init__(self, failures: Failures) -> None:
        self.done = False
        self._failures = failures
        self._parser = LineParser()
        self._last: dict[str, Any] = {}
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self._tool_calls: list[Any] = []
        self._logprobs: list[Any] = []

    def feed(self, chunk: bytes) -> Iterator[str]:
        """Decode the next bytes and yield the texts that they complete.

        Raises:
            NeuronError: They are malformed, or report an error.
        """
        return self._read(self._parser.feed(chunk))

    def end(self) -> Iterator[str]:
        """Handle the end of the stream, and yield the text of a last line without a line feed.

        Raises:
            NeuronError: The answer is not complete.
        """
        yield from self._read(self._parser.end())
        if not self._last:
            raise self._failures.malformed("no JSON lines")
        if not self.done:
            raise self._failures.cut()

    def output(self) -> dict[str, Any]:
        """The text; ``meta`` is the answer as Ollama sends it without streaming."""
        text = "".join(self._texts)
        message = {"role": "assistant", **(self._last.get("message") or {}), "content": text}
        if self._thoughts:
            message["thinking"] = "".join(self._thoughts)
        if self._tool_calls:
            message["tool_calls"] = self._tool_calls
        meta = {**self._last, "message": message}
        if self._logprobs:
            meta["logprobs"] = self._logprobs
        return to_output(text, meta)

    def _read(self, lines: Iterable[bytes]) -> Iterator[str]:
        for line in lines:
            if self.done:
                return
            if text := read_answer(line, self._failures, self._add):
                yield text

    def _add(self, part: dict[str, Any]) -> str:
        done = part.get("done") is True
        # Older versions of Ollama leave the message out of the last part.
        message = {} if done and part.get("message") is None else _message_in(part)
        text, thought = text_in(message, "content"), text_in(message, "thinking")
        tool_calls, logprobs = _list_in(message, "tool_calls"), _list_in(part, "logprobs")
        self._last = part
        self.done = done
        self._texts.append(text)
        self._thoughts += [thought] if thought else []
        self._tool_calls += tool_calls
        self._logprobs += logprobs
        return text


def _message_in(answer: dict[str, Any]) -> dict[str, Any]:
    message = answer.get("message")
    if not isinstance(message, dict):
        raise UnexpectedShapeError("no message")
    return message


def _list_in(holder: dict[str, Any], name: str) -> list[Any]:
    value = holder.get(name)
    if value is not None and not isinstance(value, list):
        raise UnexpectedShapeError(f"{name} is not a list")
    return value or []
