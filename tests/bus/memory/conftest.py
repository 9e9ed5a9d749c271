"""Engrams whose behaviour tests control, and Dendrites that host them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import attrs
import pytest

from cosmo_core import Dendrite, EngramGuarantees
from cosmo_core.contracts.engram import Findings, Query
from cosmo_core.plugins import PluginManager
from cosmo_engram_sqlite import SqliteEngram
from cosmo_synapse_memory import MemorySynapse


class Watched(SqliteEngram):
    """An Engram in memory that a test can delay or make fail, and that records its calls.

    Attributes:
        gate: Every recall waits until it is set.
        asked: Set when a recall begins.
        error: The exception that every recall raises.
        life: The calls of `connect` and `close`.
        promises: Changes of its guarantees.
    """

    def __init__(self, engram_id: str = "ctx", engram_kind: str = "context") -> None:
        super().__init__(engram_id=engram_id, engram_kind=engram_kind)
        self.gate: asyncio.Event | None = None
        self.asked = asyncio.Event()
        self.error: Exception | None = None
        self.life: list[str] = []
        self.promises: dict[str, Any] = {}

    @property
    def guarantees(self) -> EngramGuarantees:
        return attrs.evolve(super().guarantees, **self.promises)

    async def connect(self) -> None:
        self.life.append("connect")
        await super().connect()

    async def close(self) -> None:
        self.life.append("close")
        await super().close()

    async def recall(self, query: Query) -> Findings:
        self.asked.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        return await super().recall(query)


@pytest.fixture
def engram() -> Callable[..., Watched]:
    """Make an Engram."""
    return Watched


@pytest.fixture
async def host(synapse: MemorySynapse) -> AsyncIterator[Callable[..., Awaitable[Dendrite]]]:
    """Start a Dendrite that hosts the given Engrams; it stops with the test."""
    async with contextlib.AsyncExitStack() as stack:

        async def host(*engrams: Any, **options: Any) -> Dendrite:
            options = {"synapse": synapse, "namespace": "test", "plugins": PluginManager(), **options}
            dendrite = Dendrite(**options)
            for engram in engrams:
                dendrite.attach_engram(engram)
            return await stack.enter_async_context(dendrite)

        yield host
