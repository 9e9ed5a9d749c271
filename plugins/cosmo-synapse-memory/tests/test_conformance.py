"""The conformance kit, run on the memory Synapse."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from cosmo_core.contracts import eager_tasks
from cosmo_synapse_memory import MemoryBus, MemorySynapse
from cosmo_testing import SynapseConformance

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# The long checks take longer in proportion to the scale.
pytestmark = pytest.mark.timeout(120 * SynapseConformance.scale)


class TestMemory(SynapseConformance):
    capacity = 32
    synapse: type[MemorySynapse] = MemorySynapse

    @asynccontextmanager
    async def bus(self) -> AsyncIterator[None]:
        self._bus = MemoryBus(max_waiting=16)
        yield

    async def connect(self) -> MemorySynapse:
        synapse = self.synapse(self._bus, max_in_flight=8, max_pending=8)
        await synapse.connect()
        return synapse

    async def inject(self, subject: str, raw: bytes) -> None:
        publisher = await self.connect()
        await publisher.publish(subject, raw)
        await publisher.close()


class CopyingSynapse(MemorySynapse):
    """Delivers copies of frames, and not in the call of `publish`."""

    async def publish(self, subject: str, frame: bytes, **options: Any) -> None:
        await super().publish(subject, bytes(bytearray(frame)), **options)


class TestMemoryWithoutShortCuts(TestMemory):
    """Dendrites check every envelope, await every frame, and start no task eagerly."""

    synapse = CopyingSynapse

    @pytest.fixture(autouse=True)
    def no_eager_tasks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(eager_tasks, "MAX_DEPTH", 0)
