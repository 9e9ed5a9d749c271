"""A worker's clock is wrong by an hour: TASKs carry the time left, so deadlines stay exact."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from cosmo_core import Dendrite
    from tests.faults.conftest import Record, Worker

HOUR_S: Final = 3600.0
TOLERANCE_S: Final = 0.1


@pytest.mark.parametrize("bus", ["zmq", "nats", "nats-durable"], indirect=True)
@pytest.mark.parametrize("ahead", [HOUR_S, -HOUR_S])
async def test_the_time_left_is_exact_with_a_wrong_clock(
    worker: Worker, orchestrator: Dendrite, record: Record, ahead: float
) -> None:
    await worker("work=time_left", f"--ahead={ahead}")
    await orchestrator.wait_until_ready(neuron="work")

    reply = await orchestrator.dispatch_and_wait(neuron="work", input={}, timeout_s=2)

    output = reply.raise_for_error().payload["output"]
    record("time left of 2 s", output["left_s"])
    assert abs(output["time"] - time.time() - ahead) < 60
    assert abs(output["left_s"] - 2) <= TOLERANCE_S


@pytest.mark.parametrize("bus", ["zmq", "nats", "nats-durable"], indirect=True)
@pytest.mark.parametrize("ahead", [HOUR_S, -HOUR_S])
async def test_a_waiting_task_expires_by_its_time_left(
    worker: Worker, orchestrator: Dendrite, ahead: float
) -> None:
    holding = await worker("work=held", f"--ahead={ahead}", "--limit=1")
    await orchestrator.wait_until_ready(neuron="work")
    first = await orchestrator.dispatch(neuron="work", input={"seconds": 1.0})
    await holding.wait_for_line("^began")
    early = await orchestrator.dispatch(
        neuron="work", input={"seconds": 0.0}, deadline_s=1.0 - 2 * TOLERANCE_S
    )
    late = await orchestrator.dispatch(
        neuron="work", input={"seconds": 0.0}, deadline_s=1.0 + 2 * TOLERANCE_S
    )

    async with asyncio.timeout(10):
        ended = [await pathway.wait() for pathway in (first, early, late)]

    assert [reply.payload.get("code", "answered") for reply in ended] == ["answered", "DEADLINE", "answered"]
