"""A worker is killed while it works: its TASKs go to another one, or whoever asked is told."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from cosmo_core import Dendrite, SignalType
from tests.faults.waiting import until

if TYPE_CHECKING:
    from tests.faults.buses import Bus
    from tests.faults.conftest import Connect, Record, Worker

TASKS = 1000


@pytest.mark.parametrize("bus", ["zmq", "nats-durable"], indirect=True)
async def test_another_worker_does_what_a_killed_one_had(
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
    # When the other one has answered all of its own, what is left is what this one has.
    await until(lambda: len(killed.printed("^began")) + sum(call.done() for call in asked) >= TASKS)

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
async def test_who_asked_the_only_worker_is_told_that_it_is_lost(
    worker: Worker, orchestrator: Dendrite, record: Record
) -> None:
    killed = await worker("work=stuck")
    await orchestrator.wait_until_ready(neuron="work")
    pathway = await orchestrator.dispatch(neuron="work", input={"number": 0})
    await killed.says("^began")

    await killed.kill()
    at = time.monotonic()
    reply = await pathway.wait(30)

    told = time.monotonic() - at
    record("ERROR WORKER_LOST after, s", told)
    assert reply.payload["code"] == "WORKER_LOST"
    assert told <= 3.5


@pytest.mark.parametrize("bus", ["nats-durable"], indirect=True)
async def test_durable_work_waits_for_the_next_worker(
    bus: Bus, worker: Worker, orchestrator: Dendrite
) -> None:
    killed = await worker("work=stuck")
    await orchestrator.wait_until_ready(neuron="work")
    pathway = await orchestrator.dispatch(neuron="work", input={"number": 0})
    await killed.says("^began")
    await killed.kill()

    next_one = await worker("work=echo")

    reply = await pathway.wait(30)
    assert reply.raise_for_error().payload["output"]["pid"] == next_one.pid
