"""Cancelled callers: their Neurons are cancelled, and no task or Pathway is left."""

from __future__ import annotations

import asyncio
import gc
import time
from typing import TYPE_CHECKING, Any, Final

import pytest

from cosmo_core import Axon, Dendrite, Pathway, SignalType
from tests.faults.waiting import wait_until

if TYPE_CHECKING:
    from tests.faults.conftest import Record, Start, Worker

CALLS: Final = 10_000
AT_ONCE: Final = 100


@pytest.mark.parametrize("bus", ["zmq", "nats", "nats-durable"], indirect=True)
async def test_a_cancelled_caller_cancels_the_neuron_in_another_process(
    worker: Worker, orchestrator: Dendrite, record: Record
) -> None:
    working = await worker("work=stuck")
    await orchestrator.wait_until_ready(neuron="work")
    asking = asyncio.create_task(orchestrator.dispatch_and_wait(neuron="work", input={"number": 7}))
    await working.wait_for_line("^began 7$")

    asking.cancel()
    at = time.monotonic()

    # Both processes read the same monotonic clock.
    delay = float((await working.wait_for_line("^cancelled 7 ")).text.split()[-1]) - at
    record("CancelledError in the Neuron after, s", delay)
    assert delay <= 0.5


@pytest.mark.parametrize("bus", ["memory"], indirect=True)
async def test_in_memory_the_neuron_is_cancelled_within_a_tenth_of_a_second(
    start: Start, orchestrator: Dendrite, record: Record
) -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def stuck(input: dict[str, Any], context: list[Any]) -> None:
        started.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            cancelled.set()

    await start(Axon(neuron_id="stuck", neuron_fn=stuck), role="worker")
    asking = asyncio.create_task(orchestrator.dispatch_and_wait(neuron="stuck", input={}))
    await started.wait()
    asking.cancel()
    at = time.monotonic()
    async with asyncio.timeout(5):
        await cancelled.wait()
    record("CancelledError in the Neuron after, s", time.monotonic() - at)
    assert time.monotonic() - at <= 0.1


@pytest.mark.parametrize("bus", ["memory", "zmq", "nats"], indirect=True)
async def test_ten_thousand_cancelled_callers_leave_no_task_or_pathway(
    start: Start, orchestrator: Dendrite
) -> None:
    running = 0

    async def stuck(input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
        nonlocal running
        if not input:
            return {"running": running}
        running += 1
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            running -= 1
        raise AssertionError("this future is never set")

    await start(Axon(neuron_id="stuck", neuron_fn=stuck), role="worker")
    await orchestrator.dispatch_and_wait(neuron="stuck", input={})
    tasks = len(asyncio.all_tasks())
    for batch in range(CALLS // AT_ONCE):
        asking = [
            asyncio.create_task(orchestrator.dispatch_and_wait(neuron="stuck", input={"batch": batch}))
            for _ in range(AT_ONCE)
        ]
        # This TASK is sent after all of theirs, so its answer shows that they have arrived.
        reply = await orchestrator.dispatch_and_wait(neuron="stuck", input={})
        assert reply.type is SignalType.AGENT_OUTPUT
        for call in asking:
            call.cancel()
        await asyncio.gather(*asking, return_exceptions=True)

    await wait_until(lambda: not running and len(asyncio.all_tasks()) <= tasks)
    gc.collect()
    assert not [left for left in gc.get_objects() if isinstance(left, Pathway) and not left.closed]
