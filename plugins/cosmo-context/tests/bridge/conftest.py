"""A bus, and an LLM Neuron that records its input."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from cosmo_core import Axon, Dendrite, NeuronFn, Signal
from cosmo_core.plugins import PluginManager
from cosmo_synapse_memory import MemorySynapse

Ask = Callable[..., Awaitable[Signal]]


class EchoModel:
    """Answers with a number, and records its input."""

    def __init__(self) -> None:
        self.given: list[dict[str, Any]] = []
        self.closed = False

    async def __call__(self, input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
        self.given.append(input)
        return {"response": f"answer {len(self.given)}"}

    async def aclose(self) -> None:
        self.closed = True


@pytest.fixture
def model() -> EchoModel:
    return EchoModel()


@pytest.fixture
async def ask() -> AsyncIterator[Ask]:
    """Send a TASK to a Neuron, which is hosted on first use, and return the reply."""
    async with contextlib.AsyncExitStack() as stack:
        synapse = MemorySynapse()
        await synapse.connect()
        stack.push_async_callback(synapse.close)
        hosts: dict[int, Dendrite] = {}

        async def ask(
            neuron: NeuronFn,
            input: dict[str, Any],
            trace_id: str | None = None,
            *,
            axon: dict[str, Any] | None = None,
        ) -> Signal:
            if id(neuron) not in hosts:
                dendrite = Dendrite(synapse=synapse, plugins=PluginManager())
                dendrite.attach_axon(Axon(neuron_id=f"llm{len(hosts)}", neuron_fn=neuron, **(axon or {})))
                hosts[id(neuron)] = await stack.enter_async_context(dendrite)
            names = {known: f"llm{index}" for index, known in enumerate(hosts)}
            return await hosts[id(neuron)].dispatch_and_wait(
                neuron=names[id(neuron)], input=input, trace_id=trace_id, timeout_s=5
            )

        yield ask
