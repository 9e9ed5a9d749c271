"""The native API of HuggingFace's text-generation-inference (TGI)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cosmo_testing.chat_server.messages import RefusedError, Response, event_response, json_response
from cosmo_testing.chat_server.replies import Completion, complete


def generate(body: dict[str, Any], reply: Callable[[str], str]) -> Response:
    """Answer ``POST /generate``.

    Raises:
        RefusedError: The body is invalid (422).
    """
    completion = _complete(body, reply)
    answer: dict[str, Any] = {"generated_text": completion.text}
    if _parameters(body).get("details"):
        answer["details"] = _details(completion)
    return json_response(200, answer)


def generate_stream(body: dict[str, Any], reply: Callable[[str], str]) -> Response:
    """Answer ``POST /generate_stream``: one event per token; the last one repeats the whole text.

    As with a real model, an answer that is not truncated ends with a special token.

    Raises:
        RefusedError: The body is invalid (422).
    """
    completion = _complete(body, reply)
    tokens = [{"text": text, "special": False} for text in completion.tokens]
    if not completion.truncated:
        tokens.append({"text": "</s>", "special": True})
    events = [_event(index, token) for index, token in enumerate(tokens, start=1)]
    events[-1] |= {"generated_text": completion.text, "details": _details(completion)}
    return event_response(events, space="")


def _event(index: int, token: dict[str, Any]) -> dict[str, Any]:
    token = {"id": index, "logprob": 0.0, **token}
    return {"index": index, "token": token, "generated_text": None, "details": None}


def _complete(body: dict[str, Any], reply: Callable[[str], str]) -> Completion:
    inputs = body.get("inputs")
    if not isinstance(inputs, str) or not inputs:
        raise RefusedError(422, "inputs: a non-empty string is needed")
    limit = _parameters(body).get("max_new_tokens")
    if limit is not None and (type(limit) is not int or limit < 1):
        raise RefusedError(422, "parameters.max_new_tokens: a positive integer is needed")
    return complete(reply(inputs), limit)


def _parameters(body: dict[str, Any]) -> dict[str, Any]:
    parameters = body.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise RefusedError(422, "parameters: an object is needed")
    return parameters


def _details(completion: Completion) -> dict[str, Any]:
    reason = "length" if completion.truncated else "eos_token"
    return {"finish_reason": reason, "generated_tokens": len(completion.tokens), "seed": None}
