"""A hundred thousand TASKs for a Neuron that is stuck: bounded memory, refusals, and nobody else suffers."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from signal import SIGUSR1
from typing import TYPE_CHECKING, Any, Final

import pytest

from cosmo_core import Axon, Dendrite, SignalType, Synapse, decode, encode
from cosmo_core.protocol.signal import address, mint
from cosmo_core.protocol.subjects import Subjects
from tests.faults.conftest import NAMESPACE
from tests.faults.processes import resident_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cosmo_core import Undelivered
    from tests.faults.buses import Bus
    from tests.faults.conftest import Connect, Record, Start, Worker

TASKS: Final = 100_000
PUBLISHERS: Final = 100
INBOX: Final = "storm"
MEGABYTE: Final = 1_000_000
SUBJECTS: Final = Subjects(NAMESPACE)


class Storm:
    """Sends TASKs without waiting for their answers, and counts what becomes of each.

    Attributes:
        fates: How many ended how.
        refused_at: When the first refusal came, by `time.monotonic`.
    """

    def __init__(self, synapse: Synapse) -> None:
        self.fates: Counter[str] = Counter()
        self.refused_at: float | None = None
        self._synapse = synapse
        self._changed = asyncio.Event()

    async def blow(self) -> None:
        """Send them all."""
        await self._synapse.subscribe(SUBJECTS.whole_inbox(INBOX), self._take)
        numbers = iter(range(TASKS))
        await asyncio.gather(*(self._send(numbers) for _ in range(PUBLISHERS)))

    async def _send(self, numbers: Iterator[int]) -> None:
        for number in numbers:
            task = mint(
                SignalType.TASK,
                {"input": {"number": number}},
                directed=address("work"),
                meta={"reply_to": INBOX},
            )
            subject = SUBJECTS.neuron(SignalType.TASK, "work")
            await self._synapse.publish(subject, encode(task), undelivered=self._undelivered)
            # In memory nothing waits for a socket; others want their turn, too.
            await asyncio.sleep(0)

    def _take(self, frame: bytes) -> None:
        answer = decode(frame)
        if answer.type is SignalType.ERROR:
            self._count(answer.payload["code"])
        elif answer.type is SignalType.AGENT_OUTPUT:
            self._count("answered")

    def _undelivered(self, frame: bytes, why: Undelivered) -> None:
        self._count(why)

    def _count(self, fate: str) -> None:
        if fate != "answered" and self.refused_at is None:
            self.refused_at = time.monotonic()
        self.fates[fate] += 1
        self._changed.set()

    async def over(self) -> None:
        """Return when the last one has ended."""
        while self.fates.total() < TASKS:
            self._changed.clear()
            await self._changed.wait()


@pytest.mark.parametrize("bus", ["zmq", "nats", "nats-durable"], indirect=True)
async def test_a_storm_is_refused_in_bounded_memory_and_drains(
    bus: Bus, worker: Worker, connect: Connect, orchestrator: Dendrite, record: Record
) -> None:
    stuck = await worker("work=stuck", "other=echo")
    await orchestrator.wait_until_ready(neuron="work")
    await orchestrator.wait_until_ready(neuron="other")
    processes = {"caller": os.getpid(), "worker": stuck.pid, "bus": bus.pid or os.getpid()}
    before = {name: resident_bytes(pid) for name, pid in processes.items()}
    storm = Storm(await connect())
    began = time.monotonic()
    blowing = asyncio.create_task(storm.blow())
    peaks = dict(before)
    async with asyncio.timeout(60):
        while not blowing.done():
            peaks = {name: max(peaks[name], resident_bytes(pid)) for name, pid in processes.items()}
            reply = await orchestrator.dispatch_and_wait(neuron="other", input={})
            assert reply.type is SignalType.AGENT_OUTPUT
        await blowing
        refused_after = (storm.refused_at or time.monotonic()) - began
        stuck.send(SIGUSR1)
        await storm.over()

    grown = {name: round((peaks[name] - before[name]) / MEGABYTE, 1) for name in processes}
    record("memory grown, MB", grown)
    record("fates of the storm", dict(storm.fates))
    assert max(grown.values()) <= 50
    assert refused_after <= 1
    assert storm.fates["answered"] >= 256
    assert set(storm.fates) <= {"answered", "OVERLOADED", "overloaded"}
    assert storm.fates.total() == TASKS


@pytest.mark.parametrize("bus", ["memory"], indirect=True)
async def test_in_memory_too(connect: Connect, start: Start, orchestrator: Dendrite, record: Record) -> None:
    released = asyncio.Event()

    async def work(input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
        await released.wait()
        return {}

    async def other(input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
        return {}

    await start(Axon(neuron_id="work", neuron_fn=work), Axon(neuron_id="other", neuron_fn=other))
    await orchestrator.wait_until_ready(neuron="other")
    before = resident_bytes(os.getpid())
    storm = Storm(await connect())
    blowing = asyncio.create_task(storm.blow())
    async with asyncio.timeout(60):
        while not blowing.done():
            reply = await orchestrator.dispatch_and_wait(neuron="other", input={})
            assert reply.type is SignalType.AGENT_OUTPUT
        await blowing
        grown = (resident_bytes(os.getpid()) - before) / MEGABYTE
        released.set()
        await storm.over()

    record("memory grown, MB", grown)
    record("fates of the storm", dict(storm.fates))
    assert grown <= 50
    assert storm.fates["answered"] >= 256
    assert storm.fates.keys() <= {"answered", "OVERLOADED", "overloaded"}
