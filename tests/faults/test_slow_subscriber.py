"""A slow subscriber: its dropped frames are counted, and other subscribers are not delayed."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

import pytest

from tests.faults.waiting import wait_until

if TYPE_CHECKING:
    from cosmo_core import Synapse
    from tests.faults.conftest import Connect, Record

BUSES: Final = ["memory", "zmq", "nats", "nats-durable"]
FLOOD: Final = 20_000
PROBES: Final = 300
PATIENCE_S: Final = 0.005
"""Seconds of tolerance for the scheduler of a busy machine, in addition to the factor of two."""


class Probe:
    """A quick subscriber, and the latency of frames to it."""

    def __init__(self, publisher: Synapse, subscriber: Synapse) -> None:
        self._publisher = publisher
        self._subscriber = subscriber
        self._arrived = asyncio.Event()

    def receive(self, frame: bytes) -> None:
        """Record that the frame has arrived."""
        self._arrived.set()

    async def p99(self) -> float:
        """Return the 99th percentile of the latency, in seconds."""
        await self._subscriber.subscribe("probe", self.receive)
        return sorted([await self._probe() for _ in range(PROBES)])[PROBES * 99 // 100]

    async def _probe(self) -> float:
        self._arrived.clear()
        sent = time.perf_counter()
        await self._publisher.publish("probe", b"probe")
        await self._arrived.wait()
        return time.perf_counter() - sent


@pytest.mark.parametrize("bus", BUSES, indirect=True)
async def test_every_frame_is_either_handled_or_counted_as_dropped(connect: Connect, record: Record) -> None:
    publisher, slow = await connect(), await connect()
    released, passed = asyncio.Event(), asyncio.Event()
    handled = 0

    async def handle(frame: bytes) -> None:
        nonlocal handled
        await released.wait()
        handled += 1

    def note(frame: bytes) -> None:
        passed.set()

    subscription = await slow.subscribe("flood", handle)
    await slow.subscribe("end", note)
    for _ in range(FLOOD):
        await publisher.publish("flood", b"x" * 300)
    # Frames of one publisher arrive in order, so this one arrives after the flood.
    await publisher.publish("end", b"")
    async with asyncio.timeout(20):
        await passed.wait()
    released.set()

    await wait_until(lambda: handled + subscription.dropped >= FLOOD)
    record("frames handled, and dropped", (handled, subscription.dropped))
    assert handled + subscription.dropped == FLOOD
    assert subscription.dropped > 0
    assert handled > 0


@pytest.mark.parametrize("bus", BUSES, indirect=True)
async def test_a_stuck_subscriber_does_not_delay_others(connect: Connect, record: Record) -> None:
    publisher, other, stuck = await connect(), await connect(), await connect()
    probe = Probe(publisher, other)
    await probe.p99()
    alone = await probe.p99()

    released = asyncio.Event()

    async def wait(frame: bytes) -> None:
        await released.wait()

    await stuck.subscribe("probe", wait)
    await stuck.subscribe("flood", wait)
    for _ in range(FLOOD):
        await publisher.publish("flood", b"x" * 300)
    await probe.p99()
    beside = await probe.p99()

    released.set()
    record("p99 alone, and beside a stuck subscriber, ms", (round(1000 * alone, 2), round(1000 * beside, 2)))
    assert beside <= 2 * alone + PATIENCE_S
