"""A connection that breaks costs nothing: no frame, no order, no work."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from cosmo_testing.proxy import TcpProxy

if TYPE_CHECKING:
    from cosmo_synapse_zmq import ZmqSynapse
    from tests.conftest import Join, RunningHub, Slow, Taken

    Proxy = Callable[[int], Awaitable[TcpProxy]]

FRAMES = 2000


async def publish_all(synapse: ZmqSynapse, subject: str) -> None:
    for number in range(FRAMES):
        await synapse.publish(subject, b"%d" % number)
        if number % 50 == 0:
            # Let others have their turn, so that the cuts fall in the middle of it.
            await asyncio.sleep(0)


async def test_connections_that_break_under_load_lose_repeat_and_reorder_nothing(
    hub: RunningHub, join: Join, proxy: Proxy, taken: Callable[[], Taken]
) -> None:
    ways = [await proxy(hub.port) for _ in range(2)]
    one, other = [await join(f"zmq://127.0.0.1:{way.own_port}", max_pending=FRAMES) for way in ways]
    to_one, to_other = taken(), taken()
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


async def test_what_is_in_work_stays_with_who_works_on_it(
    hub: RunningHub, join: Join, proxy: Proxy, slow: Callable[[], Slow], taken: Callable[[], Taken]
) -> None:
    way = await proxy(hub.port)
    publisher, worker = await join(hub.url), await join(f"zmq://127.0.0.1:{way.own_port}")
    working, told, other = slow(), taken(), taken()
    await worker.subscribe("work", working, queue_group="g")
    await publisher.publish("work", b"task", undelivered=told.told)
    await working.until(1)
    spare = await join(hub.url)
    await spare.subscribe("work", other, queue_group="g")
    way.cut()
    back = taken()
    await worker.subscribe("back", back)
    await publisher.publish("back", b"x")
    await back.until(1)
    working.release.set()
    # Now the worker leaves: what it had not settled would go to the other one.
    await worker.close()
    await publisher.publish("work", b"next", undelivered=told.told)
    assert await other.until(1) == [b"next"]
    assert working.frames == [b"task"]
    assert told.frames == []


async def test_who_settles_while_the_connection_is_gone_is_believed_when_it_is_back(
    hub: RunningHub, join: Join, proxy: Proxy, slow: Callable[[], Slow], taken: Callable[[], Taken]
) -> None:
    way = await proxy(hub.port)
    publisher, worker = await join(hub.url), await join(f"zmq://127.0.0.1:{way.own_port}", max_in_flight=1)
    working, told = slow(), taken()
    await worker.subscribe("work", working, queue_group="g")
    await publisher.publish("work", b"first", undelivered=told.told)
    await working.until(1)
    with way.stalled():
        way.cut()
        working.release.set()
        await publisher.publish("work", b"refused", undelivered=told.told)
        assert await told.until(1) == [b"overloaded: refused"]
    await publisher.publish("work", b"second")
    assert await working.until(2) == [b"first", b"second"]
