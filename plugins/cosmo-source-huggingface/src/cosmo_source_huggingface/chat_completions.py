"""OpenAI's chat completions: the router, dedicated endpoints, TGI, vLLM, LM Studio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cosmo_llm import UnexpectedShapeError, text_in, to_messages, to_output
from cosmo_source_huggingface.dialect import EventDecoder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cosmo_llm import Failures
    from cosmo_source_huggingface.options import HuggingFaceOptions

PASSED_ON: Final = ("tools", "tool_choice")
"""The keys of an input that are copied into the request unchanged."""

_HEAD: Final = ("id", "created", "model", "system_fingerprint", "usage")


class ChatCompletions:
    """The dialect for ``use_chat_api=True``."""

    def path(self, *, stream: bool) -> str:
        """The path, which is the same with and without streaming."""
        return "/v1/chat/completions"

    def body(self, options: HuggingFaceOptions, input: Mapping[str, Any], *, stream: bool) -> dict[str, Any]:
        """The messages, and every option that has a value."""
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
        message = _object_in(_first_choice(answer), "message")
        return to_output(text_in(message, "content"), answer)

    def decoder(self, failures: Failures) -> EventDecoder:
        """A decoder of ``chat.completion.chunk`` events."""
        return StreamedCompletion(failures)


class StreamedCompletion(EventDecoder):
    """Joins the chunks of a completion."""

    def __init__(self, failures: Failures) -> None:
        super().__init__(failures)
        self._head: dict[str, Any] = {}
        self._text: list[str] = []
        self._tool_calls = _ToolCalls()
        self._finish_reason: object = None

    def add(self, event: dict[str, Any]) -> str:
        """Add one chunk; the last chunk may hold the usage and no choice."""
        self._head |= {name: event[name] for name in _HEAD if event.get(name) is not None}
        if event.get("choices") == []:
            return ""
        choice = _first_choice(event)
        if choice.get("finish_reason") is not None:
            self._finish_reason = choice["finish_reason"]
            self.complete = True
        delta = _object_in(choice, "delta")
        self._tool_calls.add(delta.get("tool_calls"))
        text = text_in(delta, "content")
        self._text.append(text)
        return text

    def output(self) -> dict[str, Any]:
        """The text; ``meta`` is the completion as a server sends it without streaming."""
        text = "".join(self._text)
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if calls := self._tool_calls.joined():
            message["tool_calls"] = calls
        choice = {"index": 0, "message": message, "finish_reason": self._finish_reason}
        return to_output(text, {"object": "chat.completion", **self._head, "choices": [choice]})


class _ToolCalls:
    """Joins the fragments of tool calls; the fragments of one call share an index."""

    def __init__(self) -> None:
        self._calls: dict[int, dict[str, Any]] = {}
        self._arguments: dict[int, list[str]] = {}

    def add(self, fragments: object) -> None:
        """Add the ``tool_calls`` of one delta, or ``None``.

        Raises:
            UnexpectedShapeError: They are not tool calls.
        """
        if fragments is None:
            return
        if not isinstance(fragments, list):
            raise UnexpectedShapeError("tool_calls is not a list")
        for fragment in fragments:
            self._add_one(fragment)

    def joined(self) -> list[dict[str, Any]]:
        """The calls so far, in the order of their index."""
        return [
            call | {"function": call["function"] | {"arguments": "".join(self._arguments[index])}}
            for index, call in sorted(self._calls.items())
        ]

    def _add_one(self, fragment: object) -> None:
        index = fragment.get("index", 0) if isinstance(fragment, dict) else None
        if not isinstance(fragment, dict) or type(index) is not int:
            raise UnexpectedShapeError("a tool call is not an object with an index")
        function = fragment.get("function") or {}
        arguments = function.get("arguments") or "" if isinstance(function, dict) else None
        if not isinstance(arguments, str):
            raise UnexpectedShapeError("the arguments of a tool call are not a string")
        call = self._calls.setdefault(index, {"type": "function", "function": {}})
        self._arguments.setdefault(index, []).append(arguments)
        call |= {name: fragment[name] for name in ("id", "type") if fragment.get(name)}
        if function.get("name"):
            call["function"]["name"] = function["name"]


def _first_choice(answer: dict[str, Any]) -> dict[str, Any]:
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise UnexpectedShapeError("no choices")
    return choices[0]


def _object_in(choice: dict[str, Any], name: str) -> dict[str, Any]:
    value = choice.get(name)
    if not isinstance(value, dict):
        raise UnexpectedShapeError(f"a choice without {name}")
    return value
