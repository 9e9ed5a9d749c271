"""The sources with LiteLLM's proxy and two mocks, beside the official clients of OpenAI and Ollama."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import ollama
import pytest

from cosmo_core import Neuron
from cosmo_core.errors import NeuronError
from cosmo_testing import ChatServer, Fault

# The environment in which types are checked does not have it.
openai: Any = pytest.importorskip("openai")

Running = Callable[..., AbstractContextManager[str]]

# The first test starts the servers.
pytestmark = pytest.mark.timeout(300)

KEY = "sk-live-0123456789abcdef"
ANSWERS = Path(__file__).with_name("aimock.json")
MODELS = {"aimock": "o3", "litellm": "mock", "llmock": "gpt-4"}
PROMPTS = ["hello", "think", "tools", "both"]
CHANGING = {"id", "created", "created_at", "system_fingerprint"}
"""What differs from call to call."""


@pytest.fixture(params=[False, True], ids=["plain", "streaming"])
def stream(request: pytest.FixtureRequest) -> bool:
    """With and without streaming."""
    return bool(request.param)


@pytest.fixture(scope="session")
def llmock(running: Running) -> Iterator[str]:
    """The URL of LLMock: OpenAI's API, with faults that `/_llmock/scenario` orders."""
    with running(["bin/llmock", "serve", "--port", "0", "--tool-mode", "off"], {}) as url:
        yield url


@pytest.fixture(scope="session")
def aimock(running: Running) -> Iterator[str]:
    """The URL of aimock: OpenAI's and Ollama's API, with the answers in `aimock.json`."""
    with running(
        ["node_modules/.bin/llmock", "-p", "0", "-f", str(ANSWERS), "--strict", "-c", "7"], {}
    ) as url:
        yield url


@pytest.fixture(scope="session")
def litellm(aimock: str, running: Running) -> Iterator[str]:
    """The URL of LiteLLM's proxy, which has one model, `mock`, and gets its answers from aimock."""
    upstream = {"model": "openai/o3", "api_base": f"{aimock}/v1", "api_key": "x", "max_retries": 0}
    config = {
        "model_list": [{"model_name": "mock", "litellm_params": upstream}],
        "litellm_settings": {"num_retries": 0},
        "router_settings": {"num_retries": 0, "disable_cooldowns": True},
    }
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    command = ["bin/litellm", "--config", "config.yaml", "--host", "127.0.0.1", "--port", port]
    settings = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MASTER_KEY": KEY}
    with running(command, {"config.yaml": json.dumps(config)}, **settings) as url:
        yield url


@pytest.fixture(params=list(MODELS))
def server(request: pytest.FixtureRequest) -> tuple[str, str]:
    """The URL of a server with OpenAI's API, and the name of its model."""
    return request.getfixturevalue(request.param), MODELS[request.param]


async def answer(source: str, input: dict[str, Any], **options: Any) -> dict[str, Any]:
    """The output of a Neuron that is made for one call."""
    neuron: Any = Neuron(source=source, **options)
    try:
        if not options.get("stream"):
            output: dict[str, Any] = await neuron(input, [])
            return output
        items = [item async for item in neuron(input, [])]
        assert "".join(items[:-1]) == items[-1]["response"]
        return dict(items[-1])
    finally:
        await neuron.aclose()


async def ours(url: str, input: dict[str, Any], **options: Any) -> dict[str, Any]:
    """The output for a server with OpenAI's API."""
    return await answer("huggingface", input, **{"endpoint": url, "api_key": KEY, **options})


@asynccontextmanager
async def official(url: str) -> AsyncIterator[Any]:
    """OpenAI's own client."""
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0) as client:
        yield client


def told(value: Any) -> Any:
    """What an answer says: without what changes from call to call, and without empty fields."""
    if isinstance(value, Mapping):
        fields = {name: told(each) for name, each in value.items() if name not in CHANGING}
        return {name: each for name, each in fields.items() if each not in (None, [], {}, "")}
    return [told(each) for each in value] if isinstance(value, list) else value


def lost(theirs: Any, mine: Any, path: str = "") -> list[str]:
    """The places of fields that the official client got, and the Neuron did not, or that differ."""
    if isinstance(theirs, dict) and isinstance(mine, dict):
        return [place for name in theirs for place in lost(theirs[name], mine.get(name), f"{path}.{name}")]
    if isinstance(theirs, list) and isinstance(mine, list) and len(theirs) == len(mine):
        pairs = enumerate(zip(theirs, mine, strict=True))
        return [place for index, (one, other) in pairs for place in lost(one, other, f"{path}[{index}]")]
    return [] if theirs == mine else [f"{path}: {theirs!r} is not {mine!r}"]


# --- answers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prompt", PROMPTS)
async def test_no_field_of_the_official_clients_answer_is_lost(
    server: tuple[str, str], stream: bool, prompt: str
) -> None:
    url, model = server
    async with official(url) as client:
        messages = [{"role": "user", "content": prompt}]
        theirs = await client.chat.completions.create(model=model, messages=messages)
    mine = await ours(url, {"prompt": prompt}, model=model, stream=stream)
    assert lost(told(theirs.model_dump(exclude_unset=True)), told(mine["meta"])) == []
    assert mine["response"] == (theirs.choices[0].message.content or "")


@pytest.mark.parametrize("prompt", PROMPTS)
async def test_plain_and_streaming_neurons_get_the_same(server: tuple[str, str], prompt: str) -> None:
    url, model = server
    plain, streamed = [
        await ours(url, {"prompt": prompt}, model=model, stream=stream) for stream in (False, True)
    ]
    assert told(plain) == told(streamed)


async def test_every_choice_arrives(llmock: str, stream: bool) -> None:
    output = await ours(llmock, {"prompt": "hello", "n": 3}, model="gpt-4", stream=stream)
    assert [choice["index"] for choice in output["meta"]["choices"]] == [0, 1, 2]
    assert {choice["finish_reason"] for choice in output["meta"]["choices"]} == {"stop"}


@pytest.mark.parametrize("prompt", PROMPTS)
async def test_no_field_of_the_official_ollama_clients_answer_is_lost(
    aimock: str, stream: bool, prompt: str
) -> None:
    async with ollama.AsyncClient(host=aimock) as client:
        theirs = await client.chat("llama3", [{"role": "user", "content": prompt}])
    mine = await answer("ollama", {"prompt": prompt}, endpoint=aimock, model="llama3", stream=stream)
    assert lost(told(theirs.model_dump(exclude_unset=True)), told(mine["meta"])) == []
    assert mine["response"] == theirs.message.content


async def test_a_tool_call_can_be_handed_back_to_either_source(aimock: str, stream: bool) -> None:
    user = {"role": "user", "content": "tools"}
    openais = await ours(aimock, {"messages": [user]}, model="o3")
    ollamas = await answer("ollama", {"messages": [user]}, endpoint=aimock, model="llama3")
    given = [openais["meta"]["choices"][0]["message"], ollamas["meta"]["message"]]
    for message in given:
        history = [message, {"role": "tool", "tool_call_id": "a", "content": "1"}]
        input = {"messages": [user, *history, {"role": "user", "content": "hello"}]}
        for output in (
            await ours(aimock, input, model="o3", stream=stream),
            await answer("ollama", input, endpoint=aimock, model="llama3", stream=stream),
        ):
            assert output["response"].startswith("Hi there")


# --- failures -----------------------------------------------------------------------------------------


async def order(llmock: str, *behaviors: dict[str, Any]) -> None:
    """Let LLMock behave like this in the next requests."""
    async with httpx.AsyncClient(base_url=llmock, trust_env=False) as client:
        (await client.post("/_llmock/reset")).raise_for_status()
        (await client.post("/_llmock/scenario", json={"behaviors": list(behaviors)})).raise_for_status()


async def complaints(llmock: str) -> list[Any]:
    """What LLMock has against its client."""
    async with httpx.AsyncClient(base_url=llmock, trust_env=False) as client:
        verdict = (await client.get("/_llmock/verdict")).raise_for_status().json()
    found: list[Any] = verdict["findings"]
    return found


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_a_failure_that_passes_is_retried(llmock: str, stream: bool, status: int) -> None:
    await order(llmock, {"type": "fail", "status": status, "times": 2})
    assert (await ours(llmock, {"prompt": "hello"}, model="gpt-4", stream=stream))["response"]
    assert await complaints(llmock) == []


async def test_a_requested_wait_is_kept(llmock: str, stream: bool) -> None:
    await order(llmock, {"type": "fail", "status": 429, "retry_after": 1, "times": 1})
    assert (await ours(llmock, {"prompt": "hello"}, model="gpt-4", stream=stream))["response"]
    assert await complaints(llmock) == []


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"type": "fail", "status": 400, "times": None}, "INPUT_INVALID"),
        ({"type": "fail", "status": 401, "times": None}, "AUTH_FAILED"),
        ({"type": "stream_fault", "kind": "truncate", "after_chunks": 3}, "PROVIDER_UNREACHABLE"),
        ({"type": "stream_fault", "kind": "disconnect", "after_chunks": 3}, "PROVIDER_UNREACHABLE"),
        ({"type": "stream_fault", "kind": "malformed", "after_chunks": 3}, "PROVIDER_MALFORMED"),
        ({"type": "stream_fault", "kind": "stall", "after_chunks": 3}, "PROVIDER_TIMEOUT"),
    ],
)
async def test_a_broken_answer_never_counts_as_whole(
    llmock: str, stream: bool, fault: dict[str, Any], code: str
) -> None:
    await order(llmock, fault)
    with pytest.raises(NeuronError) as caught:
        await ours(llmock, {"prompt": "hello"}, model="gpt-4", stream=stream, idle_timeout=1, max_retries=0)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("prompt", "options", "code"),
    [
        ("hello", {"model": "no-such-model"}, "MODEL_NOT_FOUND"),
        ("slow down", {}, "RATE_LIMITED"),
        ("break", {}, "PROVIDER_ERROR"),
    ],
)
async def test_litellms_errors_are_told_apart(
    litellm: str, stream: bool, prompt: str, options: dict[str, Any], code: str
) -> None:
    given = {"model": "mock", "stream": stream, "max_retries": 0, **options}
    with pytest.raises(NeuronError) as caught:
        await ours(litellm, {"prompt": prompt}, **given)
    assert caught.value.code == code
    assert KEY not in str(caught.value)


async def test_litellm_takes_every_kind_of_key(litellm: str, stream: bool) -> None:
    keys = {"seed": 7, "response_format": {"type": "text"}, "user": "a", "extra": {"metadata": {"a": "b"}}}
    for path in ("", "/v1", "/v1/chat/completions", "/chat/completions"):
        output = await ours(litellm + path, {"prompt": "hello", **keys}, model="mock", stream=stream)
        assert output["response"].startswith("Hi there")


# --- deviations, which no well-behaved mock has -------------------------------------------------------

TEXT = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "Hi"}, "finish_reason": None}]}
STOP = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}


def event(chunk: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps({"id": "1", "object": "chat.completion.chunk", **chunk}).encode() + b"\n\n"


HARMLESS = {
    "only-usage": event({"choices": [], "usage": {"total_tokens": 1}}),
    "comment": b": still here\n\n",
    "no-delta-text": event({"choices": [{"index": 0, "delta": {}, "finish_reason": None}]}),
    "unknown-field": event({"choices": [{"index": 0, "delta": {"x_new": "a"}}], "x_head": [1]}),
}


@pytest.mark.parametrize("harmless", HARMLESS.values(), ids=list(HARMLESS))
async def test_what_the_official_client_reads_over_is_read_over(stream: bool, harmless: bytes) -> None:
    body = event(TEXT) + harmless + event(TEXT) + event(STOP) + b"data: [DONE]\n\n"
    async with ChatServer() as server, official(server.url) as client:
        server.script(*[Fault.malformed(body, content_type="text/event-stream")] * 2)
        messages = [{"role": "user", "content": "hello"}]
        async with asyncio.timeout(30):
            chunks = await client.chat.completions.create(model="m", messages=messages, stream=True)
            texts = [choice.delta.content or "" async for chunk in chunks for choice in chunk.choices]
        mine = await ours(server.url, {"prompt": "hello"}, stream=stream)
    assert mine["response"] == "".join(texts) == "HiHi"
