"""The native API of HuggingFace's text-generation-inference (TGI)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cosmo_llm import INPUT_INVALID, UnexpectedShapeError, to_messages, to_output

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cosmo_source_huggingface.options import HuggingFaceOptions


class TextGeneration:
    """The dialect behind ``use_chat_api=False``: text in, text out, no roles and no template."""

    def path(self, *, stream: bool) -> str:
        """TGI has a path of its own for streaming."""
        return "/generate_stream" if stream else "/generate"

    def body(self, options: HuggingFaceOptions, input: Mapping[str, Any], *, stream: bool) -> dict[str, Any]:
        """The prompt, and every setting that was made; ``model`` is whatever the server runs."""
        parameters = {
            "max_new_tokens": options.max_new_tokens,
            # TGI refuses 0 and 1, by which others mean: do not sample, and all tokens.
            "temperature": options.temperature or None,
            "top_p": options.top_p if options.top_p != 1 else None,
            "stop": list(options.stop) or None,
        }
        made = {name: value for name, value in parameters.items() if value is not None}
        return {"inputs": to_prompt(to_messages(input, system=options.system)), "parameters": made}

    def output(self, answer: dict[str, Any]) -> dict[str, Any]:
        """The generated text; ``meta`` is the whole answer."""
        text = answer.get("generated_text")
        if not isinstance(text, str):
            raise UnexpectedShapeError("no generated_text")
        return to_output(text, answer)

    def streamed(self) -> StreamedGeneration:
        """An answer made of token events."""
        return StreamedGeneration()


class StreamedGeneration:
    """Follows the tokens up to the event that repeats the whole text."""

    def __init__(self) -> None:
        self.complete = False
        self._text: list[str] = []
        self._last: dict[str, Any] = {}

    def feed(self, event: dict[str, Any]) -> str:
        """Take one event; special tokens add no text."""
        token = event.get("token")
        if not isinstance(token, dict) or not isinstance(token.get("text"), str):
            raise UnexpectedShapeError("an event without a token's text")
        text: str = token["text"]
        if isinstance(event.get("generated_text"), str):
            self._last = event
            self.complete = True
        if token.get("special"):
            return ""
        self._text.append(text)
        return text

    def output(self) -> dict[str, Any]:
        """The whole text, and as ``meta`` what came with it."""
        text = self._last.get("generated_text", "".join(self._text))
        return to_output(text, {"generated_text": text, "details": self._last.get("details")})


def to_prompt(messages: list[dict[str, Any]]) -> str:
    """Write messages as one text: a lone prompt as it is, a conversation as lines to be continued.

    Raises:
        NeuronError: With code ``INPUT_INVALID``, when a message holds something else than text.
    """
    for index, message in enumerate(messages):
        if not isinstance(message.get("content"), str):
            raise INPUT_INVALID.error(f"messages[{index}] is not plain text: that needs use_chat_api=True")
    roles = [message["role"] for message in messages]
    if roles in (["user"], ["system", "user"]):
        return "\n\n".join(message["content"] for message in messages)
    lines = [f"{message['role']}: {message['content']}" for message in messages]
    return "\n".join([*lines, "assistant:"])
