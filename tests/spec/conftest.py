"""Fixtures: a bus that records every Signal with its subject."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import attrs
import pytest

from cosmo_core import (
    Axon,
    Dendrite,
    EngramError,
    EngramGuarantees,
    ImprintReceipt,
    Signal,
    SignalType,
    decode,
)
from cosmo_core.contracts.engram import Findings, Found, Query, Write
from cosmo_core.plugins import PluginManager
from cosmo_synapse_memory import MemorySynapse

Start = Callable[..., Awaitable[Dendrite]]


@attrs.frozen
class Sent:
    """A Signal and the subject on which it was sent."""

    subject: str
    signal: Signal


class RecordingSynapse(MemorySynapse):
    """A memory Synapse that records what is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[Sent] = []
        self._news = asyncio.Event()

    async def publish(self, subject: str, frame: bytes, **options: Any) -> None:
        self.sent.append(Sent(subject, decode(frame)))
        self._news.set()
        await self.publish_raw(subject, frame, **options)

    async def publish_raw(self, subject: str, frame: bytes, **options: Any) -> None:
        """Send a frame that may not be a Signal, without recording it."""
        await super().publish(subject, frame, **options)

    async def have(self, type: SignalType, fits: Callable[[Signal], bool] = lambda _: True) -> Signal:
        """Return the first matching Signal of a type, once it was sent."""
        while True:
            for sent in self.of(type):
                if fits(sent.signal):
                    return sent.signal
            self._news.clear()
            await self._news.wait()

    def of(self, *types: SignalType) -> list[Sent]:
        """Return the sent Signals of these types, in order."""
        return [sent for sent in self.sent if sent.signal.type in types]


@pytest.fixture(autouse=True)
async def bounded() -> AsyncIterator[None]:
    """Limit the time of each test and check that it leaves no task behind."""
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
    """Start a Dendrite that hosts the given Neurons and Engrams; it stops with the test."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(*neurons: Any, **options: Any) -> Dendrite:
            options = {"namespace": "test", "plugins": PluginManager(), "grace_s": 0.01, **options}
            dendrite = Dendrite(synapse=synapse, **options)
            for neuron in neurons:
                if isinstance(neuron, Shelf):
                    dendrite.attach_engram(neuron)
                    continue
                if not isinstance(neuron, Axon):
                    neuron = Axon(neuron_id=neuron.__name__, neuron_fn=neuron, capabilities=["any"])
                dendrite.attach_axon(neuron)
            return await stack.enter_async_context(dendrite)

        yield start


class Shelf:
    """An Engram that stores documents by merge key and records its requests."""

    def __init__(self, engram_id: str = "ctx", engram_kind: str = "context") -> None:
        self.engram_id = engram_id
        self.engram_kind = engram_kind
        self.guarantees = EngramGuarantees(durable=False)
        self.entries: dict[str, Found] = {}
        self.writes: list[Write] = []
        self.queries: list[Query] = []
        self.ended: list[tuple[str, str]] = []
        self.committed = asyncio.Event()
        self.gate: asyncio.Event | None = None
        self.asked = asyncio.Event()

    async def connect(self) -> None:
        self.ended.append(("connect", ""))

    async def close(self) -> None:
        self.ended.append(("close", ""))

    async def recall(self, query: Query) -> Findings:
        self.queries.append(query)
        await self._pass()
        found = self.entries.get(query.merge_key or "")
        return Findings([found] if found else [])

    async def imprint(self, write: Write) -> ImprintReceipt:
        await self._pass()
        self.writes.append(write)
        key = write.merge_key or ""
        if write.op == "add" and key in self.entries:
            raise EngramError(f"{key!r} is there", code="ENGRAM_EXISTS")
        self.entries[key] = Found(key, write.document, 0.5)
        return ImprintReceipt(self.engram_id, write.op, key, 1)

    async def _pass(self) -> None:
        self.asked.set()
        if self.gate is not None:
            await self.gate.wait()

    async def roll_back(self, trace_id: str) -> int:
        self.ended.append(("roll back", trace_id))
        return sum(write.trace_id == trace_id for write in self.writes)

    async def commit(self, trace_id: str) -> None:
        self.ended.append(("commit", trace_id))
        self.committed.set()


@pytest.fixture
def shelf() -> Callable[..., Shelf]:
    return Shelf
