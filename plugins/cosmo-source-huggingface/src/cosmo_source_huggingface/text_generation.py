"""The native API of HuggingFace's text-generation-inference (TGI)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cosmo_llm import INPUT_INVALID, UnexpectedShapeError, to_messages, to_output
from cosmo_source_huggingface.dialect import EventDecoder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cosmo_llm import Failures
    from cosmo_source_huggingface.options import HuggingFaceOptions


class TextGeneration:
    """The dialect for ``use_chat_api=False``: plain text, without roles and without a chat template."""

    def path(self, *, stream: bool) -> str:
        """The path; TGI has another one for streaming."""
        return "/generate_stream" if stream else "/generate"

    def body(self, options: HuggingFaceOptions, input: Mapping[str, Any], *, stream: bool) -> dict[str, Any]:
        """The prompt, and every option that has a value. ``model`` is left out: the server has one model."""
        parameters = {
            "max_new_tokens": options.max_new_tokens,
            # TGI refuses a temperature of 0 and a top_p of 1; leaving them out means the same.
            "temperature": options.temperature or None,
            "top_p": options.top_p if options.top_p != 1 else None,
            "stop": list(options.stop) or None,
        }
        given = {name: value for name, value in parameters.items() if value is not None}
        return {"inputs": to_prompt(to_messages(input, system=options.system)), "parameters": given}

    def output(self, answer: dict[str, Any]) -> dict[str, Any]:
        """The generated text; ``meta`` is the whole answer."""
        text = answer.get("generated_text")
        if not isinstance(text, str):
            raise UnexpectedShapeError("no generated_text")
        return to_output(text, answer)

    def decoder(self, failures: Failures) -> EventDecoder:
        """A decoder of token events."""
        return StreamedGeneration(failures)


class StreamedGeneration(EventDecoder):
    """Joins the tokens. The last event repeats the whole text."""

    def __init__(self, failures: Failures) -> None:
        super().__init__(failures)
        self._text: list[str] = []
        self._last: dict[str, Any] = {}

    def add(self, event: dict[str, Any]) -> str:
        """Add one event; a special token adds no text."""
        token = event.get("token")
        if not isinstance(token, dict) or not isinstance(token.get("text"), str):
            raise UnexpectedShapeError("an event without the text of a token")
        text: str = token["text"]
        if isinstance(event.get("generated_text"), str):
            self._last = event
            self.complete = True
        if token.get("special"):
            return ""
        self._text.append(text)
        return text

    def output(self) -> dict[str, Any]:
        """The whole text; ``meta`` holds the text and its details."""
        text = self._last.get("generated_text", "".join(self._text))
        return to_output(text, {"generated_text": text, "details": self._last.get("details")})


def to_prompt(messages: list[dict[str, Any]]) -> str:
    """Convert messages to one text: a prompt alone stays as it is, a conversation becomes lines to continue.

    Raises:
        NeuronError: With code ``INPUT_INVALID``, when the content of a message is not text.
    """
    for index, message in enumerate(messages):
        if not isinstance(message.get("content"), str):
            raise INPUT_INVALID.error(f"messages[{index}] is not plain text: that needs use_chat_api=True")
    roles = [message["role"] for message in messages]
    if roles in (["user"], ["system", "user"]):
        return "\n\n".join(message["content"] for message in messages)
    lines = [f"{message['role']}: {message['content']}" for message in messages]
    return "\n".join([*lines, "assistant:"])
