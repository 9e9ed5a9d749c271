"""What a client of Ollama sees; that its own client agrees is tested in cosmo-source-ollama."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from cosmo_testing import ChatServer

if TYPE_CHECKING:
    from collections.abc import Iterator

CHAT = "/api/chat"
GENERATE = "/api/generate"
ASKING: dict[str, dict[str, Any]] = {
    CHAT: {"model": "llama3", "messages": [{"role": "user", "content": "Why?"}]},
    GENERATE: {"model": "llama3", "prompt": "Why?"},
}


def text_of(answer: dict[str, Any]) -> str:
    text: str = answer["message"]["content"] if "message" in answer else answer["response"]
    return text


async def lines_of(client: httpx.AsyncClient, path: str, **options: Any) -> list[dict[str, Any]]:
    response = await client.post(path, json=ASKING[path] | options)
    assert response.headers["content-type"] == "application/x-ndjson"
    assert response.text.endswith("\n")
    return [json.loads(line) for line in response.text.splitlines()]


@pytest.mark.parametrize("path", ASKING)
async def test_answer_streams_by_default(client: httpx.AsyncClient, path: str) -> None:
    *parts, last = await lines_of(client, path)
    whole = (await client.post(path, json=ASKING[path] | {"stream": False})).json()
    assert "".join(map(text_of, parts)) == text_of(whole)
    assert [part["done"] for part in parts] == [False] * len(parts)
    assert (text_of(last), last["done"], last["done_reason"]) == ("", True, "stop")
    assert last["eval_count"] == whole["eval_count"] == len(parts)
    assert last.keys() == whole.keys()


@pytest.mark.parametrize("path", ASKING)
async def test_the_answer_is_cut_at_num_predict(client: httpx.AsyncClient, path: str) -> None:
    *parts, last = await lines_of(client, path, options={"num_predict": 2})
    assert (len(parts), last["done_reason"]) == (2, "length")


@pytest.mark.parametrize("limit", [-1, 0])
async def test_limit_below_one_means_no_limit(client: httpx.AsyncClient, limit: int) -> None:
    assert (await lines_of(client, CHAT, options={"num_predict": limit}))[-1]["done_reason"] == "stop"


async def test_the_last_user_message_is_answered() -> None:
    call = {"function": {"name": "clock", "arguments": {}}}
    messages = [
        {"role": "user", "content": "first"},
        {"role": "user", "content": "look", "images": ["aW1hZ2U="]},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "content": "7"},
    ]
    async with ChatServer(reply=str.upper) as server, httpx.AsyncClient(base_url=server.url) as client:
        body = {"model": "llama3", "messages": messages, "stream": False}
        assert text_of((await client.post(CHAT, json=body)).json()) == "LOOK"


@pytest.mark.parametrize("path", ASKING)
async def test_request_without_prompt_only_loads_the_model(client: httpx.AsyncClient, path: str) -> None:
    answer = (await client.post(path, json={"model": "llama3"})).json()
    assert (text_of(answer), answer["done"], answer["done_reason"]) == ("", True, "load")


async def test_names_without_a_tag_mean_the_latest() -> None:
    pulled = ["team/phi", "qwen3:8b"]
    async with ChatServer(pulled=pulled) as server, httpx.AsyncClient(base_url=server.url) as client:
        names = [model["name"] for model in (await client.get("/api/tags")).json()["models"]]
        assert names == ["team/phi:latest", "qwen3:8b"]
        statuses = [
            (await client.post("/api/show", json={"model": name})).status_code
            for name in ("team/phi", "team/phi:latest", "qwen3:8b", "qwen3")
        ]
    assert statuses == [200, 200, 200, 404]


async def test_version_is_returned(client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/version")).json().keys() == {"version"}


def wrong_requests() -> Iterator[Any]:
    def chat(**body: Any) -> tuple[str, dict[str, Any]]:
        return CHAT, ASKING[CHAT] | body

    def message(**message: Any) -> tuple[str, dict[str, Any]]:
        return chat(messages=[{"role": "user", "content": "Why?", **message}])

    yield *chat(model=""), 400, "model is required"
    yield *chat(model=None), 400, "model is required"
    yield *chat(model="phi"), 404, "model 'phi' not found"
    yield *chat(messages="Why?"), 400, "messages: a list"
    yield *chat(messages=[7]), 400, "messages[0]: an object"
    yield *message(role=7), 400, "messages[0]: an object"
    yield *message(content=[{"type": "text", "text": "Why?"}]), 400, "messages[0].content: a string"
    yield *message(images=["not base64"]), 400, "messages[0].images: base64"
    yield *message(images=[7]), 400, "messages[0].images: base64"
    yield *message(tool_calls=[{"function": {"arguments": "{}"}}]), 400, "messages[0].tool_calls"
    yield *chat(stream="no"), 400, "stream"
    yield *chat(options=[]), 400, "options"
    yield *chat(options={"num_predict": "many"}), 500, "must be of type integer"
    yield GENERATE, {"model": "phi"}, 404, "model 'phi' not found"
    yield GENERATE, {"model": "llama3", "prompt": 7}, 400, "prompt"
    yield GENERATE, {"model": "llama3", "prompt": "Why?", "images": "@"}, 400, "images"
    yield "/api/show", {"model": "phi"}, 404, "model 'phi' not found"
    yield "/api/nothing", {}, 404, "no such path"
    yield "/api/tags", {}, 405, "GET only"


@pytest.mark.parametrize(("path", "body", "status", "says"), [*wrong_requests()])
async def test_a_wrong_request_is_refused_in_ollamas_shape(
    client: httpx.AsyncClient, path: str, body: dict[str, Any], status: int, says: str
) -> None:
    response = await client.post(path, json=body)
    assert response.status_code == status
    assert response.json().keys() == {"error"}
    assert says in response.json()["error"]


async def test_request_without_key_is_refused_in_ollamas_format() -> None:
    async with ChatServer(api_key="right") as server, httpx.AsyncClient(base_url=server.url) as client:
        response = await client.get("/api/tags")
    assert (response.status_code, type(response.json()["error"])) == (401, str)
