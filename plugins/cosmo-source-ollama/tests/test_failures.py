"""Failures of Ollama, over real HTTP."""

from __future__ import annotations

import json
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from cosmo_core.errors import NeuronError
from cosmo_llm.http import transport
from cosmo_source_ollama import StreamingOllamaNeuron, ollama
from cosmo_testing import ChatServer, Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from cosmo_source_ollama import OllamaNeuron

    Ask = Callable[..., Coroutine[Any, Any, dict[str, Any]]]
    Make = Callable[..., OllamaNeuron | StreamingOllamaNeuron]

STATUSES = {
    400: ("INPUT_INVALID", False),
    401: ("AUTH_FAILED", False),
    403: ("AUTH_FAILED", False),
    404: ("MODEL_NOT_FOUND", False),
    413: ("INPUT_INVALID", False),
    429: ("RATE_LIMITED", True),
    499: ("PROVIDER_REFUSED", False),
    500: ("PROVIDER_ERROR", True),
    502: ("PROVIDER_ERROR", True),
    503: ("PROVIDER_ERROR", True),
}


@pytest.fixture
def no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "FIRST_DELAY_S", 0)


@pytest.mark.parametrize("status", STATUSES)
async def test_a_refusal_has_the_code_of_its_status_and_quotes_ollama(
    make: Make, ask: Ask, server: ChatServer, stream: bool, status: int
) -> None:
    server.script(Fault.status(status, retry_after=3600, message="no can do"))
    with pytest.raises(NeuronError, match=rf"answered {status}.*no can do") as caught:
        await ask(make(stream=stream))
    assert (caught.value.code, caught.value.recoverable) == STATUSES[status]
    assert server.url in str(caught.value)


@pytest.mark.parametrize("override", [{}, {"model": "phi 4"}])
async def test_a_missing_model_is_reported_with_the_command_that_pulls_it(
    make: Make, ask: Ask, server: ChatServer, stream: bool, override: dict[str, str]
) -> None:
    with pytest.raises(NeuronError) as caught:
        await ask(make(stream=stream, model="qwen3:8b"), {"prompt": "Hi", **override})
    name, command = ("phi 4", "'phi 4'") if override else ("qwen3:8b", "qwen3:8b")
    assert str(caught.value) == (
        f"{server.url} answered 404 Not Found: model '{name}' not found; `ollama pull {command}` fetches it"
    )
    assert (caught.value.code, caught.value.recoverable) == ("MODEL_NOT_FOUND", False)


@pytest.mark.parametrize("body", [b"404 page not found", b'{"detail": "Not Found"}', b'{"error": "no path"}'])
async def test_a_404_of_another_server_does_not_advise_to_pull(ask: Ask, body: bytes) -> None:
    client = httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(404, content=body)))
    async with client:
        with pytest.raises(NeuronError, match="check that endpoint is an Ollama server") as caught:
            await ask(ollama(model="llama3", client=client))
    assert caught.value.code == "MODEL_NOT_FOUND"
    assert "pull" not in str(caught.value)


@pytest.mark.usefixtures("no_delay")
async def test_an_unreachable_ollama_is_reported_with_the_command_that_starts_it(
    make: Make, ask: Ask, stream: bool
) -> None:
    async with ChatServer() as gone:
        url = gone.url
    with pytest.raises(NeuronError) as caught:
        await ask(make(stream=stream, endpoint=url))
    assert (caught.value.code, caught.value.recoverable) == ("PROVIDER_UNREACHABLE", True)
    assert str(caught.value).startswith(f"no connection to {url}: ")
    assert "`ollama serve`" in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_an_option_of_the_wrong_type_is_an_input_error(make: Make, ask: Ask) -> None:
    with pytest.raises(NeuronError, match="num_predict") as caught:
        await ask(make(), {"prompt": "Hi", "options": {"num_predict": "many"}})
    assert (caught.value.code, caught.value.recoverable) == ("INPUT_INVALID", False)


async def test_an_error_line_ends_a_stream_after_its_earlier_texts(make: Make, server: ChatServer) -> None:
    lines = [
        {"message": {"role": "assistant", "content": "Hel"}, "done": False},
        {"error": "an error was encountered while running the model"},
    ]
    body = "".join(json.dumps(line) + "\n" for line in lines).encode()
    server.script(Fault.malformed(body, content_type="application/x-ndjson"))
    neuron = make(stream=True)
    assert isinstance(neuron, StreamingOllamaNeuron)
    async with aclosing(neuron({"prompt": "Hi"}, [])) as items:
        assert await anext(items) == "Hel"
        with pytest.raises(NeuronError, match="encountered while running") as caught:
            await anext(items)
    assert (caught.value.code, caught.value.recoverable) == ("PROVIDER_ERROR", True)


async def test_an_error_in_a_successful_response_is_an_error(
    make: Make, ask: Ask, server: ChatServer, stream: bool
) -> None:
    server.script(Fault.malformed(b'{"error": "it broke"}'))
    with pytest.raises(NeuronError, match="it broke") as caught:
        await ask(make(stream=stream))
    assert caught.value.code == "PROVIDER_ERROR"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n \r\n",
        b"Ollama is running",
        b"{not json",
        b"[]",
        b"{}",
        b"\xff",
        b'{"message": 7}',
        b'{"message": {"content": 7}, "done": true}',
        b'{"response": "Hi", "done": true, "message": []}',
    ],
)
async def test_a_body_of_another_format_is_malformed(
    make: Make, ask: Ask, server: ChatServer, stream: bool, body: bytes
) -> None:
    server.script(Fault.malformed(body))
    with pytest.raises(NeuronError, match="is an Ollama server") as caught:
        await ask(make(stream=stream))
    assert (caught.value.code, caught.value.recoverable) == ("PROVIDER_MALFORMED", False)


@pytest.mark.parametrize("part", [{"message": {"tool_calls": {}}}, {"message": {}, "logprobs": 7}])
async def test_a_part_of_another_format_is_malformed(
    make: Make, ask: Ask, server: ChatServer, part: dict[str, Any]
) -> None:
    server.script(Fault.malformed(json.dumps(part).encode()))
    with pytest.raises(NeuronError, match="not a list") as caught:
        await ask(make(stream=True))
    assert caught.value.code == "PROVIDER_MALFORMED"


@pytest.mark.parametrize("after", [0, 1])
async def test_a_cut_answer_is_unreachable(
    make: Make, ask: Ask, server: ChatServer, stream: bool, after: int
) -> None:
    server.script(Fault.cut(after))
    with pytest.raises(NeuronError, match="no complete answer") as caught:
        await ask(make(stream=stream))
    assert (caught.value.code, caught.value.recoverable) == ("PROVIDER_UNREACHABLE", True)
    assert "ollama serve" not in str(caught.value)


async def test_a_stream_that_ends_early_is_not_an_answer(make: Make, ask: Ask, server: ChatServer) -> None:
    server.script(Fault.malformed(b'{"message": {"content": "Hel"}, "done": false}\n'))
    with pytest.raises(NeuronError, match="before the answer was complete") as caught:
        await ask(make(stream=True))
    assert caught.value.code == "PROVIDER_UNREACHABLE"


@pytest.mark.parametrize("after", [None, 0, 1])
async def test_a_stalled_answer_exceeds_the_time_limit(
    make: Make, ask: Ask, server: ChatServer, stream: bool, after: int | None
) -> None:
    server.script(Fault.stall(after))
    with pytest.raises(NeuronError, match=r"within 0\.05 s.*loads the model") as caught:
        await ask(make(stream=stream, timeout=0.05))
    assert (caught.value.code, caught.value.recoverable) == ("PROVIDER_TIMEOUT", True)


async def test_a_redirect_is_not_followed_and_receives_no_header(
    make: Make, ask: Ask, server: ChatServer, stream: bool
) -> None:
    async with ChatServer() as other, httpx.AsyncClient(follow_redirects=True) as eager:
        server.script(Fault.redirect(f"{other.url}/api/chat"))
        with pytest.raises(NeuronError, match="set endpoint") as caught:
            await ask(make(stream=stream, client=eager, headers={"Authorization": "Bearer secret-key"}))
        assert (caught.value.code, other.connections) == ("PROVIDER_REFUSED", 0)


async def test_an_answer_that_exceeds_the_size_limit_is_refused(
    make: Make, ask: Ask, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "MAX_BODY_BYTES", 64)
    monkeypatch.setattr(transport, "MAX_STREAM_BYTES", 64)
    with pytest.raises(NeuronError, match="MiB") as caught:
        await ask(make(stream=stream))
    assert (caught.value.code, caught.value.recoverable) == ("PROVIDER_MALFORMED", False)


async def test_the_neuron_works_again_after_every_failure(
    make: Make, ask: Ask, server: ChatServer, stream: bool
) -> None:
    neuron = make(stream=stream, max_retries=0)
    for fault in (Fault.status(500), Fault.cut(1), Fault.malformed(), Fault.redirect("http://localhost/")):
        server.script(fault)
        with pytest.raises(NeuronError):
            await ask(neuron)
        assert (await ask(neuron))["response"].startswith("Hello!")


@pytest.mark.usefixtures("no_delay")
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (httpx.ConnectError("refused"), "PROVIDER_UNREACHABLE"),
        (httpx.ReadError("reset"), "PROVIDER_UNREACHABLE"),
        (httpx.ReadTimeout("slow"), "PROVIDER_TIMEOUT"),
        (httpx.DecodingError("bad gzip"), "PROVIDER_MALFORMED"),
    ],
)
async def test_errors_of_an_injected_transport_are_mapped(
    ask: Ask, stream: bool, error: Exception, code: str
) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise error

    async with httpx.AsyncClient(transport=httpx.MockTransport(fail)) as client:
        with pytest.raises(NeuronError) as caught:
            await ask(ollama(model="llama3", stream=stream, client=client))
    assert caught.value.code == code
