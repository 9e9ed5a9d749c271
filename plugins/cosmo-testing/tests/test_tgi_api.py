"""What a client of text-generation-inference sees."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import httpx


async def tokens_of(client: httpx.AsyncClient, body: dict[str, Any]) -> list[dict[str, Any]]:
    response = await client.post("/generate_stream", json=body)
    assert response.headers["content-type"] == "text/event-stream"
    return [json.loads(event.removeprefix("data:")) for event in response.text.split("\n\n") if event]


async def test_a_generation_has_tgis_shape(client: httpx.AsyncClient) -> None:
    answer = (await client.post("/generate", json={"inputs": "Say hello to one named Ada."})).json()
    assert list(answer) == ["generated_text"]
    assert answer["generated_text"].startswith("Hello, Ada! ")


async def test_details_are_sent_on_request(client: httpx.AsyncClient) -> None:
    body = {"inputs": "Hello", "parameters": {"details": True, "max_new_tokens": 1}}
    answer = (await client.post("/generate", json=body)).json()
    assert answer["generated_text"] == "Hello!"
    assert (answer["details"]["finish_reason"], answer["details"]["generated_tokens"]) == ("length", 1)


async def test_a_stream_joins_to_the_same_text(client: httpx.AsyncClient) -> None:
    whole = (await client.post("/generate", json={"inputs": "Why?"})).json()["generated_text"]
    events = await tokens_of(client, {"inputs": "Why?"})
    assert "".join(event["token"]["text"] for event in events if not event["token"]["special"]) == whole
    assert [event["generated_text"] for event in events] == [None] * (len(events) - 1) + [whole]
    assert events[-1]["details"]["finish_reason"] == "eos_token"
    assert events[-1]["token"]["special"]


async def test_a_stream_that_was_cut_short_ends_in_a_plain_token(client: httpx.AsyncClient) -> None:
    events = await tokens_of(client, {"inputs": "Hello", "parameters": {"max_new_tokens": 2}})
    assert [event["token"]["text"] for event in events] == ["Hello!", " Welcome"]
    assert events[-1]["details"]["finish_reason"] == "length"


@pytest.mark.parametrize("path", ["/generate", "/generate_stream"])
@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "inputs"),
        ({"inputs": ""}, "inputs"),
        ({"inputs": "x", "parameters": 7}, "parameters"),
        ({"inputs": "x", "parameters": {"max_new_tokens": 0}}, "max_new_tokens"),
    ],
)
async def test_a_wrong_request_is_refused(
    client: httpx.AsyncClient, path: str, body: dict[str, Any], says: str
) -> None:
    response = await client.post(path, json=body)
    assert response.status_code == 422
    assert says in response.json()["error"]["message"]
