"""The conformance kit, with and without streaming, over a mock transport and over a real socket."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import httpx

from cosmo_source_ollama import ollama
from cosmo_testing import ProviderServer, SourceConformance, chat_answers, provider_transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from cosmo_core.contracts.neuron import NeuronFn
    from cosmo_testing import Scenario


class TestWhole(SourceConformance):
    llm = True
    secrets: ClassVar[Mapping[str, Any]] = {
        "headers": {"Authorization": "Bearer ollama-THEKEY0123456789", "X-Team-Key": "team-secret-42"}
    }
    invalid_inputs = (
        {},
        {"prompt": ""},
        {"prompt": "Hi", "messages": [{"role": "user", "content": "Hi"}]},
        {"messages": []},
        {"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]},
        {"messages": [{"role": "user", "content": "Hi"}], "images": ["aW1hZ2U="]},
        {"prompt": "Hi", "options": []},
        {"prompt": "Hi", "keep_alive": "soon"},
    )

    def neuron(self, **options: Any) -> NeuronFn:
        return ollama(model="llama3", **options)

    @asynccontextmanager
    async def provider(self, scenario: Scenario) -> AsyncIterator[dict[str, Any]]:
        transport = provider_transport(scenario, chat_answers(reply=str.upper))
        timeout = 0.3 if scenario.fault == "stalled" else 30
        async with httpx.AsyncClient(transport=transport) as client:
            yield {
                "endpoint": "http://ollama.example",
                "client": client,
                "timeout": timeout,
                "max_retries": 0,
            }

    def input(self, n: int) -> dict[str, Any]:
        return {"prompt": f"question {n}", "options": {"seed": n}}


class TestStream(TestWhole):
    streams = True
    options: ClassVar[Mapping[str, Any]] = {"stream": True}


class TestOverASocket(TestStream):
    @asynccontextmanager
    async def provider(self, scenario: Scenario) -> AsyncIterator[dict[str, Any]]:
        timeout = 0.3 if scenario.fault == "stalled" else 30
        async with ProviderServer(scenario, chat_answers(reply=str.upper)) as server:
            yield {"endpoint": server.url, "timeout": timeout, "max_retries": 0}
