"""Each scripted fault, as a plain client sees it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from cosmo_testing import ChatServer, Fault

if TYPE_CHECKING:
    from collections.abc import Coroutine

PROMPT = {"inputs": "Hello"}


def generate(client: httpx.AsyncClient, path: str = "/generate") -> Coroutine[Any, Any, httpx.Response]:
    return client.post(path, json=PROMPT)


async def read_stream(client: httpx.AsyncClient) -> tuple[int, int]:
    """How many events a stream brought before it was cut, and with which status it began."""
    events = 0
    async with client.stream("POST", "/generate_stream", json=PROMPT) as response:
        try:
            async for line in response.aiter_lines():
                events += line.startswith("data:")
        except httpx.RemoteProtocolError:
            return events, response.status_code
    raise AssertionError("the stream was not cut")


async def test_faults_are_used_one_per_request_in_order(
    server: ChatServer, client: httpx.AsyncClient
) -> None:
    server.script(Fault.status(503), Fault.none(), Fault.status(429))
    assert [(await generate(client)).status_code for _ in range(4)] == [503, 200, 429, 200]


@pytest.mark.parametrize("status", [400, 401, 429, 500, 503, 599])
async def test_status_has_openais_error_format(
    server: ChatServer, client: httpx.AsyncClient, status: int
) -> None:
    server.script(Fault.status(status, message="no can do"))
    response = await generate(client)
    assert (response.status_code, response.json()["error"]["message"]) == (status, "no can do")
    assert "retry-after" not in response.headers


async def test_status_has_the_error_format_of_the_requested_api(
    server: ChatServer, client: httpx.AsyncClient
) -> None:
    server.script(Fault.status(503, message="no can do"))
    response = await generate(client, "/api/generate")
    assert (response.status_code, response.json()) == (503, {"error": "no can do"})


@pytest.mark.parametrize("retry_after", [1, 0.5, "Wed, 21 Oct 2015 07:28:00 GMT"])
async def test_status_may_have_retry_after(
    server: ChatServer, client: httpx.AsyncClient, retry_after: float | str
) -> None:
    server.script(Fault.status(429, retry_after=retry_after))
    assert (await generate(client)).headers["retry-after"] == str(retry_after)


async def test_a_redirect_names_its_target(server: ChatServer, client: httpx.AsyncClient) -> None:
    server.script(Fault.redirect("http://localhost/elsewhere"))
    response = await generate(client)
    assert (response.status_code, response.headers["location"]) == (307, "http://localhost/elsewhere")


async def test_malformed_body_is_sent_unchanged(server: ChatServer, client: httpx.AsyncClient) -> None:
    server.script(Fault.malformed(b"\xff<html>", content_type="text/html"))
    response = await generate(client)
    assert (response.status_code, response.content) == (200, b"\xff<html>")
    assert response.headers["content-type"] == "text/html"


@pytest.mark.parametrize("path", ["/generate", "/generate_stream"])
async def test_a_connection_is_cut_before_the_answer(
    server: ChatServer, client: httpx.AsyncClient, path: str
) -> None:
    server.script(Fault.cut())
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        await generate(client, path)


@pytest.mark.parametrize("after", [0, 1])
async def test_a_body_is_cut_in_the_middle(server: ChatServer, client: httpx.AsyncClient, after: int) -> None:
    server.script(Fault.cut(after))
    async with client.stream("POST", "/generate", json=PROMPT) as response:
        assert response.status_code == 200
        with pytest.raises(httpx.RemoteProtocolError, match="without sending complete message body"):
            await response.aread()


@pytest.mark.parametrize("after", [0, 1, 3])
async def test_a_stream_is_cut_after_some_events(
    server: ChatServer, client: httpx.AsyncClient, after: int
) -> None:
    server.script(Fault.cut(after))
    assert await read_stream(client) == (after, 200)


@pytest.mark.parametrize("after", [None, 0, 1])
async def test_stalled_connection_detects_disconnect(
    server: ChatServer, client: httpx.AsyncClient, after: int | None
) -> None:
    server.script(Fault.stall(after))
    call = asyncio.create_task(generate(client))
    async with asyncio.timeout(5):
        await server.wait_received(1)
        assert not server.disconnected.is_set()
        call.cancel()
        await server.disconnected.wait()
    assert call.cancelled()


@pytest.mark.parametrize("after", [None, 0, 1])
async def test_held_answer_arrives_after_release(
    server: ChatServer, client: httpx.AsyncClient, after: int | None
) -> None:
    release = asyncio.Event()
    server.script(Fault.hold(release, after))
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        call = group.create_task(generate(client))
        await server.wait_received(1)
        assert not call.done()
        release.set()
    assert call.result().json()["generated_text"].startswith("Hello!")
    assert not server.disconnected.is_set()


async def test_held_answer_ends_when_the_client_disconnects(
    server: ChatServer, client: httpx.AsyncClient
) -> None:
    server.script(Fault.hold(asyncio.Event()))
    call = asyncio.create_task(generate(client))
    async with asyncio.timeout(5):
        await server.wait_received(1)
        call.cancel()
        await server.disconnected.wait()


async def test_a_stalled_connection_does_not_keep_the_server_from_closing(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(5):
        async with ChatServer() as server:
            server.script(Fault.stall(1))
            call = asyncio.create_task(client.post(f"{server.url}/generate", json=PROMPT))
            await server.wait_received(1)
        with pytest.raises(httpx.TransportError):
            await call
