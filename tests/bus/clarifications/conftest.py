"""Fixtures for clarifications: Neurons that ask back, and a record of the Signals on the bus."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from cosmo_core import Dendrite, NeuronFn, Signal, ask_permission, clarify, decode
from cosmo_synapse_memory import MemorySynapse
from cosmo_testing.life_cycle import PRESENCE

Ask = Callable[..., Awaitable[Signal]]


@pytest.fixture
def translate() -> NeuronFn:
    """A Neuron that asks for the missing language."""

    async def translate(input: dict[str, Any], context: list[Any]) -> Any:
        if not input.get("clarifications"):
            return clarify("into which language?", context=["de", "fr"])
        return {"language": input["clarifications"][-1]["answer"], "text": input["text"], "context": context}

    return translate


@pytest.fixture
def delete() -> NeuronFn:
    """A Neuron that asks for permission."""

    async def delete(input: dict[str, Any], context: list[Any]) -> Any:
        if not input.get("permissions"):
            return ask_permission("delete", scope=input["path"], reason="the disk is full")
        return {"permissions": input["permissions"]}

    return delete


@pytest.fixture
async def published(synapse: MemorySynapse) -> list[Signal]:
    """All Signals except those of discovery, in the order they were published."""
    signals: list[Signal] = []

    def record(frame: bytes) -> None:
        signal = decode(frame)
        if signal.type not in PRESENCE:
            signals.append(signal)

    await synapse.subscribe("cosmonapse.test.>", record)
    return signals


@pytest.fixture
def ask() -> Ask:
    """Send a Neuron its input and return its first reply."""

    async def ask(orchestrator: Dendrite, neuron: str, **input: Any) -> Signal:
        return await orchestrator.dispatch_and_wait(neuron=neuron, input=input, timeout_s=5)

    return ask
