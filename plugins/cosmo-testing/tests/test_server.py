"""The server as a program under test leans on it: connections, the record, the limits."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import httpx
import pytest

from cosmo_testing import ChatServer
from cosmo_testing.chat_server import loopback

GENERATE = b"POST /generate HTTP/1.1\r\nHost: x\r\nContent-Length: 14\r\n\r\n" + b'{"inputs":"a"}'


async def connect(server: ChatServer) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]))


async def exchange(server: ChatServer, sent: bytes) -> bytes:
    """Send raw bytes and return everything the server says until it closes."""
    reader, writer = await connect(server)
    try:
        async with asyncio.timeout(5):
            writer.write(sent)
            writer.write_eof()
            return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


async def test_a_connection_is_kept_for_more_requests(server: ChatServer, client: httpx.AsyncClient) -> None:
    for _ in range(3):
        await client.post("/generate", json={"inputs": "a"})
        await client.get("/nowhere")
    assert (server.received, server.connections) == (6, 1)


async def test_requests_sent_ahead_are_answered_in_order(server: ChatServer) -> None:
    answer = await exchange(server, GENERATE + GENERATE.replace(b'"a"', b'"b"'))
    assert answer.count(b"HTTP/1.1 200") == 2
    assert answer.index(b"'a'") < answer.index(b"'b'")


async def test_http_1_0_client_is_answered_and_disconnected(server: ChatServer) -> None:
    answer = await exchange(server, GENERATE.replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in answer.lower()


async def test_client_that_expects_100_continue_gets_it(server: ChatServer) -> None:
    head, body = GENERATE.replace(b"Host", b"Expect: 100-continue\r\nHost").split(b"\r\n\r\n")
    reader, writer = await connect(server)
    async with asyncio.timeout(5):
        writer.write(head + b"\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        writer.write(body)
        assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"gibberish\r\n\r\n", b" 400 "),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b" 400 "),
        (b"GET /v1/models HTTP/1.1\r\n\r\n", b" 400 "),
        (b"GET /v1/models HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 100_000, b" 431 "),
    ],
)
async def test_request_that_is_not_http_is_refused(server: ChatServer, sent: bytes, status: bytes) -> None:
    assert status in (await exchange(server, sent)).partition(b"\r\n")[0]
    assert server.received == 0


async def test_a_request_body_is_bounded() -> None:
    async with ChatServer(max_body=100) as server, httpx.AsyncClient(base_url=server.url) as client:
        refused = await client.post("/generate", json={"inputs": "x" * 1_000_000})
        served = await client.post("/generate", json={"inputs": "x"})
    assert (refused.status_code, served.status_code) == (413, 200)
    assert "100 bytes" in refused.json()["error"]["message"]


async def test_requests_are_recorded(server: ChatServer, client: httpx.AsyncClient) -> None:
    await client.post("/generate?a=b", json={"inputs": "a"}, headers={"X-Name": "value"})
    (request,) = server.requests
    assert (request.method, request.path, request.json) == ("POST", "/generate", {"inputs": "a"})
    assert request.headers["x-name"] == "value"


async def test_the_record_does_not_show_headers(server: ChatServer, client: httpx.AsyncClient) -> None:
    await client.post("/generate", json={"inputs": "a"}, headers={"authorization": "Bearer secret"})
    assert "secret" not in repr(server.requests)


async def test_the_record_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loopback, "MAX_RECORDED", 3)
    async with ChatServer() as server, httpx.AsyncClient(base_url=server.url) as client:
        for number in range(5):
            await client.get(f"/{number}")
        assert [request.path for request in server.requests] == ["/2", "/3", "/4"]
        assert server.received == 5


async def test_requests_can_be_waited_for(server: ChatServer, client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(server.wait_received(2))
        for _ in range(2):
            group.create_task(client.get("/v1/models"))


async def test_a_reply_that_raises_is_reported_when_the_server_closes() -> None:
    def fail(prompt: str) -> str:
        raise ZeroDivisionError(prompt)

    server = ChatServer(reply=fail)
    async with httpx.AsyncClient() as client:
        with pytest.RaisesGroup(ZeroDivisionError):
            async with server:
                with pytest.raises(httpx.RemoteProtocolError):
                    await client.post(f"{server.url}/generate", json={"inputs": "a"})


async def test_closing_drops_every_connection() -> None:
    async with ChatServer() as server:
        reader, writer = await connect(server)
        writer.write(GENERATE[:20])
        await writer.drain()
    async with asyncio.timeout(5):
        with suppress(ConnectionError):  # an end or a reset: either way it is over
            assert await reader.read() == b""
    writer.close()


async def test_a_server_can_be_closed_twice_and_started_again() -> None:
    server = ChatServer()
    for _ in range(2):
        async with server, httpx.AsyncClient(base_url=server.url) as client:
            assert (await client.get("/v1/models")).status_code == 200
        await server.aclose()


def test_server_that_is_not_running_has_no_url() -> None:
    with pytest.raises(RuntimeError, match="async with"):
        _ = ChatServer().url


async def test_the_server_is_on_the_loopback_interface_only(server: ChatServer) -> None:
    assert server.url.startswith("http://127.0.0.1:")
