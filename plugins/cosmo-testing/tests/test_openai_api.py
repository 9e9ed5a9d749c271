"""What an OpenAI client sees."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from cosmo_testing import ChatServer

CHAT = "/v1/chat/completions"


def asking(prompt: Any, **options: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": prompt}], **options}


async def events_of(client: httpx.AsyncClient, body: dict[str, Any]) -> list[dict[str, Any]]:
    """The JSON events of a stream, which has to end in ``[DONE]``."""
    response = await client.post(CHAT, json={**body, "stream": True})
    assert response.headers["content-type"] == "text/event-stream"
    *events, done, rest = response.text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    return [json.loads(event.removeprefix("data: ")) for event in events]


async def test_a_completion_has_openais_shape(client: httpx.AsyncClient) -> None:
    answer = (await client.post(CHAT, json=asking("Say hello to a project called Cosmonapse."))).json()
    assert (answer["object"], answer["model"], answer["id"]) == ("chat.completion", "m", "chatcmpl-1")
    (choice,) = answer["choices"]
    assert choice["message"]["role"] == "assistant"
    assert choice["message"]["content"].startswith("Hello, Cosmonapse! ")
    assert choice["finish_reason"] == "stop"
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


async def test_a_stream_joins_to_the_same_text(client: httpx.AsyncClient) -> None:
    whole = (await client.post(CHAT, json=asking("Why?"))).json()["choices"][0]["message"]["content"]
    events = await events_of(client, asking("Why?"))
    deltas = [event["choices"][0]["delta"] for event in events]
    assert deltas[0]["role"] == "assistant"
    assert "".join(delta.get("content", "") for delta in deltas) == whole
    assert [event["choices"][0]["finish_reason"] for event in events[-2:]] == [None, "stop"]
    assert {event["object"] for event in events} == {"chat.completion.chunk"}


async def test_usage_is_streamed_on_request(client: httpx.AsyncClient) -> None:
    events = await events_of(client, asking("Why?", stream_options={"include_usage": True}))
    assert events[-1]["choices"] == []
    assert events[-1]["usage"]["completion_tokens"] > 0


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
async def test_the_answer_is_cut_at_max_tokens(client: httpx.AsyncClient, name: str) -> None:
    (choice,) = (await client.post(CHAT, json=asking("Hello", **{name: 2}))).json()["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("Hello! Welcome", "length")


async def test_the_last_user_message_is_answered() -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "ok"},
        {"role": "user", "content": [{"type": "text", "text": "look"}, {"type": "image_url"}]},
        {"role": "tool", "content": "7"},
    ]
    async with ChatServer(reply=str.upper) as server, httpx.AsyncClient(base_url=server.url) as client:
        answer = (await client.post(CHAT, json={"messages": messages})).json()
    assert answer["choices"][0]["message"]["content"] == "LOOK"


async def test_other_settings_are_accepted(client: httpx.AsyncClient) -> None:
    body = asking("Hello", temperature=0.5, top_p=0.9, stop=["x"], seed=1, tools=[])
    assert (await client.post(CHAT, json=body)).status_code == 200


async def test_the_models_are_listed(client: httpx.AsyncClient) -> None:
    answer = (await client.get("/v1/models")).json()
    assert answer["object"] == "list"
    assert answer["data"][0]["object"] == "model"


@pytest.mark.parametrize(
    ("method", "path", "content", "status", "says"),
    [
        ("POST", CHAT, b"{not json", 400, "not JSON"),
        ("POST", CHAT, b"\xff", 400, "not JSON"),
        ("POST", CHAT, b"[]", 400, "not a JSON object"),
        ("POST", CHAT, b"{}", 400, "messages"),
        ("POST", CHAT, b'{"messages": []}', 400, "messages"),
        ("POST", CHAT, b'{"messages": [7]}', 400, "messages[0]"),
        ("POST", CHAT, b'{"messages": [{"role": "user"}], "max_tokens": 0}', 400, "max_tokens"),
        ("POST", "/v1/nothing", b"{}", 404, "/v1/nothing"),
        ("GET", CHAT, b"", 405, "POST only"),
        ("POST", "/v1/models", b"{}", 405, "GET only"),
    ],
)
async def test_a_wrong_request_is_refused_in_openais_shape(
    client: httpx.AsyncClient, method: str, path: str, content: bytes, status: int, says: str
) -> None:
    response = await client.request(method, path, content=content)
    assert response.status_code == status
    error = response.json()["error"]
    assert says in error["message"]
    assert error["type"] == "invalid_request_error"


async def test_wrong_method_is_refused_with_the_right_one(client: httpx.AsyncClient) -> None:
    assert (await client.get(CHAT)).headers["allow"] == "POST"


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer wrong"}, {"authorization": "Basic right"}])
async def test_request_without_key_is_refused(headers: dict[str, str]) -> None:
    async with ChatServer(api_key="right") as server, httpx.AsyncClient(base_url=server.url) as client:
        refused = await client.post(CHAT, json=asking("Hello"), headers=headers)
        served = await client.post(CHAT, json=asking("Hello"), headers={"authorization": "Bearer right"})
    assert (refused.status_code, served.status_code) == (401, 200)
    assert "right" not in refused.text
