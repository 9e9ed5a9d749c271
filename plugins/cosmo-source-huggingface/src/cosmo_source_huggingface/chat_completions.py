"""OpenAI's chat completions: the router, dedicated endpoints, TGI, vLLM, LM Studio, LiteLLM."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cosmo_llm import UnexpectedShapeError, to_messages, to_output, with_arguments
from cosmo_llm.assembly import DELTA, HEAD, PART, add_to, assembled
from cosmo_llm.decoding import EventDecoder, check_finish, is_reason, text_of
from cosmo_llm.http.neuron import merged
from cosmo_source_huggingface.options import LIMITS, OPENAI_KEYS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cosmo_llm import Failures
    from cosmo_source_huggingface.options import HuggingFaceOptions


class ChatCompletions:
    """The dialect for ``use_chat_api=True``."""

    path = "/v1/chat/completions"

    def body(self, options: HuggingFaceOptions, input: Mapping[str, Any]) -> dict[str, Any]:
        """The messages, and every option that has a value."""
        has_limit = any(input.get(name) is not None for name in LIMITS)
        body: dict[str, Any] = {
            "model": options.model,
            "messages": [
                with_arguments(message, _as_text) for message in to_messages(input, system=options.system)
            ],
            "max_tokens": None if has_limit else options.max_new_tokens,
            "temperature": options.temperature,
            "top_p": options.top_p,
            "stop": list(options.stop) or None,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        given = {name: value for name, value in body.items() if value is not None}
        passed_on = {name: input[name] for name in OPENAI_KEYS if input.get(name) is not None}
        return merged(merged(given, passed_on), options.extra)

    def instead(self, body: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        """The request without the options of its stream, and one for a whole answer."""
        without = {name: value for name, value in body.items() if name != "stream_options"}
        return without, {**without, "stream": False}

    def decoder(self, failures: Failures, body: Mapping[str, Any]) -> CompletionDecoder:
        """A decoder of ``chat.completion.chunk`` events, or of a whole completion."""
        return CompletionDecoder(failures, body.get("n"))


class CompletionDecoder(EventDecoder):
    """Joins the chunks of a completion.

    Args:
        failures: Makes the errors.
        expected: How many choices were asked for, if the request said so.
    """

    KEY = "choices"
    NOTHING = "no choices"

    def __init__(self, failures: Failures, expected: object = None) -> None:
        super().__init__(failures)
        self._expected = expected if type(expected) is int else 1
        self._head: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}

    @property
    def begun(self) -> bool:
        """Whether any choice has arrived."""
        return bool(self._choices)

    @property
    def complete(self) -> bool:
        """Whether all choices are finished."""
        finished = [choice for choice in self._choices.values() if is_reason(choice.get("finish_reason"))]
        return len(finished) == max(len(self._choices), self._expected)

    def whole(self, answer: dict[str, Any]) -> dict[str, Any]:
        """The text of the first choice; ``meta`` is the whole answer."""
        choices = [choice for choice in _choices_in(answer) if choice is not None]
        if not choices:
            raise UnexpectedShapeError("no choices")
        for choice in choices:
            check_finish(choice, choice.get("finish_reason"), self._failures)
        message = choices[0].get("message")
        if not isinstance(message, dict):
            raise UnexpectedShapeError("a choice without message")
        return to_output(text_of(message.get("content")), answer)

    def add(self, part: dict[str, Any]) -> str:
        """Add one chunk; some have no choice, such as the last one, which has the usage."""
        texts = [self._add_choice(choice, place) for place, choice in enumerate(_choices_in(part))]
        add_to(self._head, {name: value for name, value in part.items() if name != "choices"}, HEAD)
        return "".join(texts)

    def streamed(self) -> dict[str, Any]:
        """The text of the first choice; ``meta`` is the completion as a server sends it without streaming."""
        choices = [assembled(choice) for _, choice in sorted(self._choices.items())]
        for choice in choices:
            calls = choice["message"].get("tool_calls")
            if isinstance(calls, list):
                choice["message"]["tool_calls"] = [_without_index(call) for call in _in_order(calls)]
        head = {**self._head, "choices": choices}
        if head.get("object") in (None, "chat.completion.chunk"):
            head["object"] = "chat.completion"
        return to_output(text_of(choices[0]["message"].get("content")), head)

    def _add_choice(self, part: dict[str, Any] | None, place: int) -> str:
        """Add a part of a choice, and return its text if it belongs to the first choice."""
        if part is None:
            return ""
        index = part["index"] if type(part.get("index")) is int else place
        # A few servers call it a message; with both, the message repeats what the deltas have brought.
        delta = part.get("message") if part.get("delta") is None else part["delta"]
        delta = delta or {}
        if not isinstance(delta, dict):
            raise UnexpectedShapeError("a choice whose delta is not an object")
        text = text_of(delta.get("content"))
        check_finish(part, part.get("finish_reason"), self._failures)
        choice = self._choices.setdefault(
            index, {"index": index, "message": {"role": "assistant", "content": None}}
        )
        add_to(choice["message"], delta, DELTA)
        rest = {name: value for name, value in part.items() if name not in ("index", "delta", "message")}
        add_to(choice, rest, PART)
        return text if index == 0 else ""


def _as_text(arguments: Any) -> Any:
    return json.dumps(arguments) if isinstance(arguments, dict) else arguments


def _choices_in(answer: dict[str, Any]) -> list[dict[str, Any] | None]:
    choices = answer.get("choices")
    if not choices:
        return []
    if not isinstance(choices, list):
        raise UnexpectedShapeError("choices is not a list")
    if not all(choice is None or isinstance(choice, dict) for choice in choices):
        raise UnexpectedShapeError("a choice that is not an object")
    return choices


def _in_order(calls: list[Any]) -> list[Any]:
    """Tool calls in the order of their index; a call without one stays behind the call before it."""
    keyed, last = [], 0
    for call in calls:
        last = call["index"] if type(call.get("index")) is int else last
        keyed.append((last, call))
    return [call for _, call in sorted(keyed, key=lambda each: each[0])]


def _without_index(call: dict[str, Any]) -> dict[str, Any]:
    """A streamed call as a whole answer has it."""
    rest = {name: value for name, value in call.items() if name != "index"}
    if isinstance(function := rest.get("function"), dict):
        rest["function"] = {"arguments": "", **function}
    return {"type": "function", **rest}
