"""A caller is cancelled: its Neuron is, too, and nothing is left behind."""

from __future__ import annotations

import asyncio
import gc
import time
from typing import TYPE_CHECKING, Any, Final

import pytest

from cosmo_core import Axon, Dendrite, Pathway, SignalType
from tests.faults.waiting import until

if TYPE_CHECKING:
    from tests.faults.conftest import Record, Start, Worker

CALLS: Final = 10_000
AT_ONCE: Final = 100


@pytest.mark.parametrize("bus", ["zmq", "nats", "nats-durable"], indirect=True)
async def test_the_neuron_of_a_cancelled_caller_is_cancelled_in_its_process(
    worker: Worker, orchestrator: Dendrite, record: Record
) -> None:
    working = await worker("work=stuck")
    await orchestrator.wait_until_ready(neuron="work")
    asking = asyncio.create_task(orchestrator.dispatch_and_wait(neuron="work", input={"number": 7}))
    await working.says("^began 7$")

    asking.cancel()
    at = time.monotonic()

    # Both processes read the same monotonic clock.
    told = float((await working.says("^cancelled 7 ")).text.split()[-1]) - at
    record("CancelledError in the Neuron after, s", told)
    assert told <= 0.5


@pytest.mark.parametrize("bus", ["memory"], indirect=True)
async def test_in_memory_it_is_cancelled_within_a_tenth_of_a_second(
    start: Start, orchestrator: Dendrite, record: Record
) -> None:
    began, cancelled = asyncio.Event(), asyncio.Event()

    async def stuck(input: dict[str, Any], context: list[Any]) -> None:
        began.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            cancelled.set()

    await start(Axon(neuron_id="stuck", neuron_fn=stuck), role="worker")
    asking = asyncio.create_task(orchestrator.dispatch_and_wait(neuron="stuck", input={}))
    await began.wait()
    asking.cancel()
    at = time.monotonic()
    async with asyncio.timeout(5):
        await cancelled.wait()
    record("CancelledError in the Neuron after, s", time.monotonic() - at)
    assert time.monotonic() - at <= 0.1


@pytest.mark.parametrize("bus", ["memory", "zmq", "nats"], indirect=True)
async def test_ten_thousand_cancelled_callers_leave_nothing_behind(
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
        raise AssertionError("nobody sets that future")

    await start(Axon(neuron_id="stuck", neuron_fn=stuck), role="worker")
    await orchestrator.dispatch_and_wait(neuron="stuck", input={})
    tasks = len(asyncio.all_tasks())
    for batch in range(CALLS // AT_ONCE):
        asking = [
            asyncio.create_task(orchestrator.dispatch_and_wait(neuron="stuck", input={"batch": batch}))
            for _ in range(AT_ONCE)
        ]
        # What this answers was sent behind all of theirs.
        reply = await orchestrator.dispatch_and_wait(neuron="stuck", input={})
        assert reply.type is SignalType.AGENT_OUTPUT
        for call in asking:
            call.cancel()
        await asyncio.gather(*asking, return_exceptions=True)

    await until(lambda: not running and len(asyncio.all_tasks()) <= tasks)
    gc.collect()
    assert not [left for left in gc.get_objects() if isinstance(left, Pathway) and not left.closed]
