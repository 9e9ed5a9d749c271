"""The conformance kit, for both APIs, with and without streaming, and over a real socket."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import httpx

from cosmo_source_huggingface import huggingface
from cosmo_testing import ProviderServer, SourceConformance, chat_answers, provider_transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from cosmo_core.contracts.neuron import NeuronFn
    from cosmo_testing import Scenario


class TestChat(SourceConformance):
    llm = True
    secrets: ClassVar[Mapping[str, Any]] = {
        "api_key": "hf_THEKEY0123456789",
        "headers": {"X-Team-Key": "team-secret-42"},
    }
    invalid_inputs = (
        {},
        {"prompt": ""},
        {"prompt": 7},
        {"prompt": "Hi", "messages": [{"role": "user", "content": "Hi"}]},
        {"messages": []},
        {"messages": [{"content": "no role"}]},
        {"prompt": "Hi", "temperature": -1},
    )

    def neuron(self, **options: Any) -> NeuronFn:
        return huggingface(**options)

    @asynccontextmanager
    async def provider(self, scenario: Scenario) -> AsyncIterator[dict[str, Any]]:
        transport = provider_transport(scenario, chat_answers(reply=str.upper))
        timeout = 0.3 if scenario.fault == "stalled" else 30
        async with httpx.AsyncClient(transport=transport) as client:
            yield {
                "endpoint": "http://models.example",
                "client": client,
                "timeout": timeout,
                "max_retries": 0,
            }

    def input(self, n: int) -> dict[str, Any]:
        return {"prompt": f"question {n}"}


class TestChatStream(TestChat):
    streams = True
    options: ClassVar[Mapping[str, Any]] = {"stream": True}


class TestTgi(TestChat):
    options: ClassVar[Mapping[str, Any]] = {"use_chat_api": False}


class TestTgiStream(TestChat):
    streams = True
    options: ClassVar[Mapping[str, Any]] = {"use_chat_api": False, "stream": True}


class TestOverASocket(TestChatStream):
    @asynccontextmanager
    async def provider(self, scenario: Scenario) -> AsyncIterator[dict[str, Any]]:
        # Long enough to make a client and to connect.
        timeout = 0.3 if scenario.fault == "stalled" else 30
        async with ProviderServer(scenario, chat_answers(reply=str.upper)) as server:
            yield {"endpoint": server.url, "timeout": timeout, "max_retries": 0}
