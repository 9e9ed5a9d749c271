"""Secrets that the conformance kit does not cover: parts of headers, escaped forms, options, retries."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from cosmo_core.errors import NeuronError
from cosmo_source_ollama import OllamaNeuron, ollama
from cosmo_testing import ChatServer, Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from cosmo_source_ollama import StreamingOllamaNeuron

    Ask = Callable[..., Coroutine[Any, Any, dict[str, Any]]]
    Make = Callable[..., OllamaNeuron | StreamingOllamaNeuron]

KEY = 'THEKEY/0123"456789'
SECRET: dict[str, Any] = {
    "headers": {"Authorization": f"Bearer {KEY}", "Cookie": "id=1; session=THEKEY-of-session"}
}
ECHO = f"neither {KEY} nor THEKEY-of-session is known"
ESCAPED = KEY.replace("/", r"\/").replace('"', r"\"")

FAULTS = {
    "refused": Fault.status(401, message=ECHO),
    "refused-at-length": Fault.status(400, message="x" * 480 + ECHO),
    "not-understood": Fault.malformed(f'{{"message": "{ESCAPED}"}}'.encode()),
    "reported-in-an-object": Fault.malformed(f'{{"error": {{"details": ["{ESCAPED}"]}}}}'.encode()),
    "redirected": Fault.redirect("http://localhost/?key=THEKEY-of-session"),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=list(FAULTS))
async def test_no_part_of_a_header_is_shown_in_any_notation(
    make: Make, ask: Ask, server: ChatServer, stream: bool, fault: Fault
) -> None:
    server.script(fault)
    with pytest.raises(NeuronError) as caught:
        await ask(make(stream=stream, **SECRET))
    assert "THEKEY" not in str(caught.value)


@pytest.mark.parametrize("cut", [0, 1, 12, 20, len(ECHO) - 12])
async def test_no_answer_shows_a_part_of_a_credential(ask: Ask, stream: bool, cut: int) -> None:
    parts = [{"message": {"content": piece}, "done": False} for piece in (ECHO[:cut], ECHO[cut:])]
    last = {"message": {"content": ""}, "done": True, "x_echo": [ECHO]}
    body = "\n".join(map(json.dumps, [*parts, last])).encode()
    answer = httpx.MockTransport(lambda _: httpx.Response(200, content=body))
    async with httpx.AsyncClient(transport=answer) as client:
        neuron = ollama(model="llama3", client=client, stream=stream, **SECRET)
        if isinstance(neuron, OllamaNeuron):
            items: list[Any] = [await neuron({"prompt": "Hi"}, [])]
        else:
            items = [item async for item in neuron({"prompt": "Hi"}, [])]
    *texts, output = items
    assert "THEKEY" not in f"{output} {''.join(texts)}"
    assert output["response"] == "neither [redacted] nor [redacted] is known"
    assert "".join(texts) == (output["response"] if stream else "")


async def test_no_log_of_a_retry_shows_a_secret(
    make: Make, ask: Ask, server: ChatServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.script(Fault.status(503, retry_after=0, message=ECHO))
    await ask(make(**SECRET))
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert "attempt 1 failed" in caplog.text
    assert "THEKEY" not in caplog.text


@pytest.mark.parametrize("option", [{"timeout": -1}, {"temprature": 1}, {"endpoint": "u:THEKEY@host"}])
def test_no_construction_error_shows_a_secret(option: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        ollama(**{"model": "llama3", **SECRET, **option})
    assert "THEKEY" not in str(caught.value)
