"""Which answer belongs to which request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cosmo_core.testing import _openai, _tgi
from cosmo_core.testing._messages import RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cosmo_core.testing._messages import ReceivedRequest, Response

_METHODS: Final = {
    "/v1/chat/completions": "POST",
    "/v1/models": "GET",
    "/generate": "POST",
    "/generate_stream": "POST",
}


def respond(
    request: ReceivedRequest, *, serial: int, api_key: str | None, reply: Callable[[str], str]
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
    if request.path == "/v1/models":
        return _openai.models()
    body = _json_object(request)
    if request.path == "/v1/chat/completions":
        return _openai.chat_completion(body, serial, reply)
    return _tgi.generate(body, reply) if request.path == "/generate" else _tgi.generate_stream(body, reply)


def _json_object(request: ReceivedRequest) -> dict[str, Any]:
    try:
        body = request.json
    except ValueError as error:
        raise RefusedError(400, f"the body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise RefusedError(400, "the body is not a JSON object")
    return body
