"""The conformance kit, run on the memory Synapse."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from cosmo_synapse_memory import MemoryBus, MemorySynapse
from cosmo_testing import SynapseConformance

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# The long checks take longer in proportion to the scale.
pytestmark = pytest.mark.timeout(120 * SynapseConformance.scale)


class TestMemory(SynapseConformance):
    capacity = 32

    @asynccontextmanager
    async def bus(self) -> AsyncIterator[None]:
        self._bus = MemoryBus(max_waiting=16)
        yield

    async def connect(self) -> MemorySynapse:
        synapse = MemorySynapse(self._bus, max_in_flight=8, max_pending=8)
        await synapse.connect()
        return synapse

    async def inject(self, subject: str, raw: bytes) -> None:
        publisher = await self.connect()
        await publisher.publish(subject, raw)
        await publisher.close()
