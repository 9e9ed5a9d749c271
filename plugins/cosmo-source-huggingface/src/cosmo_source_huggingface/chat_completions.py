"""OpenAI's chat completions: the router, dedicated endpoints, TGI, vLLM, LM Studio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cosmo_llm import UnexpectedShapeError, to_messages, to_output
from cosmo_source_huggingface.tool_calls import ToolCalls

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cosmo_source_huggingface.options import HuggingFaceOptions

PASSED_ON: Final = ("tools", "tool_choice")
"""What a call's input may bring besides messages and settings; it reaches the provider as it is."""

_HEAD: Final = ("id", "created", "model", "system_fingerprint", "usage")


class ChatCompletions:
    """The dialect behind ``use_chat_api=True``."""

    def path(self, *, stream: bool) -> str:
        """The same path either way; the body says whether to stream."""
        return "/v1/chat/completions"

    def body(self, options: HuggingFaceOptions, input: Mapping[str, Any], *, stream: bool) -> dict[str, Any]:
        """The messages, and every setting that was made."""
        body = {
            "model": options.model,
            "messages": to_messages(input, system=options.system),
            "max_tokens": options.max_new_tokens,
            "temperature": options.temperature,
            "top_p": options.top_p,
            "stop": list(options.stop) or None,
            "stream": stream or None,
            **{name: input.get(name) for name in PASSED_ON},
        }
        return {name: value for name, value in body.items() if value is not None}

    def output(self, answer: dict[str, Any]) -> dict[str, Any]:
        """The text of the first choice; ``meta`` is the whole answer."""
        message = _object(_first_choice(answer), "message")
        return to_output(_text(message), answer)

    def streamed(self) -> StreamedCompletion:
        """An answer made of ``chat.completion.chunk`` events."""
        return StreamedCompletion()


class StreamedCompletion:
    """Puts the chunks of a completion together again."""

    def __init__(self) -> None:
        self.complete = False
        self._head: dict[str, Any] = {}
        self._text: list[str] = []
        self._tool_calls = ToolCalls()
        self._finish_reason: object = None

    def feed(self, event: dict[str, Any]) -> str:
        """Take one chunk; the last one may hold the usage and no choice."""
        self._head |= {name: event[name] for name in _HEAD if event.get(name) is not None}
        if event.get("choices") == []:
            return ""
        choice = _first_choice(event)
        if choice.get("finish_reason") is not None:
            self._finish_reason = choice["finish_reason"]
            self.complete = True
        delta = _object(choice, "delta")
        self._tool_calls.feed(delta.get("tool_calls"))
        text = _text(delta)
        self._text.append(text)
        return text

    def output(self) -> dict[str, Any]:
        """The text, and as ``meta`` the completion that a server would have sent in one piece."""
        text = "".join(self._text)
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if calls := self._tool_calls.whole():
            message["tool_calls"] = calls
        choice = {"index": 0, "message": message, "finish_reason": self._finish_reason}
        return to_output(text, {"object": "chat.completion", **self._head, "choices": [choice]})


def _first_choice(answer: dict[str, Any]) -> dict[str, Any]:
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise UnexpectedShapeError("no choices")
    return choices[0]


def _object(choice: dict[str, Any], name: str) -> dict[str, Any]:
    value = choice.get(name)
    if not isinstance(value, dict):
        raise UnexpectedShapeError(f"a choice without {name}")
    return value


def _text(message: dict[str, Any]) -> str:
    """The content; empty beside tool calls."""
    content = message.get("content")
    if content is None:
        return ""
    if not isinstance(content, str):
        raise UnexpectedShapeError("content that is not a string")
    return content
