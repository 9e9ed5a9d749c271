from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from cosmo_source_ollama import OllamaNeuron, StreamingOllamaNeuron, ollama
from cosmo_testing import ChatServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    AnyNeuron = OllamaNeuron | StreamingOllamaNeuron


@pytest.fixture(autouse=True)
def no_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove OLLAMA_HOST, so that the tests do not depend on the machine."""
    monkeypatch.delenv("OLLAMA_HOST", raising=False)


@pytest.fixture
async def server() -> AsyncIterator[ChatServer]:
    async with ChatServer(pulled=["llama3", "mistral:7b"]) as server:
        yield server


@pytest.fixture
async def make(server: ChatServer) -> AsyncIterator[Callable[..., AnyNeuron]]:
    """Make Neurons that use the server, and close them after the test."""
    made = []

    def make(**options: Any) -> AnyNeuron:
        made.append(ollama(**{"model": "llama3", "endpoint": server.url, **options}))
        return made[-1]

    yield make
    for neuron in made:
        await neuron.aclose()


@pytest.fixture(params=[False, True], ids=["whole", "stream"])
def stream(request: pytest.FixtureRequest) -> bool:
    """With and without streaming."""
    stream: bool = request.param
    return stream


@pytest.fixture
def ask() -> Callable[..., Coroutine[Any, Any, dict[str, Any]]]:
    """Call a plain or a streaming Neuron and return its output."""

    async def ask(neuron: AnyNeuron, input: dict[str, Any] | None = None) -> dict[str, Any]:
        input = {"prompt": "Say hello."} if input is None else input
        async with asyncio.timeout(30):
            if isinstance(neuron, OllamaNeuron):
                return await neuron(input, [])
            items = [item async for item in neuron(input, [])]
        assert isinstance(items[-1], dict)
        return items[-1]

    return ask
