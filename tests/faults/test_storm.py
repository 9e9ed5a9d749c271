"""A hundred thousand TASKs for a stuck Neuron: bounded memory, rejections, and answers of other Neurons."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from signal import SIGUSR1
from typing import TYPE_CHECKING, Any, Final

import pytest

from cosmo_core import Axon, Dendrite, SignalType, Synapse, decode, encode
from cosmo_core.protocol.signal import address, new_unvalidated
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
    """Sends TASKs without waiting for their answers, and counts the outcome of each.

    Attributes:
        outcomes: How many TASKs had each outcome.
        rejected_at: When the first TASK was rejected, in seconds of `time.monotonic`.
    """

    def __init__(self, synapse: Synapse) -> None:
        self.outcomes: Counter[str] = Counter()
        self.rejected_at: float | None = None
        self._synapse = synapse
        self._changed = asyncio.Event()

    async def send_all(self) -> None:
        """Send all TASKs."""
        await self._synapse.subscribe(SUBJECTS.inbox_pattern(INBOX), self._on_answer)
        numbers = iter(range(TASKS))
        await asyncio.gather(*(self._send(numbers) for _ in range(PUBLISHERS)))

    async def _send(self, numbers: Iterator[int]) -> None:
        for number in numbers:
            task = new_unvalidated(
                SignalType.TASK,
                {"input": {"number": number}},
                directed=address("work"),
                meta={"reply_to": INBOX},
            )
            subject = SUBJECTS.neuron(SignalType.TASK, "work")
            await self._synapse.publish(subject, encode(task), undelivered=self._undelivered)
            # A memory bus never waits for a socket, so other tasks need a chance to run.
            await asyncio.sleep(0)

    def _on_answer(self, frame: bytes) -> None:
        answer = decode(frame)
        if answer.type is SignalType.ERROR:
            self._count(answer.payload["code"])
        elif answer.type is SignalType.AGENT_OUTPUT:
            self._count("answered")

    def _undelivered(self, frame: bytes, cause: Undelivered) -> None:
        self._count(cause)

    def _count(self, outcome: str) -> None:
        if outcome != "answered" and self.rejected_at is None:
            self.rejected_at = time.monotonic()
        self.outcomes[outcome] += 1
        self._changed.set()

    async def finished(self) -> None:
        """Wait until every TASK has an outcome."""
        while self.outcomes.total() < TASKS:
            self._changed.clear()
            await self._changed.wait()


@pytest.mark.parametrize("bus", ["zmq", "nats", "nats-durable"], indirect=True)
async def test_a_storm_is_rejected_in_bounded_memory_and_drains(
    bus: Bus, worker: Worker, connect: Connect, orchestrator: Dendrite, record: Record
) -> None:
    stuck = await worker("work=stuck", "other=echo")
    await orchestrator.wait_until_ready(neuron="work")
    await orchestrator.wait_until_ready(neuron="other")
    processes = {"caller": os.getpid(), "worker": stuck.pid, "bus": bus.pid or os.getpid()}
    before = {name: resident_bytes(pid) for name, pid in processes.items()}
    storm = Storm(await connect())
    started = time.monotonic()
    sending = asyncio.create_task(storm.send_all())
    peaks = dict(before)
    async with asyncio.timeout(60):
        while not sending.done():
            peaks = {name: max(peaks[name], resident_bytes(pid)) for name, pid in processes.items()}
            reply = await orchestrator.dispatch_and_wait(neuron="other", input={})
            assert reply.type is SignalType.AGENT_OUTPUT
        await sending
        rejected_after = (storm.rejected_at or time.monotonic()) - started
        stuck.send(SIGUSR1)
        await storm.finished()

    grown = {name: round((peaks[name] - before[name]) / MEGABYTE, 1) for name in processes}
    record("memory grown, MB", grown)
    record("outcomes of the TASKs", dict(storm.outcomes))
    assert max(grown.values()) <= 50
    assert rejected_after <= 1
    assert storm.outcomes["answered"] >= 256
    assert set(storm.outcomes) <= {"answered", "OVERLOADED", "overloaded"}
    assert storm.outcomes.total() == TASKS


@pytest.mark.parametrize("bus", ["memory"], indirect=True)
async def test_a_storm_in_memory_is_rejected_in_bounded_memory_and_drains(
    connect: Connect, start: Start, orchestrator: Dendrite, record: Record
) -> None:
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
    sending = asyncio.create_task(storm.send_all())
    async with asyncio.timeout(60):
        while not sending.done():
            reply = await orchestrator.dispatch_and_wait(neuron="other", input={})
            assert reply.type is SignalType.AGENT_OUTPUT
        await sending
        grown = (resident_bytes(os.getpid()) - before) / MEGABYTE
        released.set()
        await storm.finished()

    record("memory grown, MB", grown)
    record("outcomes of the TASKs", dict(storm.outcomes))
    assert grown <= 50
    assert storm.outcomes["answered"] >= 256
    assert storm.outcomes.keys() <= {"answered", "OVERLOADED", "overloaded"}
