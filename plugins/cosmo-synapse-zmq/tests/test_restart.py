"""A hub that dies takes what it had in work; peers find the next one by themselves, and tell it the rest."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

from cosmo_core import SynapseError
from cosmo_synapse_zmq.synapse import WINDOW
from cosmo_testing.proxy import TcpProxy

if TYPE_CHECKING:
    from tests.conftest import Join, RunningHub, Slow, Taken

    Proxy = Callable[[int], Awaitable[TcpProxy]]


async def test_subscriptions_live_and_what_was_published_meanwhile_is_sent(
    hub: RunningHub, join: Join, taken: Callable[[], Taken]
) -> None:
    one, other = await join(hub.url), await join(hub.url)
    got, shared = taken(), taken()
    await other.subscribe("a", got)
    await other.subscribe("b", shared, queue_group="g")
    await hub.stop()
    for number in range(100):
        await one.publish("a", b"%d" % number)
        await one.publish("b", b"%d" % number)
    await hub.start()
    back = time.monotonic()
    await got.until(100)
    await shared.until(100)
    assert time.monotonic() - back < 2
    assert got.frames == shared.frames == [b"%d" % number for number in range(100)]


async def test_a_publisher_waits_within_the_window_and_then_is_told(hub: RunningHub, join: Join) -> None:
    synapse = await join(hub.url, connect_timeout_s=0.3)
    await hub.stop()
    async with asyncio.timeout(2):
        for _ in range(WINDOW):
            await synapse.publish("a", b"x")
    started = time.monotonic()
    with pytest.raises(
        SynapseError, match=r"out of reach for 0\.3 s, and 1024 frames wait for it; a was not sent"
    ):
        await synapse.publish("a", b"x")
    assert 0.25 < time.monotonic() - started < 1.3


async def test_a_publisher_that_waits_goes_on_when_the_hub_is_back(
    hub: RunningHub, join: Join, taken: Callable[[], Taken]
) -> None:
    one, other = await join(hub.url), await join(hub.url, max_pending=2 * WINDOW)
    got = taken()
    await other.subscribe("a", got)
    await hub.stop()

    async def publish_all() -> None:
        for number in range(2 * WINDOW):
            await one.publish("a", b"%d" % number)

    publishing = asyncio.create_task(publish_all())
    done, _ = await asyncio.wait((publishing,), timeout=0.2)
    assert not done
    await hub.start()
    await publishing
    assert await got.until(2 * WINDOW) == [b"%d" % number for number in range(2 * WINDOW)]


async def test_who_closes_ends_the_wait_of_whoever_publishes(hub: RunningHub, join: Join) -> None:
    synapse = await join(hub.url)
    await hub.stop()
    for _ in range(WINDOW):
        await synapse.publish("a", b"x")
    waiting = asyncio.create_task(synapse.publish("a", b"x"))
    await asyncio.wait((waiting,), timeout=0.05)
    await synapse.close()
    with pytest.raises(SynapseError, match="not connected"):
        async with asyncio.timeout(1):
            await waiting


async def test_a_hub_that_is_back_keeps_what_comes_before_those_that_subscribe(
    hub: RunningHub, join: Join, proxy: Proxy, taken: Callable[[], Taken]
) -> None:
    way = await proxy(hub.port)
    publisher, worker = await join(hub.url), await join(f"zmq://127.0.0.1:{way.own_port}")
    got, told, echo = taken(), taken(), taken()
    await worker.subscribe("work", got, queue_group="g")
    await publisher.subscribe("echo", echo)
    with way.stalled():
        await hub.stop()
        await hub.start()
        await publisher.publish("work", b"early", undelivered=told.told)
        await publisher.publish("echo", b"it is in the hub")
        await echo.until(1)
        assert (got.frames, told.frames) == ([], [])
    assert await got.until(1, within_s=1) == [b"early"]
    await publisher.publish("work", b"late", undelivered=told.told)
    assert await got.until(2) == [b"early", b"late"]
    assert told.frames == []


async def test_who_published_what_nobody_came_for_is_told_when_the_hub_has_settled(
    hub: RunningHub, join: Join, taken: Callable[[], Taken]
) -> None:
    synapse, told = await join(hub.url), taken()
    started = time.monotonic()
    await synapse.publish("work", b"x", undelivered=told.told)
    assert await told.until(1) == [b"no_consumers: x"]
    assert time.monotonic() - started < 1.5
    started = time.monotonic()
    await synapse.publish("work", b"y", undelivered=told.told)
    assert await told.until(2) == [b"no_consumers: x", b"no_consumers: y"]
    assert time.monotonic() - started < 0.25


async def test_what_is_in_work_goes_on_though_its_hub_is_gone(
    hub: RunningHub, join: Join, slow: Callable[[], Slow], taken: Callable[[], Taken]
) -> None:
    one, other = await join(hub.url), await join(hub.url)
    working, told = slow(), taken()
    await other.subscribe("work", working, queue_group="g")
    await one.publish("work", b"1", undelivered=told.told)
    await working.until(1)
    await hub.stop()
    await hub.start()
    working.release.set()
    # What the new hub hears of the old one's letters means nothing to it.
    await one.publish("work", b"2", undelivered=told.told)
    # The first one may come again, if the old hub had not acknowledged it.
    while working.frames[-1] != b"2":
        await working.until(len(working.frames) + 1)
    assert set(working.frames) == {b"1", b"2"}
    assert told.frames == []
    assert hub.hub.rejected == 0


async def test_what_nobody_came_back_for_is_not_given_to_somebody_new(
    hub: RunningHub, join: Join, taken: Callable[[], Taken]
) -> None:
    one, other = await join(hub.url), await join(hub.url)
    got, told = taken(), taken()
    await one.publish("a", b"before", undelivered=told.told)
    await one.subscribe("echo", got)
    await one.publish("echo", b"it is in the hub")
    await got.until(1)
    await other.subscribe("a", got)
    await one.publish("a", b"after")
    assert await told.until(1) == [b"no_consumers: before"]
    assert await got.until(2) == [b"it is in the hub", b"after"]


async def test_a_subscription_that_ends_while_the_hub_is_away_does_not_come_back(
    hub: RunningHub, join: Join, taken: Callable[[], Taken]
) -> None:
    synapse, got, told = await join(hub.url), taken(), taken()
    subscription = await synapse.subscribe("work", got, queue_group="g")
    await hub.stop()
    ending = asyncio.create_task(subscription.unsubscribe())
    await hub.start()
    await ending
    await synapse.publish("work", b"x", undelivered=told.told)
    assert await told.until(1) == [b"no_consumers: x"]
    assert got.frames == []


async def test_whoever_ends_a_subscription_does_not_wait_for_a_dead_hub(
    hub: RunningHub, join: Join, taken: Callable[[], Taken]
) -> None:
    synapse, got = await join(hub.url, connect_timeout_s=0.3), taken()
    subscription = await synapse.subscribe("a", got)
    await hub.stop()
    with pytest.raises(SynapseError, match=r"did not confirm b within 0\.3 s"):
        await synapse.subscribe("b", got)
    with pytest.raises(SynapseError, match="did not say"):
        await synapse.dead_letters()
    async with asyncio.timeout(1):
        await subscription.unsubscribe()
    await hub.start()
    await synapse.subscribe("c", got)
    for subject in ("a", "b", "c"):
        await synapse.publish(subject, subject.encode())
    assert await got.until(1) == [b"c"]
