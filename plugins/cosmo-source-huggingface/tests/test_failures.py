"""Failures of the provider, over real HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from cosmo_core.errors import NeuronError
from cosmo_llm.http import transport
from cosmo_source_huggingface import huggingface
from cosmo_testing import ChatServer, Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from cosmo_source_huggingface import HuggingFaceNeuron, StreamingHuggingFaceNeuron

    Ask = Callable[..., Coroutine[Any, Any, dict[str, Any]]]
    Make = Callable[..., HuggingFaceNeuron | StreamingHuggingFaceNeuron]


@pytest.mark.parametrize(
    ("status", "code", "recoverable"),
    [
        (400, "INPUT_INVALID", False),
        (401, "AUTH_FAILED", False),
        (402, "PROVIDER_REFUSED", False),
        (403, "AUTH_FAILED", False),
        (404, "MODEL_NOT_FOUND", False),
        (408, "PROVIDER_TIMEOUT", True),
        (413, "INPUT_INVALID", False),
        (422, "INPUT_INVALID", False),
        (429, "RATE_LIMITED", True),
        (500, "PROVIDER_ERROR", True),
        (503, "PROVIDER_ERROR", True),
        (599, "PROVIDER_ERROR", True),
    ],
)
async def test_a_refusal_has_the_code_of_its_status_and_quotes_the_provider(
    make: Make, ask: Ask, server: ChatServer, mode: dict[str, bool], status: int, code: str, recoverable: bool
) -> None:
    server.script(Fault.status(status, retry_after=3600, message="no can do"))
    with pytest.raises(NeuronError, match=rf"answered {status}.*no can do") as caught:
        await ask(make(**mode))
    assert (caught.value.code, caught.value.recoverable) == (code, recoverable)
    assert server.url in str(caught.value)


async def test_the_neuron_works_again_after_a_failure(
    make: Make, ask: Ask, server: ChatServer, mode: dict[str, bool]
) -> None:
    neuron = make(**mode, max_retries=0)
    for fault in (Fault.status(500), Fault.cut(1), Fault.malformed()):
        server.script(fault)
        with pytest.raises(NeuronError):
            await ask(neuron)
    assert (await ask(neuron))["response"].startswith("Hello!")


@pytest.mark.parametrize("body", [b"", b"{not json", b"[]", b"{}", b"<html>", b"\xff", b'{"choices":[7]}'])
async def test_a_body_of_another_format_is_malformed(
    make: Make, ask: Ask, server: ChatServer, mode: dict[str, bool], body: bytes
) -> None:
    server.script(Fault.malformed(body))
    with pytest.raises(NeuronError, match="check endpoint") as caught:
        await ask(make(**mode))
    assert (caught.value.code, caught.value.recoverable) == ("PROVIDER_MALFORMED", False)


@pytest.mark.parametrize("chat", [True, False])
@pytest.mark.parametrize("data", ["{not json", "[]", "{}", '{"choices":[{"delta":7}]}', '{"token":{}}'])
async def test_an_event_of_another_format_is_malformed(
    make: Make, ask: Ask, server: ChatServer, chat: bool, data: str
) -> None:
    server.script(Fault.malformed(f"data: {data}\n\n".encode(), content_type="text/event-stream"))
    with pytest.raises(NeuronError) as caught:
        await ask(make(use_chat_api=chat, stream=True))
    assert caught.value.code == "PROVIDER_MALFORMED"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ('{"error": "it broke"}', "PROVIDER_ERROR"),
        ('{"error": {"message": "it broke", "code": 429}}', "RATE_LIMITED"),
        ('{"error": {"message": "it broke", "code": "model_not_found"}}', "MODEL_NOT_FOUND"),
        ('{"error": "it broke", "error_type": "validation"}', "INPUT_INVALID"),
        ('{"error": "it broke", "error_type": "overloaded"}', "RATE_LIMITED"),
    ],
)
async def test_an_error_in_a_successful_response_is_an_error(
    make: Make, ask: Ask, server: ChatServer, mode: dict[str, bool], error: str, code: str
) -> None:
    body = f"data: {error}\n\n" if mode["stream"] else error
    server.script(Fault.malformed(body.encode()))
    with pytest.raises(NeuronError, match="it broke") as caught:
        await ask(make(**mode))
    assert caught.value.code == code


async def test_a_400_with_model_not_found_is_model_not_found(
    make: Make, ask: Ask, server: ChatServer
) -> None:
    body = b'{"error": {"message": "no such model", "code": "model_not_found"}}'
    client = httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(400, content=body)))
    async with client:
        with pytest.raises(NeuronError, match="no such model") as caught:
            await ask(make(client=client))
    assert caught.value.code == "MODEL_NOT_FOUND"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        # LiteLLM
        (
            {
                "message": "/chat/completions: Invalid model name passed in model=x. Call `/v1/models`",
                "type": "invalid_request_error",
                "code": "400",
            },
            "MODEL_NOT_FOUND",
        ),
        # transformers
        ("Server is pinned to 'owner/model'; requested 'no-owner/no-model'.", "MODEL_NOT_FOUND"),
        ({"message": "The model `x` does not exist"}, "MODEL_NOT_FOUND"),
        ({"message": "Unknown model: x"}, "MODEL_NOT_FOUND"),
        ({"message": "model 'x' not found"}, "MODEL_NOT_FOUND"),
        # OpenRouter
        ({"message": "x is not a valid model ID", "code": 400}, "MODEL_NOT_FOUND"),
        ("Unsupported model: x", "MODEL_NOT_FOUND"),
        ({"message": "Model not supported"}, "MODEL_NOT_FOUND"),
        ({"message": "The model `x` is not available"}, "MODEL_NOT_FOUND"),
        ({"message": "There is no model named x"}, "MODEL_NOT_FOUND"),
        ({"message": "no", "type": "model_not_found"}, "MODEL_NOT_FOUND"),
        ({"message": "no", "code": "invalid_model"}, "MODEL_NOT_FOUND"),
        ({"message": "for model x, a temperature of 0.5 is not supported"}, "INPUT_INVALID"),
        ({"message": "max_tokens is not supported with this model"}, "INPUT_INVALID"),
        ({"message": "This model's maximum context length is 9 tokens", "code": "400"}, "INPUT_INVALID"),
        ({"message": "the model does not support tools"}, "INPUT_INVALID"),
    ],
)
async def test_a_400_that_says_so_is_an_unknown_model(
    ask: Ask, mode: dict[str, bool], error: Any, code: str
) -> None:
    answer = httpx.MockTransport(lambda _: httpx.Response(400, json={"error": error}))
    async with httpx.AsyncClient(transport=answer) as client:
        with pytest.raises(NeuronError) as caught:
            await ask(huggingface(endpoint="http://localhost", client=client, **mode))
    assert (caught.value.code, caught.value.recoverable) == (code, False)


@pytest.mark.parametrize("after", [0, 1])
async def test_a_cut_answer_is_unreachable(
    make: Make, ask: Ask, server: ChatServer, mode: dict[str, bool], after: int
) -> None:
    server.script(Fault.cut(after))
    with pytest.raises(NeuronError, match="no complete answer") as caught:
        await ask(make(**mode))
    assert (caught.value.code, caught.value.recoverable) == ("PROVIDER_UNREACHABLE", True)
    assert server.received == 1


@pytest.mark.parametrize("chat", [True, False])
async def test_a_stream_that_ends_early_is_not_an_answer(
    make: Make, ask: Ask, server: ChatServer, chat: bool
) -> None:
    event = '{"choices":[{"delta":{"content":"Hel"}}]}' if chat else '{"token":{"text":"Hel"}}'
    server.script(Fault.malformed(f"data: {event}\n\n".encode(), content_type="text/event-stream"))
    with pytest.raises(NeuronError, match="before the answer was complete") as caught:
        await ask(make(use_chat_api=chat, stream=True))
    assert caught.value.code == "PROVIDER_UNREACHABLE"


@pytest.mark.parametrize("after", [None, 0, 1])
async def test_a_stalled_provider_exceeds_the_time_limit(
    make: Make, ask: Ask, server: ChatServer, mode: dict[str, bool], after: int | None
) -> None:
    server.script(Fault.stall(after))
    with pytest.raises(NeuronError, match=r"within 0\.05 s") as caught:
        await ask(make(**mode, timeout=0.05))
    assert (caught.value.code, caught.value.recoverable) == ("PROVIDER_TIMEOUT", True)


async def test_an_endpoint_without_a_server_is_unreachable(
    make: Make, ask: Ask, mode: dict[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "FIRST_DELAY_S", 0)
    async with ChatServer() as gone:
        url = gone.url
    with pytest.raises(NeuronError, match="that a server runs there") as caught:
        await ask(make(**mode, endpoint=url))
    assert (caught.value.code, caught.value.recoverable) == ("PROVIDER_UNREACHABLE", True)


@pytest.mark.parametrize("host", ["localhost", "[::1]", "models.invalid"])
async def test_every_kind_of_host_is_connected_to(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    async def refuse(self: object, request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    monkeypatch.setattr(transport, "FIRST_DELAY_S", 0)
    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", refuse)
    neuron = huggingface(endpoint=f"http://{host}:9/base")
    with pytest.raises(NeuronError, match="refused") as caught:
        await ask(neuron)
    assert caught.value.code == "PROVIDER_UNREACHABLE"
    await neuron.aclose()


async def test_a_redirect_is_not_followed(
    make: Make, ask: Ask, server: ChatServer, mode: dict[str, bool]
) -> None:
    async with ChatServer() as other, httpx.AsyncClient(follow_redirects=True) as eager:
        for client in (None, eager):
            server.script(Fault.redirect(f"{other.url}/v1/chat/completions"))
            with pytest.raises(NeuronError, match="set endpoint") as caught:
                await ask(make(**mode, api_key="secret", client=client))
            assert other.url in str(caught.value)
            assert (caught.value.code, caught.value.recoverable) == ("PROVIDER_REFUSED", False)
        assert other.connections == 0


async def test_an_answer_that_exceeds_the_size_limit_is_refused(
    make: Make, ask: Ask, mode: dict[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "MAX_BODY_BYTES", 64)
    monkeypatch.setattr(transport, "MAX_STREAM_BYTES", 64)
    with pytest.raises(NeuronError, match="MiB") as caught:
        await ask(make(**mode))
    assert (caught.value.code, caught.value.recoverable) == ("PROVIDER_MALFORMED", False)


async def test_a_huge_refusal_is_quoted_in_part(make: Make, ask: Ask, server: ChatServer) -> None:
    server.script(Fault.status(400, message="x" * 1_000_000))
    with pytest.raises(NeuronError) as caught:
        await ask(make())
    assert len(str(caught.value)) < 1_000


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (httpx.ReadTimeout("slow"), "PROVIDER_TIMEOUT"),
        (httpx.DecodingError("bad gzip"), "PROVIDER_MALFORMED"),
        (httpx.ReadError("reset"), "PROVIDER_UNREACHABLE"),
    ],
)
async def test_errors_of_an_injected_transport_are_mapped(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, error: Exception, code: str
) -> None:
    monkeypatch.setattr(transport, "FIRST_DELAY_S", 0)

    def fail(request: httpx.Request) -> httpx.Response:
        raise error

    async with httpx.AsyncClient(transport=httpx.MockTransport(fail)) as client:
        with pytest.raises(NeuronError) as caught:
            await ask(huggingface(endpoint="http://localhost", client=client))
    assert caught.value.code == code
