"""No error or log shows the values of headers and of the query."""

from __future__ import annotations

import logging
import traceback
from typing import TYPE_CHECKING, Any

import pytest

from cosmo_core.errors import NeuronError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from cosmo_source_mcp import McpNeuron

    Ask = Callable[..., Coroutine[Any, Any, dict[str, Any]]]
    Make = Callable[..., McpNeuron]

KEY = "sk-THEKEY0123456789"
QUERY_KEY = "q-THEKEY9876543210"
ECHO = f"you sent {KEY} and {QUERY_KEY}".encode()
REPLIES: dict[str, tuple[Any, ...]] = {
    "refused": (401, ECHO),
    "refused at length": (500, b"x" * 480 + ECHO),
    "redirected": (307, b"", "text/plain", (("location", f"http://elsewhere.example/?key={QUERY_KEY}"),)),
    "not json": (200, ECHO),
    "not json-rpc": (200, b'{"said": "' + ECHO + b'"}'),
    "an error": (200, b'{"jsonrpc": "2.0", "id": ID, "error": {"code": 1, "message": "' + ECHO + b'"}}'),
    "no result": (200, b'{"jsonrpc": "2.0", "id": ID, "result": {"content": "' + ECHO + b'"}}'),
    "a bad event": (200, b"data: " + ECHO + b"\n\n", "text/event-stream"),
    "no event": (200, b": " + ECHO + b"\n\n", "text/event-stream"),
    "cut": (200, ECHO, "application/json", (), 999),
}


@pytest.mark.parametrize("given", REPLIES.values(), ids=REPLIES)
async def test_error_and_log_do_not_show_a_secret(
    make: Make, ask: Ask, stub: Any, reply: Any, given: tuple[Any, ...], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    neuron = make(url=f"{stub.url}?key={QUERY_KEY}", headers={"Authorization": f"Bearer {KEY}"})
    await ask(neuron, "fine")
    stub.replies = [reply(*given)]
    with pytest.raises(NeuronError) as caught:
        await ask(neuron, "fine")
    await neuron.aclose()
    assert "authorization" in stub.requests[-1][2]
    # At DEBUG, httpcore logs the headers of a response, and a server may echo a secret in those.
    logged = [log for log in caplog.records if "httpcore" not in log.name]
    shown = [str(caught.value), *traceback.format_exception(caught.value)]
    shown += [log.getMessage() + (log.exc_text or "") for log in logged]
    assert not [text for text in shown if "THEKEY" in text]


async def test_header_that_cannot_be_sent_is_not_shown(make: Make, ask: Ask, stub: Any) -> None:
    with pytest.raises(NeuronError, match=r"[Ii]llegal header value") as caught:
        await ask(make(url=stub.url, headers={"X-Key": f" {KEY} "}), "fine")
    assert "THEKEY" not in str(caught.value)
