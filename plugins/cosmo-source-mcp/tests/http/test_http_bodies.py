"""Bodies: their encodings, byte order marks, and forms of server-sent events."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
import tracemalloc
import zlib
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from cosmo_core.errors import NeuronError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from cosmo_source_mcp import McpNeuron

    Ask = Callable[..., Coroutine[Any, Any, dict[str, Any]]]
    Make = Callable[..., McpNeuron]

FINE = '{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"ünï"}]}}'
MESSAGE = FINE.replace('"id":1', '"id":ID')
EVENTS = "text/event-stream"


def answer_to(id: int) -> bytes:
    return MESSAGE.replace("ID", str(id)).encode()


def bomb(size: int, layers: int = 1) -> bytes:
    """Zeros that a compressor made small."""
    body = b"\0" * size
    for _ in range(layers):
        body = gzip.compress(body)
    return body


@pytest.mark.parametrize(
    ("coding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("identity", bytes)]
)
async def test_body_that_is_compressed_once_is_read(
    make: Make, ask: Ask, stub: Any, reply: Any, coding: str, pack: Callable[[bytes], bytes]
) -> None:
    neuron = make(url=stub.url)
    await ask(neuron, "fine")
    headers = (("content-encoding", coding),)
    stub.replies = [reply(200, MESSAGE.encode(), "application/json", headers, pack=pack)]
    assert (await ask(neuron, "fine"))["response"] == "ünï"
    assert {headers["accept-encoding"] for _, _, headers in stub.requests} == {"identity"}


@pytest.mark.parametrize("kind", ["application/json", EVENTS])
async def test_compressed_body_stops_at_the_limit(
    make: Make, ask: Ask, stub: Any, reply: Any, kind: str
) -> None:
    neuron = make(url=stub.url)
    await ask(neuron, "fine")
    stub.replies = [reply(200, bomb(96 << 20), kind, (("content-encoding", "gzip"),))]
    tracemalloc.start()
    try:
        with pytest.raises(NeuronError, match="larger than the limit of 16 MiB") as caught:
            await ask(neuron, "fine")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert caught.value.code == "PROVIDER_MALFORMED"
    assert peak < 80 << 20
    assert (await ask(neuron, "fine"))["response"] == "fine"


@pytest.mark.parametrize("coding", ["gzip, gzip", "br", "zstd", "gzip,identity,deflate", "unknown"])
@pytest.mark.parametrize("status", [200, 500])
async def test_other_encodings_are_refused(
    make: Make, ask: Ask, stub: Any, reply: Any, coding: str, status: int
) -> None:
    neuron = make(url=stub.url)
    await ask(neuron, "fine")
    stub.replies = [reply(status, bomb(1 << 20, 2), "application/json", (("content-encoding", coding),))]
    with pytest.raises(NeuronError, match=r"a body in content-encoding .* is refused") as caught:
        await ask(neuron, "fine")
    assert (caught.value.code, caught.value.recoverable) == ("PROVIDER_MALFORMED", False)
    assert (await ask(neuron, "fine"))["response"] == "fine"


async def test_body_that_is_not_what_it_says_is_malformed(
    make: Make, ask: Ask, stub: Any, reply: Any
) -> None:
    neuron = make(url=stub.url)
    await ask(neuron, "fine")
    for kind in ("application/json", EVENTS):
        stub.replies = [reply(200, b"not gzip", kind, (("content-encoding", "gzip"),))]
        with pytest.raises(NeuronError) as caught:
            await ask(neuron, "fine")
        assert caught.value.code == "PROVIDER_MALFORMED"


async def test_byte_order_mark_before_a_body_is_ignored(make: Make, ask: Ask, stub: Any, reply: Any) -> None:
    neuron = make(url=stub.url)
    await ask(neuron, "fine")
    bodies = [
        (f"\ufeff{MESSAGE}", "application/json"),
        (f"\ufeffdata: {MESSAGE}\n\n", EVENTS),
        (f"\ufeff: hi\n\n\ufeffdata: {MESSAGE}\n\n", EVENTS),
    ]
    for text, kind in bodies:
        stub.replies = [reply(200, text.encode(), kind)]
        assert (await ask(neuron, "fine"))["response"] == "ünï"


STREAMS = {
    "ping before": f'event: ping\ndata: {{"at": 1}}\n\nevent: message\ndata: {MESSAGE}\n\n',
    "text before": f"event: open\ndata: hello\n\ndata: {MESSAGE}\n\n",
    "cr": f"event: message\rdata: {MESSAGE}\r\r",
    "crlf": f": hi\r\n\r\ndata: {MESSAGE}\r\n\r\n",
    "mixed": f"event: ping\r\ndata: x\r\rdata: {MESSAGE}\n\r\n",
    "no empty line": f"data: {MESSAGE}",
    "no empty line after cr": f"data: {MESSAGE}\r",
    "several lines": "data: "
    + json.dumps(json.loads(MESSAGE.replace("ID", "77")), indent=1)
    .replace("77", "ID")
    .replace("\n", "\ndata: ")
    + "\n\n",
    "empty data before": f"data:\n\ndata: {MESSAGE}\n\n",
    "other fields": f"x\nfoo: bar\nretry: soon\ndata: {MESSAGE}\n\n",
}


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS)
async def test_stream_is_read_in_every_form(make: Make, ask: Ask, stub: Any, reply: Any, stream: str) -> None:
    neuron = make(url=stub.url)
    await ask(neuron, "fine")
    stub.replies = [reply(200, stream.encode(), EVENTS)]
    assert (await ask(neuron, "fine"))["response"] == "ünï"


async def test_cr_ends_an_event_at_once(make: Make, ask: Ask) -> None:
    """Without the next byte, which may never come."""
    answered = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not reader.at_eof():
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                break
            size = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
            message = json.loads(await reader.readexactly(int(size[0].split(b":")[1])))
            if "id" not in message:
                writer.write(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n")
                continue
            tools = {"tools": [{"name": "fine", "inputSchema": {"type": "object"}}]}
            about = {"name": "stub", "version": "0"}
            start = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": about}
            results = {"initialize": start, "tools/list": tools}
            if message["method"] in results:
                result = results[message["method"]]
                body = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode()
                head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
                writer.write(head % len(body) + body)
            elif message["method"] == "tools/call":
                head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
                writer.write(head + b"data: " + answer_to(message["id"]) + b"\r\r")
                await writer.drain()
                await answered.wait()
                break
            else:
                writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    neuron = make(url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp")
    assert (await ask(neuron, "fine"))["response"] == "ünï"
    answered.set()
    server.close()


async def test_certificates_are_not_loaded_in_the_event_loop(
    make: Make, ask: Ask, stub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = []
    real = httpx2.AsyncHTTPTransport.__init__

    def noted(self: httpx2.AsyncHTTPTransport, *arguments: Any, **options: Any) -> None:
        threads.append((threading.current_thread(), options["verify"]))
        real(self, *arguments, **options)

    monkeypatch.setattr(httpx2.AsyncHTTPTransport, "__init__", noted)
    await ask(make(url=stub.url), "fine")
    ((thread, verify),) = threads
    assert thread is not threading.main_thread()
    assert verify is not True, "http: needs no certificates"


async def test_unusable_certificates_of_the_environment_are_named(
    make: Make, ask: Ask, stub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
    with pytest.raises(NeuronError, match=r"no connection to .*; check SSL_CERT_FILE") as caught:
        await ask(make(url="https://mcp.example/mcp"), "fine")
    assert (caught.value.code, caught.value.recoverable) == ("SERVER_START_FAILED", False)
    assert (await ask(make(url=stub.url), "fine"))["response"] == "fine"


async def test_server_of_the_older_transport_gets_a_clear_error(
    make: Make, ask: Ask, stub: Any, reply: Any
) -> None:
    stub.refusal = reply(405, b"", "text/plain")
    with pytest.raises(NeuronError, match=r"only the older transport HTTP\+SSE, often at /sse, is not sup"):
        await ask(make(url=stub.url), "fine")
