"""A bus to try things on: one memory Synapse, and Dendrites that stop with the test."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from cosmo_core import Axon, Dendrite
from cosmo_core.plugin import PluginManager
from cosmo_synapse_memory import MemorySynapse


@pytest.fixture(autouse=True)
async def tidy() -> AsyncIterator[None]:
    """No test leaves a task behind."""
    yield
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, left


@pytest.fixture
async def synapse() -> AsyncIterator[MemorySynapse]:
    synapse = MemorySynapse()
    await synapse.connect()
    yield synapse
    await synapse.close()


@pytest.fixture
async def start(synapse: MemorySynapse) -> AsyncIterator[Callable[..., Awaitable[Dendrite]]]:
    """Start a Dendrite that hosts the given Neurons under their own names; it stops with the test."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(*neurons: Any, axon: dict[str, Any] | None = None, **options: Any) -> Dendrite:
            options = {"namespace": "test", "plugins": PluginManager(), **options}
            dendrite = Dendrite(synapse=synapse, **options)
            for neuron in neurons:
                if not isinstance(neuron, Axon):
                    neuron = Axon(neuron_id=neuron.__name__, neuron_fn=neuron, **(axon or {}))
                dendrite.attach_axon(neuron)
            return await stack.enter_async_context(dendrite)

        yield start


@pytest.fixture
def settled() -> Callable[[Dendrite], Awaitable[None]]:
    """Return when a Dendrite has nothing to do in the background."""

    async def settled(dendrite: Dendrite) -> None:
        async with asyncio.timeout(5):
            await asyncio.sleep(0)  # what another thread asked for begins
            while background := dendrite._followed._background:
                await asyncio.wait(background)

    return settled


@pytest.fixture
def patterns(synapse: MemorySynapse) -> Callable[[], set[str]]:
    """Return what is subscribed to at present."""
    return lambda: {subscription._pattern for subscription in synapse._subscriptions}
