"""A worker gets SIGTERM under load: it drains, sends DEREGISTER, and no TASK is lost."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from signal import SIGTERM
from typing import TYPE_CHECKING, Final

import pytest

from cosmo_core import Dendrite, Signal, SignalType
from tests.faults.waiting import wait_until

if TYPE_CHECKING:
    from tests.faults.conftest import Record, Worker

TASKS: Final = 1000
AT_ONCE: Final = 50
GRACE_S: Final = 5.0


@pytest.mark.parametrize("bus", ["zmq", "nats", "nats-durable"], indirect=True)
async def test_a_worker_that_gets_sigterm_under_load_drains(
    worker: Worker, orchestrator: Dendrite, record: Record
) -> None:
    leaving, staying = await worker("work=brief"), await worker("work=brief")
    await orchestrator.wait_until_ready(neuron="work")
    left: list[Signal] = []
    deregistered = asyncio.Event()

    @orchestrator.on(SignalType.DEREGISTER)
    def note(signal: Signal) -> None:
        left.append(signal)
        deregistered.set()

    numbers = iter(range(TASKS))
    replies: list[Signal] = []

    async def ask() -> None:
        for number in numbers:
            reply = await orchestrator.dispatch_and_wait(neuron="work", input={"number": number})
            replies.append(reply)

    asking = asyncio.gather(*(ask() for _ in range(AT_ONCE)))
    await wait_until(lambda: len(replies) >= TASKS // 4)
    leaving.send(SIGTERM)
    signalled = time.monotonic()
    status = await leaving.wait_ended()
    drained = time.monotonic() - signalled
    async with asyncio.timeout(30):
        await asking
        await deregistered.wait()

    record("drained after, s", drained)
    assert status == 0, leaving.output
    assert drained <= GRACE_S
    assert Counter(reply.type for reply in replies) == {SignalType.AGENT_OUTPUT: TASKS}
    by = Counter(reply.payload["output"]["pid"] for reply in replies)
    assert by.keys() == {leaving.pid, staying.pid}
    assert [signal.directed.id for signal in left if signal.directed] == ["work"]
