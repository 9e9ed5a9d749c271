"""The key and the values of headers are not in errors, logs and reprs."""

from __future__ import annotations

import json
import logging
import traceback
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from cosmo_core.errors import NeuronError
from cosmo_llm.http import transport
from cosmo_source_huggingface import HuggingFaceNeuron, huggingface
from cosmo_source_huggingface.options import HuggingFaceOptions
from cosmo_testing import ChatServer, Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from cosmo_source_huggingface import StreamingHuggingFaceNeuron

    Ask = Callable[..., Coroutine[Any, Any, dict[str, Any]]]
    Make = Callable[..., HuggingFaceNeuron | StreamingHuggingFaceNeuron]

KEY = "hf_THEKEY0123456789"
TEAM_KEY = "team-secret-42"
SECRET_OPTIONS: dict[str, Any] = {"api_key": KEY, "headers": {"X-Team-Key": TEAM_KEY}}
ECHO = f"you sent {KEY} and {TEAM_KEY}"

FAULTS = {
    "refused": Fault.status(401, message=ECHO),
    "refused-late": Fault.status(400, message="x" * 480 + ECHO),
    "busy": Fault.status(429, retry_after=3600, message=ECHO),
    "malformed": Fault.malformed(ECHO.encode()),
    "reported": Fault.malformed(f'{{"error": "{ECHO}"}}'.encode()),
    "event": Fault.malformed(f'data: {{"error": {{"message": "{ECHO}"}}}}\n\n'.encode()),
    "redirect": Fault.redirect(f"http://localhost/?key={KEY}&team={TEAM_KEY}"),
    "cut": Fault.cut(1),
    "stall": Fault.stall(),
}


def chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def assert_clean(text: str) -> None:
    assert KEY not in text
    assert TEAM_KEY not in text
    assert "THEKEY" not in text


@pytest.mark.parametrize("fault", FAULTS.values(), ids=list(FAULTS))
async def test_no_failure_shows_a_secret(
    make: Make,
    ask: Ask,
    server: ChatServer,
    mode: dict[str, bool],
    fault: Fault,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    server.script(fault)
    with pytest.raises(NeuronError) as caught:
        await ask(make(**mode, **SECRET_OPTIONS, timeout=0.05 if fault.act == "wait" else 30))
    for error in chain(caught.value):
        assert_clean(f"{error} {error!r} {vars(error)}")
        assert not isinstance(error, httpx.HTTPError), "it holds the request, and so the key"
    assert_clean("".join(traceback.format_exception(caught.value)))
    assert "Bearer" not in caplog.text
    # At DEBUG, httpcore logs the headers of a response; a key that a provider echoes there is not redacted.
    assert_clean("\n".join(log.getMessage() for log in caplog.records if "httpcore" not in log.name))


@pytest.mark.parametrize("cut", [0, 1, 9, 20, len(f"you sent {KEY}") - 1])
async def test_no_answer_shows_a_key(mode: dict[str, bool], ask: Ask, cut: int) -> None:
    def part(text: str) -> bytes:
        chat = {"choices": [{"delta": {"content": text, "reasoning": text}}]}
        event = chat if mode["use_chat_api"] else {"token": {"id": 1, "text": text, "special": False}}
        return b"data: " + json.dumps(event).encode() + b"\n\n"

    end = {
        "choices": [{"delta": {}, "finish_reason": "stop"}],
        "token": {"text": ""},
        "generated_text": ECHO,
        "x_echo": {"headers": [f"Bearer {KEY}"]},
    }
    body = part(ECHO[:cut]) + part(ECHO[cut:]) + b"data: " + json.dumps(end).encode() + b"\n\n"
    answer = httpx.MockTransport(lambda _: httpx.Response(200, content=body))
    async with httpx.AsyncClient(transport=answer) as client:
        neuron = huggingface(endpoint="http://localhost", client=client, **SECRET_OPTIONS, **mode)
        if isinstance(neuron, HuggingFaceNeuron):
            items: list[Any] = [await neuron({"prompt": "Hi"}, [])]
        else:
            items = [item async for item in neuron({"prompt": "Hi"}, [])]
    assert_clean(json.dumps(items))
    assert_clean("".join(item for item in items if isinstance(item, str)))
    *texts, output = items
    assert output["response"] == "you sent [redacted] and [redacted]"
    assert "".join(texts) == ("" if not texts else output["response"])
    assert output["meta"]["x_echo"] == {"headers": ["Bearer [redacted]"]}


async def test_no_whole_answer_shows_a_key(ask: Ask) -> None:
    whole = {"choices": [{"message": {"content": ECHO}}], "key": KEY}
    answer = httpx.MockTransport(lambda _: httpx.Response(200, json=whole))
    async with httpx.AsyncClient(transport=answer) as client:
        output = await ask(huggingface(endpoint="http://localhost", client=client, **SECRET_OPTIONS))
    assert_clean(json.dumps(output))


async def test_common_words_in_options_do_not_garble_answers(ask: Ask) -> None:
    text = "The word none is in application/json, says my application."
    whole = {"choices": [{"message": {"content": text}}]}
    answer = httpx.MockTransport(lambda _: httpx.Response(200, json=whole))
    headers = {"X-Title": "my application", "Accept": "application/json"}
    async with httpx.AsyncClient(transport=answer) as client:
        neuron = huggingface(endpoint="http://localhost", client=client, api_key="none", headers=headers)
        assert (await ask(neuron))["response"] == text


async def test_no_log_of_a_retry_shows_a_secret(
    make: Make, ask: Ask, server: ChatServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.script(Fault.status(429, retry_after=0, message=ECHO))
    await ask(make(**SECRET_OPTIONS))
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert "attempt 1 failed" in caplog.text
    assert_clean(caplog.text)


async def test_the_error_of_a_lost_connection_does_not_hold_the_request(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "FIRST_DELAY_S", 0)

    def fail(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError(ECHO, request=request)

    async with httpx.AsyncClient(transport=httpx.MockTransport(fail)) as client:
        with pytest.raises(NeuronError) as caught:
            await ask(huggingface(endpoint="http://localhost", client=client, **SECRET_OPTIONS))
    assert [type(error) for error in chain(caught.value)] == [NeuronError]
    assert_clean(str(caught.value))


def test_no_repr_shows_a_secret() -> None:
    given = {"endpoint": "http://localhost", **SECRET_OPTIONS}
    neuron = huggingface(**given)
    options = HuggingFaceOptions.parse(given)
    assert_clean(f"{neuron!r} {options!r} {list(map(repr, vars(neuron).values()))}")
    assert "localhost" in repr(neuron)


@pytest.mark.parametrize("option", [{"timeout": -1}, {"temprature": 1}, {"endpoint": "ftp://x"}])
def test_no_construction_error_shows_a_secret(option: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        huggingface(**{"endpoint": "http://localhost", **SECRET_OPTIONS, **option})
    assert_clean(f"{caught.value}")
