"""A bus on which everything that is sent can be read, with its subject."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import attrs
import pytest

from cosmo_core import Axon, Dendrite, Signal, SignalType, decode
from cosmo_core.plugin import PluginManager
from cosmo_synapse_memory import MemorySynapse

Start = Callable[..., Awaitable[Dendrite]]


@attrs.frozen
class Sent:
    """A Signal, and the subject on which it was sent."""

    subject: str
    signal: Signal


class RecordingSynapse(MemorySynapse):
    """A memory Synapse that keeps what is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[Sent] = []

    async def publish(self, subject: str, frame: bytes, **options: Any) -> None:
        self.sent.append(Sent(subject, decode(frame)))
        await self.publish_raw(subject, frame, **options)

    async def publish_raw(self, subject: str, frame: bytes, **options: Any) -> None:
        """Send what may be no Signal, and keep nothing of it."""
        await super().publish(subject, frame, **options)

    def of(self, *types: SignalType) -> list[Sent]:
        """Return what was sent of some types, in order."""
        return [sent for sent in self.sent if sent.signal.type in types]


@pytest.fixture(autouse=True)
async def bounded() -> AsyncIterator[None]:
    """No test takes long, and none leaves a task behind."""
    async with asyncio.timeout(20):
        yield
    assert asyncio.all_tasks() <= {asyncio.current_task()}


@pytest.fixture
async def synapse() -> AsyncIterator[RecordingSynapse]:
    synapse = RecordingSynapse()
    await synapse.connect()
    yield synapse
    await synapse.close()


@pytest.fixture
async def start(synapse: RecordingSynapse) -> AsyncIterator[Start]:
    """Start a Dendrite that hosts the given Neurons; it stops with the test."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(*neurons: Any, **options: Any) -> Dendrite:
            options = {"namespace": "test", "plugins": PluginManager(), "grace_s": 0.01, **options}
            dendrite = Dendrite(synapse=synapse, **options)
            for neuron in neurons:
                if not isinstance(neuron, Axon):
                    neuron = Axon(neuron_id=neuron.__name__, neuron_fn=neuron, capabilities=["any"])
                dendrite.attach_axon(neuron)
            return await stack.enter_async_context(dendrite)

        yield start
