from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from cosmo_source_huggingface import HuggingFaceNeuron, StreamingHuggingFaceNeuron, huggingface
from cosmo_testing import ChatServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    AnyNeuron = HuggingFaceNeuron | StreamingHuggingFaceNeuron

MODES = {
    "chat": {"use_chat_api": True, "stream": False},
    "chat-stream": {"use_chat_api": True, "stream": True},
    "tgi": {"use_chat_api": False, "stream": False},
    "tgi-stream": {"use_chat_api": False, "stream": True},
}


@pytest.fixture(autouse=True)
def no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove HF_TOKEN, so that the tests do not depend on the machine."""
    monkeypatch.delenv("HF_TOKEN", raising=False)


@pytest.fixture
async def server() -> AsyncIterator[ChatServer]:
    async with ChatServer() as server:
        yield server


@pytest.fixture
async def make(server: ChatServer) -> AsyncIterator[Callable[..., AnyNeuron]]:
    """Make Neurons that use the server, and close them after the test."""
    made = []

    def make(**options: Any) -> AnyNeuron:
        made.append(huggingface(**{"endpoint": server.url, **options}))
        return made[-1]

    yield make
    for neuron in made:
        await neuron.aclose()


@pytest.fixture(params=list(MODES.values()), ids=list(MODES))
def mode(request: pytest.FixtureRequest) -> dict[str, bool]:
    """Each of the two APIs, with and without streaming."""
    mode: dict[str, bool] = request.param
    return mode


@pytest.fixture
def ask() -> Callable[..., Coroutine[Any, Any, dict[str, Any]]]:
    """Call a plain or a streaming Neuron and return its output."""

    async def ask(neuron: AnyNeuron, input: dict[str, Any] | None = None) -> dict[str, Any]:
        input = {"prompt": "Say hello."} if input is None else input
        async with asyncio.timeout(30):
            if isinstance(neuron, HuggingFaceNeuron):
                return await neuron(input, [])
            items = [item async for item in neuron(input, [])]
        assert isinstance(items[-1], dict)
        return items[-1]

    return ask
