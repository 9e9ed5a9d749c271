"""Which answer belongs to which request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cosmo_testing import _ollama, _openai, _tgi
from cosmo_testing._messages import RefusedError
from cosmo_testing._ollama_models import PULLED, Models

if TYPE_CHECKING:
    from collections.abc import Callable

    from cosmo_testing._messages import ReceivedRequest, Refusal, Response

_METHODS: Final = {
    "/v1/chat/completions": "POST",
    "/v1/models": "GET",
    "/generate": "POST",
    "/generate_stream": "POST",
    "/api/chat": "POST",
    "/api/generate": "POST",
    "/api/show": "POST",
    "/api/tags": "GET",
    "/api/version": "GET",
}
_PULLED: Final = Models(PULLED)


def respond(
    request: ReceivedRequest,
    *,
    serial: int,
    api_key: str | None,
    reply: Callable[[str], str],
    models: Models = _PULLED,
) -> Response:
    """Answer one request as a healthy provider would.

    Raises:
        RefusedError: The path, the method, the key or the body is wrong.
    """
    method = _METHODS.get(request.path)
    if method is None:
        raise RefusedError(404, f"no such path: {request.path}; there are {', '.join(_METHODS)}")
    if request.method != method:
        raise RefusedError(405, f"{request.path} takes {method} only", headers={"allow": method})
    if api_key is not None and request.headers.get("authorization") != f"Bearer {api_key}":
        raise RefusedError(401, "this server needs its API key as a bearer token")
    if method == "GET":
        return _got(request.path, models)
    return _posted(request.path, _json_object(request), serial, reply, models)


def refuse(path: str, refusal: Refusal) -> Response:
    """Word a refusal in the shape of the API that a path belongs to."""
    return _ollama.refuse(refusal) if path.startswith("/api/") else refusal.response


def _got(path: str, models: Models) -> Response:
    match path:
        case "/v1/models":
            return _openai.models()
        case "/api/tags":
            return models.tags()
        case _:
            return _ollama.version()


def _posted(
    path: str, body: dict[str, Any], serial: int, reply: Callable[[str], str], models: Models
) -> Response:
    match path:
        case "/v1/chat/completions":
            return _openai.chat_completion(body, serial, reply)
        case "/generate":
            return _tgi.generate(body, reply)
        case "/generate_stream":
            return _tgi.generate_stream(body, reply)
        case "/api/chat":
            return _ollama.chat(body, models, reply)
        case "/api/generate":
            return _ollama.generate(body, models, reply)
        case _:
            return models.show(body)


def _json_object(request: ReceivedRequest) -> dict[str, Any]:
    try:
        body = request.json
    except ValueError as error:
        raise RefusedError(400, f"the body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise RefusedError(400, "the body is not a JSON object")
    return body
