"""What carries the bus is killed, and is back half a second later."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from signal import SIGUSR1
from typing import TYPE_CHECKING

import pytest

from cosmo_core import CosmoError, Dendrite, SignalType
from tests.faults.waiting import until

if TYPE_CHECKING:
    from tests.faults.buses import Bus
    from tests.faults.conftest import Record, Worker

AWAY_S = 0.5
CALLERS = 50


class Calls:
    """Callers that ask again and again, and how each call ended.

    Attributes:
        ended: How many calls ended in which way.
    """

    def __init__(self, orchestrator: Dendrite) -> None:
        self.ended: Counter[str] = Counter()
        self._orchestrator = orchestrator
        self._over = False

    async def ask(self) -> None:
        """Ask until it is over."""
        while not self._over:
            await self.once()

    async def once(self) -> str:
        """Ask once; return how it ended. No answer in time is an error of the test."""
        ended = "answered"
        try:
            reply = await self._orchestrator.dispatch_and_wait(neuron="work", input={}, timeout_s=15)
            if reply.type is SignalType.ERROR:
                ended = reply.payload["code"]
        except CosmoError as error:
            ended = type(error).__name__
            # Nothing was sent: the bus has to come back first.
            await asyncio.sleep(0.01)
        self.ended[ended] += 1
        return ended

    def end(self) -> None:
        """Ask no more."""
        self._over = True


@pytest.mark.parametrize("bus", ["zmq", "nats", "nats-durable"], indirect=True)
async def test_traffic_flows_again_and_every_call_ends(
    bus: Bus, worker: Worker, orchestrator: Dendrite, record: Record
) -> None:
    await worker("work=brief")
    await orchestrator.wait_until_ready(neuron="work")
    calls = Calls(orchestrator)
    asking = asyncio.gather(*(calls.ask() for _ in range(CALLERS)))
    await until(lambda: calls.ended["answered"] >= CALLERS)

    await bus.kill()
    await asyncio.sleep(AWAY_S)
    await bus.restart()
    back = time.monotonic()
    async with asyncio.timeout(20):
        # Those that were under way may have to find out first that their answers are gone.
        while await calls.once() != "answered":
            pass
        flowing = time.monotonic() - back
        calls.end()
        await asking

    record("traffic after the bus was back, s", flowing)
    record("how the calls ended", dict(calls.ended))
    assert flowing <= 2
    assert calls.ended.keys() <= {"answered", "WORKER_LOST", "NO_ROUTE", "NoRouteError", "SynapseError"}


@pytest.mark.parametrize("bus", ["zmq", "nats-durable"], indirect=True)
async def test_what_was_acknowledged_is_not_lost(bus: Bus, worker: Worker, orchestrator: Dendrite) -> None:
    working = await worker("work=stuck")
    await orchestrator.wait_until_ready(neuron="work")
    pathways = [await orchestrator.dispatch(neuron="work", input={"number": n}) for n in range(200)]
    await working.says("^began")

    await bus.kill()
    await asyncio.sleep(AWAY_S)
    await bus.restart()
    working.send(SIGUSR1)

    replies = await asyncio.gather(*(pathway.wait(20) for pathway in pathways))
    assert {reply.type for reply in replies} == {SignalType.AGENT_OUTPUT}
