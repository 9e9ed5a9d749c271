"""OpenAI's chat completions API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cosmo_testing.chat_server.messages import RefusedError, Response, event_response, json_response
from cosmo_testing.chat_server.replies import Completion, complete, count_tokens


def chat_completion(body: dict[str, Any], serial: int, reply: Callable[[str], str]) -> Response:
    """Answer ``POST /v1/chat/completions``.

    Raises:
        RefusedError: The body is invalid (400).
    """
    prompt = _last_user_text(body.get("messages"))
    completion = complete(reply(prompt), _max_tokens(body))
    head = {"id": f"chatcmpl-{serial}", "created": 0, "model": body.get("model") or "cosmo-local"}
    usage = _usage(prompt, completion)
    if not body.get("stream"):
        return json_response(200, _whole(head, completion) | {"usage": usage})
    options = body.get("stream_options") or {}
    return event_response(_events(head, completion, usage if options.get("include_usage") else None))


def models() -> Response:
    """Answer ``GET /v1/models``."""
    model = {"id": "cosmo-local", "object": "model", "created": 0, "owned_by": "cosmo-core"}
    return json_response(200, {"object": "list", "data": [model]})


def _last_user_text(messages: object) -> str:
    if not isinstance(messages, list) or not messages:
        raise RefusedError(400, "messages: a non-empty list is needed")
    text = ""
    for index, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise RefusedError(400, f"messages[{index}]: an object with a role is needed")
        if message["role"] == "user":
            text = _text_of(message.get("content"))
    return text


def _text_of(content: object) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return " ".join(str(part["text"]) for part in parts if isinstance(part, dict) and "text" in part)


def _max_tokens(body: dict[str, Any]) -> int | None:
    value = body.get("max_completion_tokens", body.get("max_tokens"))
    if value is not None and (type(value) is not int or value < 1):
        raise RefusedError(400, "max_tokens: a positive integer is needed")
    return value


def _usage(prompt: str, completion: Completion) -> dict[str, int]:
    asked, answered = count_tokens(prompt), len(completion.tokens)
    return {"prompt_tokens": asked, "completion_tokens": answered, "total_tokens": asked + answered}


def _finish_reason(completion: Completion) -> str:
    return "length" if completion.truncated else "stop"


def _whole(head: dict[str, Any], completion: Completion) -> dict[str, Any]:
    message = {"role": "assistant", "content": completion.text}
    choice = {"index": 0, "message": message, "finish_reason": _finish_reason(completion)}
    return head | {"object": "chat.completion", "choices": [choice]}


def _events(head: dict[str, Any], completion: Completion, usage: dict[str, int] | None) -> list[object]:
    chunk = head | {"object": "chat.completion.chunk"}

    def step(delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
        return chunk | {"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}

    events: list[object] = [step({"role": "assistant", "content": ""})]
    events += [step({"content": token}) for token in completion.tokens]
    events.append(step({}, _finish_reason(completion)))
    if usage is not None:
        events.append(chunk | {"choices": [], "usage": usage})
    return [*events, "[DONE]"]
