"""The chat server: real HTTP on the loopback interface, without a model."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from cosmo_testing.chat_server import ollama, openai, tgi
from cosmo_testing.chat_server.loopback import MAX_BODY, LoopbackServer
from cosmo_testing.chat_server.messages import ReceivedRequest, Refusal, RefusedError, Response
from cosmo_testing.chat_server.ollama import PULLED, Models
from cosmo_testing.chat_server.replies import canned_reply


class ChatServer(LoopbackServer):
    """Serves OpenAI's chat completions, TGI's native API and Ollama's on 127.0.0.1, deterministically.

    Paths: ``/v1/chat/completions``, ``/v1/models``; ``/generate``, ``/generate_stream``; ``/api/chat``,
    ``/api/generate``, ``/api/show``, ``/api/tags``, ``/api/version``. Use it as ``async with ChatServer() as
    server``, point a source at ``server.url``, and let requests fail with
    ``server.script(Fault.status(429, retry_after=0))``.

    Args:
        port: The port; 0 lets the system choose.
        api_key: The key that requests need; ``None`` accepts all requests.
        reply: Takes the last user message; returns the answer.
        pulled: The models of Ollama's API; the other APIs accept any name.
        max_body: The size limit of a request body, in bytes.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        api_key: str | None = None,
        reply: Callable[[str], str] = canned_reply,
        pulled: Iterable[str] = PULLED,
        max_body: int = MAX_BODY,
    ) -> None:
        models = Models(pulled)

        def answer(request: ReceivedRequest, serial: int) -> Response:
            return respond(request, serial=serial, api_key=api_key, reply=reply, models=models)

        super().__init__(answer, port=port, max_body=max_body, refuse=refuse)


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
    """Make an error response in the format of the API to which the path belongs."""
    return ollama.refuse(refusal) if path.startswith("/api/") else refusal.response


def _got(path: str, models: Models) -> Response:
    match path:
        case "/v1/models":
            return openai.models()
        case "/api/tags":
            return models.tags()
        case _:
            return ollama.version()


def _posted(
    path: str, body: dict[str, Any], serial: int, reply: Callable[[str], str], models: Models
) -> Response:
    match path:
        case "/v1/chat/completions":
            return openai.chat_completion(body, serial, reply)
        case "/generate":
            return tgi.generate(body, reply)
        case "/generate_stream":
            return tgi.generate_stream(body, reply)
        case "/api/chat":
            return ollama.chat(body, models, reply)
        case "/api/generate":
            return ollama.generate(body, models, reply)
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
