"""Broken connections: no frame is lost, repeated or reordered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from cosmo_testing.proxy import TcpProxy

if TYPE_CHECKING:
    from tests.conftest import Connect, Recorder, RunningHub, Slow

    from cosmo_synapse_zmq import ZmqSynapse

    Proxy = Callable[[int], Awaitable[TcpProxy]]

FRAMES = 2000


async def publish_all(synapse: ZmqSynapse, subject: str) -> None:
    for number in range(FRAMES):
        await synapse.publish(subject, b"%d" % number)
        if number % 50 == 0:
            # Let other tasks run, so that the connection is cut during this loop.
            await asyncio.sleep(0)


async def test_connections_that_break_under_load_lose_no_frame(
    hub: RunningHub, connect: Connect, proxy: Proxy, recorder: Callable[[], Recorder]
) -> None:
    ways = [await proxy(hub.port) for _ in range(2)]
    one, other = [await connect(f"zmq://127.0.0.1:{way.own_port}", max_pending=FRAMES) for way in ways]
    to_one, to_other = recorder(), recorder()
    await one.subscribe("one", to_one)
    await other.subscribe("other", to_other)
    cuts = 0
    async with asyncio.timeout(20), asyncio.TaskGroup() as both:
        both.create_task(publish_all(one, "other"))
        both.create_task(publish_all(other, "one"))
        for goal in range(250, FRAMES, 250):
            await to_one.until(goal)
            ways[cuts % 2].cut()
            cuts += 1
    expected = [b"%d" % number for number in range(FRAMES)]
    assert await to_one.until(FRAMES) == expected
    assert await to_other.until(FRAMES) == expected
    assert cuts == 7


async def test_deliveries_stay_with_their_member_when_its_connection_breaks(
    hub: RunningHub,
    connect: Connect,
    proxy: Proxy,
    slow: Callable[[], Slow],
    recorder: Callable[[], Recorder],
) -> None:
    way = await proxy(hub.port)
    publisher, worker = await connect(hub.url), await connect(f"zmq://127.0.0.1:{way.own_port}")
    working, reports, other = slow(), recorder(), recorder()
    await worker.subscribe("work", working, queue_group="g")
    await publisher.publish("work", b"task", undelivered=reports.report)
    await working.until(1)
    spare = await connect(hub.url)
    await spare.subscribe("work", other, queue_group="g")
    way.cut()
    back = recorder()
    await worker.subscribe("back", back)
    await publisher.publish("back", b"x")
    await back.until(1)
    working.release.set()
    # When the worker closes, an unacknowledged delivery would go to the other member.
    await worker.close()
    await publisher.publish("work", b"next", undelivered=reports.report)
    assert await other.until(1) == [b"next"]
    assert working.frames == [b"task"]
    assert reports.frames == []


async def test_an_acknowledgement_during_a_disconnect_counts_after_the_reconnect(
    hub: RunningHub,
    connect: Connect,
    proxy: Proxy,
    slow: Callable[[], Slow],
    recorder: Callable[[], Recorder],
) -> None:
    way = await proxy(hub.port)
    publisher, worker = (
        await connect(hub.url),
        await connect(f"zmq://127.0.0.1:{way.own_port}", max_in_flight=1),
    )
    working, reports = slow(), recorder()
    await worker.subscribe("work", working, queue_group="g")
    await publisher.publish("work", b"first", undelivered=reports.report)
    await working.until(1)
    with way.stalled():
        way.cut()
        working.release.set()
        await publisher.publish("work", b"rejected", undelivered=reports.report)
        assert await reports.until(1) == [b"overloaded: rejected"]
    await publisher.publish("work", b"second")
    assert await working.until(2) == [b"first", b"second"]
