"""Failures of a server over Streamable HTTP."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from cosmo_core.errors import NeuronError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from cosmo_source_mcp import McpNeuron

    Ask = Callable[..., Coroutine[Any, Any, dict[str, Any]]]
    Make = Callable[..., McpNeuron]

REFUSALS = {
    400: ("PROVIDER_REFUSED", False),
    401: ("AUTH_FAILED", False),
    403: ("AUTH_FAILED", False),
    404: ("SERVER_NOT_FOUND", False),
    405: ("SERVER_NOT_FOUND", False),
    408: ("PROVIDER_TIMEOUT", True),
    429: ("RATE_LIMITED", True),
    500: ("PROVIDER_ERROR", True),
    503: ("PROVIDER_ERROR", True),
    599: ("PROVIDER_ERROR", True),
}


@pytest.mark.parametrize(("status", "code"), REFUSALS.items())
async def test_error_status_at_the_start_determines_the_code_and_is_quoted(
    make: Make, ask: Ask, stub: Any, reply: Any, status: int, code: tuple[str, bool]
) -> None:
    stub.refusal = reply(status, b"no can do", "text/plain")
    neuron = make(url=stub.url)
    with pytest.raises(NeuronError, match=rf"{stub.url} answered {status}.*: no can do") as caught:
        await ask(neuron, "fine")
    assert (caught.value.code, caught.value.recoverable) == code
    stub.refusal = None
    assert (await ask(neuron, "fine"))["response"] == "fine"


REPLIES: dict[str, tuple[tuple[Any, ...], tuple[str, bool], str]] = {
    "401": ((401, b"who are you?"), ("AUTH_FAILED", False), "answered 401 Unauthorized: who are you.; check"),
    "401-as-json-rpc": (
        (401, b'{"jsonrpc": "2.0", "id": null, "error": {"code": -32001, "message": "who?"}}'),
        ("AUTH_FAILED", False),
        "answered 401 Unauthorized: who",
    ),
    "500": ((500, b"<html>"), ("PROVIDER_ERROR", True), "answered 500 Internal Server Error: <html>"),
    "json-rpc-error": (
        (200, b'{"jsonrpc": "2.0", "id": ID, "error": {"code": -32603, "message": "broken"}}'),
        ("PROVIDER_ERROR", True),
        "answered with an error: broken",
    ),
    "invalid-params": (
        (400, b'{"jsonrpc": "2.0", "id": ID, "error": {"code": -32602, "message": "x is odd"}}'),
        ("INPUT_INVALID", False),
        "answered with an error: x is odd",
    ),
    "not-json": ((200, b"{not json"), ("PROVIDER_MALFORMED", False), "malformed answer: {not json"),
    "html": ((200, b"<html>", "text/html"), ("PROVIDER_MALFORMED", False), "malformed answer: <html>"),
    "not-json-rpc": ((200, b'{"ok": true}'), ("PROVIDER_MALFORMED", False), "malformed answer: {.ok"),
    "no-result": (
        (200, b'{"jsonrpc":"2.0","id":ID,"result":{}}'),
        ("PROVIDER_MALFORMED", False),
        "malformed answer",
    ),
    "bad-event": (
        (200, b"data: {\n\n", "text/event-stream"),
        ("PROVIDER_MALFORMED", False),
        "malformed answer: {",
    ),
    "no-event": ((200, b": hi\n\n", "text/event-stream"), ("PROVIDER_UNREACHABLE", True), "without a resp"),
    "accepted": ((202,), ("PROVIDER_REFUSED", False), "202"),
    "cut": ((200, b'{"jsonrpc', "application/json", (), 99), ("PROVIDER_UNREACHABLE", True), "no complete"),
    "elsewhere": (
        (307, b"", "text/plain", (("location", "http://elsewhere.example/mcp?key=1"),)),
        ("PROVIDER_REFUSED", False),
        "Redirect to http://elsewhere.example/mcp not followed",
    ),
}


@pytest.mark.parametrize(("given", "code", "message"), REPLIES.values(), ids=REPLIES)
async def test_bad_reply_ends_one_call_and_not_the_session(
    make: Make,
    ask: Ask,
    stub: Any,
    reply: Any,
    given: tuple[Any, ...],
    code: tuple[str, bool],
    message: str,
) -> None:
    neuron = make(url=stub.url)
    await ask(neuron, "fine")
    stub.replies = [reply(*given)]
    with pytest.raises(NeuronError, match=message) as caught:
        await ask(neuron, "fine")
    assert (caught.value.code, caught.value.recoverable) == code
    assert (await ask(neuron, "fine"))["response"] == "fine"
    assert len(stub.sessions) == 1


async def test_redirect_loop_is_an_error(make: Make, ask: Ask, stub: Any, reply: Any) -> None:
    stub.refusal = reply(307, b"", "text/plain", (("location", stub.url),))
    with pytest.raises(NeuronError, match=r"Redirect to .* not followed") as caught:
        await ask(make(url=stub.url), "fine")
    assert (caught.value.code, caught.value.recoverable) == ("PROVIDER_REFUSED", False)
    assert len(stub.requests) < 100


@pytest.mark.parametrize("kind", ["json", "event"])
async def test_huge_reply_is_not_read(make: Make, ask: Ask, stub: Any, reply: Any, kind: str) -> None:
    result = {"content": [{"type": "text", "text": "x" * (17 << 20)}]}
    body = json.dumps({"jsonrpc": "2.0", "id": "ID", "result": result}).encode().replace(b'"ID"', b"ID")
    neuron = make(url=stub.url)
    await ask(neuron, "fine")
    if kind == "json":
        stub.replies = [reply(200, body)]
    else:
        stub.replies = [reply(200, b"data: " + body + b"\n\n", "text/event-stream")]
    with pytest.raises(NeuronError, match="larger than the limit of 16 MiB") as caught:
        await ask(neuron, "fine")
    assert (caught.value.code, caught.value.recoverable) == ("PROVIDER_MALFORMED", False)
    assert len(str(caught.value)) < 1_000
    assert (await ask(neuron, "fine"))["response"] == "fine"


async def test_huge_error_body_is_quoted_in_part(make: Make, ask: Ask, stub: Any, reply: Any) -> None:
    stub.refusal = reply(500, b"x" * 1_000_000)
    with pytest.raises(NeuronError) as caught:
        await ask(make(url=stub.url), "fine")
    assert len(str(caught.value)) < 1_000


async def test_url_without_a_server_is_unreachable(make: Make, ask: Ask) -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp"
    server.close()
    with pytest.raises(
        NeuronError, match=f"no complete answer from .* {url}; check that it runs: "
    ) as caught:
        await ask(make(url=url), "fine")
    assert (caught.value.code, caught.value.recoverable) == ("PROVIDER_UNREACHABLE", True)


async def test_silent_server_times_out(make: Make, ask: Ask, stub: Any) -> None:
    neuron = make(url=stub.url, timeout=1)
    await ask(neuron, "fine")
    stub.silent = {"tools/call"}
    with pytest.raises(NeuronError, match="did not answer within 1 s") as caught:
        await ask(neuron, "fine")
    assert (caught.value.code, caught.value.recoverable) == ("PROVIDER_TIMEOUT", True)
    async with asyncio.timeout(10):
        await stub.received["notifications/cancelled"].wait()
        await stub.left.wait()  # the connection is closed as well


@pytest.mark.parametrize("status", [404, 400])
async def test_request_in_a_lost_session_is_sent_again_in_a_new_one(
    make: Make, ask: Ask, stub: Any, status: int
) -> None:
    stub.lost_status = status
    neuron = make(url=stub.url)
    await ask(neuron, "fine")
    stub.sessions.clear()
    assert (await ask(neuron, "fine"))["response"] == "fine"
    assert stub.sessions == {"session-1"}


async def test_server_that_loses_every_session_is_unreachable(
    make: Make, ask: Ask, stub: Any, reply: Any
) -> None:
    stub.replies = [reply(404), reply(404)]
    neuron = make(url=stub.url)
    with pytest.raises(NeuronError, match="does not know the session") as caught:
        await ask(neuron, "fine")
    assert (caught.value.code, caught.value.recoverable) == ("PROVIDER_UNREACHABLE", True)
    assert (await ask(neuron, "fine"))["response"] == "fine"


async def test_closing_sends_delete_for_the_session(make: Make, ask: Ask, stub: Any) -> None:
    neuron = make(url=stub.url)
    await ask(neuron, "fine")
    await neuron.aclose()
    assert "DELETE /mcp HTTP/1.1" in [line for _, line, _ in stub.requests]
    assert (await ask(neuron, "fine"))["response"] == "fine"
    assert len(stub.sessions) == 2


async def test_silent_server_does_not_delay_the_closing(
    make: Make, ask: Ask, stub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cosmo_source_mcp.limits.SESSION_DELETE_S", 0.1)
    neuron = make(url=stub.url)
    await ask(neuron, "fine")
    stub.silent = {"DELETE"}
    async with asyncio.timeout(10):
        await neuron.aclose()


async def test_headers_and_query_are_sent_with_every_request(make: Make, ask: Ask, stub: Any) -> None:
    neuron = make(url=f"{stub.url}?key=k%2B1", headers={"Authorization": "Bearer t0ken", "X-Team": "blue"})
    await ask(neuron, "fine")
    await neuron.aclose()
    assert {line.split()[1] for _, line, _ in stub.requests} == {"/mcp?key=k%2B1"}
    assert {headers["authorization"] for _, _, headers in stub.requests} == {"Bearer t0ken"}
    assert {headers["x-team"] for _, _, headers in stub.requests} == {"blue"}


async def test_slow_start_goes_on_after_the_calls_that_waited_for_it(make: Make, ask: Ask, stub: Any) -> None:
    stub.held["initialize"] = asyncio.Event()
    neuron = make(url=stub.url, timeout=0.25)
    for _ in range(3):
        with pytest.raises(NeuronError, match=r"not ready within 0\.25 s; it goes on starting"):
            await ask(neuron, "fine")
        await stub.received["initialize"].wait()
    stub.held["initialize"].set()
    outcome: Any = None
    async with asyncio.timeout(30):
        while not isinstance(outcome, dict):  # under load, the rest may take longer than one call may
            (outcome,) = await asyncio.gather(ask(neuron, "fine"), return_exceptions=True)
            assert getattr(outcome, "code", "PROVIDER_TIMEOUT") == "PROVIDER_TIMEOUT"
    assert outcome["response"] == "fine"
    assert [method for method, _, _ in stub.requests].count("initialize") == 1
