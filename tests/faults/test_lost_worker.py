"""A worker is killed: its TASKs go to another worker, or their callers get an error."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from cosmo_core import Dendrite, SignalType
from tests.faults.waiting import wait_until

if TYPE_CHECKING:
    from tests.faults.buses import Bus
    from tests.faults.conftest import Connect, Record, Worker

TASKS = 1000


@pytest.mark.parametrize("bus", ["zmq", "nats-durable"], indirect=True)
async def test_another_worker_takes_over_the_tasks_of_a_killed_one(
    worker: Worker, connect: Connect, orchestrator: Dendrite, record: Record
) -> None:
    killed, other = await worker("work=stuck", f"--limit={TASKS}"), await worker("work=brief")
    await orchestrator.wait_until_ready(neuron="work")
    asked = [
        asyncio.create_task(
            orchestrator.dispatch_and_wait(neuron="work", input={"number": number}, timeout_s=60)
        )
        for number in range(TASKS)
    ]
    # When the other worker has answered all of its TASKs, this one has the rest.
    await wait_until(lambda: len(killed.printed("^began")) + sum(call.done() for call in asked) >= TASKS)

    await killed.kill()
    at = time.monotonic()
    async with asyncio.timeout(60):
        replies = await asyncio.gather(*asked)

    taken_over = time.monotonic() - at
    record(f"{len(killed.printed('^began'))} TASKs of a killed worker taken over, s", taken_over)
    assert Counter(reply.type for reply in replies) == {SignalType.AGENT_OUTPUT: TASKS}
    assert {reply.payload["output"]["number"] for reply in replies} == set(range(TASKS))
    assert {reply.payload["output"]["pid"] for reply in replies} == {other.pid}
    takeover_s = (await connect()).guarantees.takeover_s
    assert takeover_s is not None
    assert taken_over <= takeover_s


@pytest.mark.parametrize("bus", ["zmq", "nats"], indirect=True)
async def test_the_caller_of_the_only_worker_gets_worker_lost(
    worker: Worker, orchestrator: Dendrite, record: Record
) -> None:
    killed = await worker("work=stuck")
    await orchestrator.wait_until_ready(neuron="work")
    pathway = await orchestrator.dispatch(neuron="work", input={"number": 0})
    await killed.wait_for_line("^began")

    await killed.kill()
    at = time.monotonic()
    reply = await pathway.wait(30)

    delay = time.monotonic() - at
    record("ERROR WORKER_LOST after, s", delay)
    assert reply.payload["code"] == "WORKER_LOST"
    assert delay <= 3.5


@pytest.mark.parametrize("bus", ["nats-durable"], indirect=True)
async def test_durable_work_waits_for_the_next_worker(
    bus: Bus, worker: Worker, orchestrator: Dendrite
) -> None:
    killed = await worker("work=stuck")
    await orchestrator.wait_until_ready(neuron="work")
    pathway = await orchestrator.dispatch(neuron="work", input={"number": 0})
    await killed.wait_for_line("^began")
    await killed.kill()

    next_one = await worker("work=echo")

    reply = await pathway.wait(30)
    assert reply.raise_for_error().payload["output"]["pid"] == next_one.pid
