"""A Neuron that blocks the event loop of its process: a warning names it, and its TASK is not redelivered."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

import pytest

from cosmo_core import Dendrite, SignalType
from tests.faults.waiting import wait_until

if TYPE_CHECKING:
    from tests.faults.conftest import Record, Worker
    from tests.faults.processes import Child

BLOCKED_S: Final = 5.0


@pytest.mark.parametrize("bus", ["zmq", "nats", "nats-durable"], indirect=True)
async def test_a_blocking_neuron_is_named_in_a_warning_and_keeps_its_task(
    worker: Worker, orchestrator: Dendrite, record: Record
) -> None:
    workers = [await worker("work=blocking"), await worker("work=blocking")]
    await worker("other=echo")
    await orchestrator.wait_until_ready(neuron="work")
    await orchestrator.wait_until_ready(neuron="other")
    asked = asyncio.create_task(
        orchestrator.dispatch_and_wait(neuron="work", input={"seconds": BLOCKED_S}, timeout_s=30)
    )
    blocked, idle = await blocked_and_idle(workers)
    started = float(blocked.printed("^blocks ")[0].text.split()[-1])

    warned = (await blocked.wait_for_line("^log WARNING .*work", within_s=3)).at - started
    slowest = 0.0
    while not asked.done():
        sent = time.monotonic()
        reply = await orchestrator.dispatch_and_wait(neuron="other", input={})
        assert reply.type is SignalType.AGENT_OUTPUT
        slowest = max(slowest, time.monotonic() - sent)

    record("warning after, s", warned)
    record("slowest answer of another worker meanwhile, s", slowest)
    assert (await asked).raise_for_error().payload["output"]["pid"] == blocked.pid
    assert time.monotonic() - started >= BLOCKED_S
    assert warned <= 1
    assert slowest <= 1
    assert len(blocked.printed("^blocks ")) == 1
    assert not idle.printed("^blocks ")


async def blocked_and_idle(workers: list[Child]) -> tuple[Child, Child]:
    """Return the worker that has the TASK, and the other one."""
    await wait_until(lambda: any(worker.printed("^blocks ") for worker in workers))
    first, second = workers
    return (first, second) if first.printed("^blocks ") else (second, first)
