"""Ollama's API, as far as a client can tell."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any, Final

from cosmo_testing._messages import RefusedError, json_response, line_response
from cosmo_testing._ollama_models import CREATED_AT
from cosmo_testing._replies import complete, count_tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cosmo_testing._messages import Refusal, Response
    from cosmo_testing._ollama_models import Models
    from cosmo_testing._replies import Completion

VERSION: Final = "0.12.0"

_MILLISECOND: Final = 1_000_000


def chat(body: dict[str, Any], models: Models, reply: Callable[[str], str]) -> Response:
    """Answer ``POST /api/chat``.

    Raises:
        RefusedError: With 404 when the model was not pulled, with 400 when the API takes no such body.
    """
    model = models.need(body)
    messages = _given(body, "messages", [])
    prompt = _last_user_text(messages)

    def message(text: str) -> dict[str, Any]:
        return {"message": {"role": "assistant", "content": text}}

    if not messages:
        return _loaded(model, message(""))
    return _answered(body, model, prompt, reply, message)


def generate(body: dict[str, Any], models: Models, reply: Callable[[str], str]) -> Response:
    """Answer ``POST /api/generate``.

    Raises:
        RefusedError: With 404 when the model was not pulled, with 400 when the API takes no such body.
    """
    model = models.need(body)
    prompt = _given(body, "prompt", "")
    if not isinstance(prompt, str):
        raise RefusedError(400, "prompt: a string is needed")
    _check_images("", body)

    def response(text: str) -> dict[str, Any]:
        return {"response": text}

    if not prompt:
        return _loaded(model, response(""))
    return _answered(body, model, prompt, reply, response)


def version() -> Response:
    """Answer ``GET /api/version``."""
    return json_response(200, {"version": VERSION})


def refuse(refusal: Refusal) -> Response:
    """Word a refusal as the API does."""
    return json_response(refusal.status, {"error": refusal.message}, headers=refusal.headers)


def _answered(
    body: dict[str, Any],
    model: str,
    prompt: str,
    reply: Callable[[str], str],
    part: Callable[[str], dict[str, Any]],
) -> Response:
    completion = complete(reply(prompt), _num_predict(body))
    head = {"model": model, "created_at": CREATED_AT}
    tail = {"done": True, "done_reason": _reason(completion), **_metrics(prompt, completion)}
    stream = body.get("stream", True)  # as the real one does: who does not want a stream says so
    if not isinstance(stream, bool):
        raise RefusedError(400, "stream: a boolean is needed")
    if not stream:
        return json_response(200, head | part(completion.text) | tail)
    steps: list[dict[str, Any]] = [head | part(token) | {"done": False} for token in completion.tokens]
    return line_response([*steps, head | part("") | tail])


def _given(holder: dict[str, Any], name: str, otherwise: Any) -> Any:
    """A value, ``null`` counting as none; a wrong type that is empty is still wrong."""
    value = holder.get(name)
    return otherwise if value is None else value


def _loaded(model: str, part: dict[str, Any]) -> Response:
    """Without a prompt, a model is only loaded."""
    head = {"model": model, "created_at": CREATED_AT}
    return json_response(200, head | part | {"done": True, "done_reason": "load"})


def _last_user_text(messages: object) -> str:
    text = ""
    for name, message in _checked(messages):
        content = _given(message, "content", "")
        if not isinstance(content, str):
            raise RefusedError(400, f"{name}.content: a string is needed")
        _check_images(f"{name}.", message)
        _check_tool_calls(name, message)
        if message["role"] == "user":
            text = content
    return text


def _checked(messages: object) -> Iterator[tuple[str, dict[str, Any]]]:
    if not isinstance(messages, list):
        raise RefusedError(400, "messages: a list is needed")
    for index, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise RefusedError(400, f"messages[{index}]: an object with a role is needed")
        yield f"messages[{index}]", message


def _check_images(where: str, holder: dict[str, Any]) -> None:
    for image in _given(holder, "images", ()):
        try:
            base64.b64decode(image, validate=True)
        except (TypeError, ValueError, binascii.Error):
            raise RefusedError(400, f"{where}images: base64 data is needed") from None


def _check_tool_calls(name: str, message: dict[str, Any]) -> None:
    for call in _given(message, "tool_calls", ()):
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("arguments"), dict):
            raise RefusedError(400, f"{name}.tool_calls: functions with arguments in an object are needed")


def _num_predict(body: dict[str, Any]) -> int | None:
    options = _given(body, "options", {})
    if not isinstance(options, dict):
        raise RefusedError(400, "options: an object is needed")
    limit = _given(options, "num_predict", -1)
    if isinstance(limit, bool) or not isinstance(limit, (int, float)):
        # The real one says so with this status, too.
        raise RefusedError(500, 'option "num_predict" must be of type integer')
    return int(limit) if limit > 0 else None


def _reason(completion: Completion) -> str:
    return "length" if completion.truncated else "stop"


def _metrics(prompt: str, completion: Completion) -> dict[str, int]:
    return {
        "total_duration": 3 * _MILLISECOND,
        "load_duration": _MILLISECOND,
        "prompt_eval_count": count_tokens(prompt),
        "prompt_eval_duration": _MILLISECOND,
        "eval_count": len(completion.tokens),
        "eval_duration": _MILLISECOND,
    }
