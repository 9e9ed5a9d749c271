"""Ollama's API, with models that have names and no weights."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from cosmo_testing.chat_server.messages import Refusal, RefusedError, Response, json_response, line_response
from cosmo_testing.chat_server.replies import Completion, complete, count_tokens

VERSION: Final = "0.12.0"

_MILLISECOND: Final = 1_000_000


def chat(body: dict[str, Any], models: Models, reply: Callable[[str], str]) -> Response:
    """Answer ``POST /api/chat``.

    Raises:
        RefusedError: The model was not pulled (404), or the body is invalid (400).
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
        RefusedError: The model was not pulled (404), or the body is invalid (400).
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
    """Make an error response in the format of the API."""
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
    stream = body.get("stream", True)  # Ollama streams by default.
    if not isinstance(stream, bool):
        raise RefusedError(400, "stream: a boolean is needed")
    if not stream:
        return json_response(200, head | part(completion.text) | tail)
    steps: list[dict[str, Any]] = [head | part(token) | {"done": False} for token in completion.tokens]
    return line_response([*steps, head | part("") | tail])


def _given(holder: dict[str, Any], name: str, otherwise: Any) -> Any:
    """Return a value, or ``otherwise`` if it is missing or ``null``; a falsy value of a wrong type stays."""
    value = holder.get(name)
    return otherwise if value is None else value


def _loaded(model: str, part: dict[str, Any]) -> Response:
    """Answer a request without a prompt, which only loads the model."""
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
        # Ollama itself answers with this status.
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


PULLED: Final = ("llama3",)
CREATED_AT: Final = "2025-01-01T00:00:00Z"

_DETAILS: Final = {
    "parent_model": "",
    "format": "gguf",
    "family": "llama",
    "families": ["llama"],
    "parameter_size": "1B",
    "quantization_level": "Q4_0",
}


class Models:
    """The pulled models.

    Args:
        names: The names; one without a tag means ``:latest``, as in Ollama.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = [_tagged(name) for name in names]

    def need(self, body: dict[str, Any]) -> str:
        """Return the model that a request names.

        Raises:
            RefusedError: The request names no model (400), or one that was not pulled (404).
        """
        name = body.get("model")
        if not isinstance(name, str) or not name:
            raise RefusedError(400, "model is required")
        if _tagged(name) not in self._names:
            raise RefusedError(404, f"model '{name}' not found")
        return name

    def tags(self) -> Response:
        """Answer ``GET /api/tags``."""
        return json_response(200, {"models": [_listed(name) for name in self._names]})

    def show(self, body: dict[str, Any]) -> Response:
        """Answer ``POST /api/show``.

        Raises:
            RefusedError: The model was not pulled.
        """
        name = self.need(body)
        answer = {
            "modelfile": f"FROM {name}",
            "template": "{{ .Prompt }}",
            "details": _DETAILS,
            "model_info": {"general.architecture": "llama"},
            "capabilities": ["completion", "tools", "vision"],
            "modified_at": CREATED_AT,
        }
        return json_response(200, answer)


def _tagged(name: str) -> str:
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def _listed(name: str) -> dict[str, Any]:
    digest = hashlib.sha256(name.encode()).hexdigest()
    return {
        "name": name,
        "model": name,
        "modified_at": CREATED_AT,
        "size": 1 << 30,
        "digest": digest,
        "details": _DETAILS,
    }
