"""The hub or server of the bus is killed, and restarted half a second later."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from signal import SIGUSR1
from typing import TYPE_CHECKING

import pytest

from cosmo_core import CosmoError, Dendrite, SignalType
from tests.faults.waiting import wait_until

if TYPE_CHECKING:
    from tests.faults.buses import Bus
    from tests.faults.conftest import Record, Worker

AWAY_S = 0.5
CALLERS = 50


class Calls:
    """Callers that dispatch repeatedly, and count how each call ended.

    Attributes:
        ended: How many calls ended in each way.
    """

    def __init__(self, orchestrator: Dendrite) -> None:
        self.ended: Counter[str] = Counter()
        self._orchestrator = orchestrator
        self._stopped = False

    async def ask(self) -> None:
        """Dispatch until `stop`."""
        while not self._stopped:
            await self.once()

    async def once(self) -> str:
        """Dispatch once; return how the call ended. A timeout fails the test."""
        ended = "answered"
        try:
            reply = await self._orchestrator.dispatch_and_wait(neuron="work", input={}, timeout_s=15)
            if reply.type is SignalType.ERROR:
                ended = reply.payload["code"]
        except CosmoError as error:
            ended = type(error).__name__
            # Nothing was sent, because the bus is down.
            await asyncio.sleep(0.01)
        self.ended[ended] += 1
        return ended

    def stop(self) -> None:
        """Dispatch no more."""
        self._stopped = True


@pytest.mark.parametrize("bus", ["zmq", "nats", "nats-durable"], indirect=True)
async def test_calls_succeed_again_and_every_call_ends(
    bus: Bus, worker: Worker, orchestrator: Dendrite, record: Record
) -> None:
    await worker("work=brief")
    await orchestrator.wait_until_ready(neuron="work")
    calls = Calls(orchestrator)
    asking = asyncio.gather(*(calls.ask() for _ in range(CALLERS)))
    await wait_until(lambda: calls.ended["answered"] >= CALLERS)

    await bus.kill()
    await asyncio.sleep(AWAY_S)
    await bus.restart()
    back = time.monotonic()
    async with asyncio.timeout(20):
        # Answers that were in flight may be lost, so the first calls may end with an error.
        while await calls.once() != "answered":
            pass
        flowing = time.monotonic() - back
        calls.stop()
        await asking

    record("first answer after the restart, s", flowing)
    record("how the calls ended", dict(calls.ended))
    assert flowing <= 2
    assert calls.ended.keys() <= {"answered", "WORKER_LOST", "NO_ROUTE", "NoRouteError", "SynapseError"}


@pytest.mark.parametrize("bus", ["zmq", "nats-durable"], indirect=True)
async def test_no_acknowledged_task_is_lost(bus: Bus, worker: Worker, orchestrator: Dendrite) -> None:
    working = await worker("work=stuck")
    await orchestrator.wait_until_ready(neuron="work")
    pathways = [await orchestrator.dispatch(neuron="work", input={"number": n}) for n in range(200)]
    await working.wait_for_line("^began")

    await bus.kill()
    await asyncio.sleep(AWAY_S)
    await bus.restart()
    working.send(SIGUSR1)

    replies = await asyncio.gather(*(pathway.wait(20) for pathway in pathways))
    assert {reply.type for reply in replies} == {SignalType.AGENT_OUTPUT}
