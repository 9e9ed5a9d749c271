"""A TASK that ends every process that runs it becomes a dead letter after three runs."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

import pytest

from cosmo_core import DeadLetters, Dendrite, decode

if TYPE_CHECKING:
    from tests.faults.conftest import Connect, Record, Worker
    from tests.faults.processes import Child

RUNS: Final = 3


@pytest.mark.parametrize("bus", ["zmq", "nats-durable"], indirect=True)
async def test_a_poison_task_becomes_a_dead_letter_after_three_runs(
    worker: Worker, connect: Connect, orchestrator: Dendrite, record: Record
) -> None:
    workers = [await worker("work=poison", "other=echo") for _ in range(RUNS + 1)]
    await orchestrator.wait_until_ready(neuron="work")

    sent = time.monotonic()
    pathway = await orchestrator.dispatch(neuron="work", input={})
    reply = await pathway.wait(40)

    record("poison TASK became a dead letter after, s", time.monotonic() - sent)
    assert reply.payload["code"] == "WORKER_LOST"
    assert reply.payload["recoverable"] is False
    assert runs(workers) == RUNS
    synapse = await connect()
    assert isinstance(synapse, DeadLetters)
    async with asyncio.timeout(5):
        [dead] = await synapse.dead_letters()
    assert decode(dead.frame).id == pathway.task_id
    assert dead.deliveries == RUNS
    assert dead.reason
    # The remaining worker still answers other TASKs.
    other = await orchestrator.dispatch_and_wait(neuron="other", input={})
    assert other.raise_for_error().payload["output"]["pid"] in {each.pid for each in workers}
    assert runs(workers) == RUNS


def runs(workers: list[Child]) -> int:
    """Return how many times the poison TASK ran."""
    return sum(len(each.printed("^dies$")) for each in workers)
