"""What a peer had in work goes to another one when it is gone, and stays when it is only busy."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conftest import Join, RunningHub, Slow, Spawn, StartHub, Taken

LEASE_S = 1.0


async def line(process: Process) -> bytes:
    assert process.stdout is not None
    return (await process.stdout.readline()).strip()


@pytest.fixture
async def quick(start_hub: StartHub) -> RunningHub:
    return await start_hub(lease_s=LEASE_S)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "frozen"])
async def test_another_member_has_the_work_of_a_lost_one_within_the_lease_and_a_second(
    quick: RunningHub, join: Join, member: Spawn, taken: Callable[[], Taken], how: signal.Signals
) -> None:
    lost = await member(quick.url, "hang", LEASE_S)
    publisher, told, got = await join(quick.url, lease_s=LEASE_S), taken(), taken()
    for number in range(3):
        await publisher.publish("work", b"%d" % number, undelivered=told.told)
        assert await line(lost) == b"%d" % number
    other = await join(quick.url, lease_s=LEASE_S)
    await other.subscribe("work", got, queue_group="g")
    os.kill(lost.pid, how)
    started = time.monotonic()
    assert await got.until(3) == [b"0", b"1", b"2"]
    assert time.monotonic() - started < LEASE_S + 1
    assert told.frames == []


async def test_where_there_is_no_other_member_the_publisher_is_told_in_time(
    hub: RunningHub, join: Join, member: Spawn, taken: Callable[[], Taken]
) -> None:
    lost = await member(hub.url, "hang")
    publisher, told = await join(hub.url), taken()
    await publisher.publish("work", b"x", undelivered=told.told)
    await line(lost)
    lost.kill()
    started = time.monotonic()
    assert await told.until(1) == [b"lost: x"]
    assert time.monotonic() - started < 3.5


async def test_who_blocks_its_event_loop_for_longer_than_the_lease_keeps_its_work(
    quick: RunningHub, join: Join, member: Spawn, taken: Callable[[], Taken]
) -> None:
    busy = await member(quick.url, "block", LEASE_S)
    publisher, told, got = await join(quick.url, lease_s=LEASE_S), taken(), taken()
    await publisher.publish("work", b"x", undelivered=told.told)
    assert await line(busy) == b"x"
    other = await join(quick.url, lease_s=LEASE_S)
    await other.subscribe("work", got, queue_group="g")
    # Two and a half leases later.
    assert await line(busy) == b"done"
    await publisher.publish("work", b"y")
    await publisher.publish("work", b"z")
    await got.until(1)
    assert b"x" not in got.frames
    assert told.frames == []


async def test_what_kills_every_member_is_a_dead_letter(
    quick: RunningHub, join: Join, member: Spawn, taken: Callable[[], Taken]
) -> None:
    publisher, told = await join(quick.url, lease_s=LEASE_S), taken()
    members = [await member(quick.url, "hang", LEASE_S) for _ in range(3)]
    await publisher.publish("work", b"poison", undelivered=told.told)
    for each in members:
        assert await line(each) == b"poison"
        each.kill()
    assert await told.until(1) == [b"failed: poison"]
    (dead,) = await publisher.dead_letters()
    assert (dead.subject, dead.frame, dead.deliveries) == ("work", b"poison", 3)
    assert dead.reason == "its process is gone, or out of reach"


async def test_members_in_one_process_are_lost_together(
    quick: RunningHub, join: Join, taken: Callable[[], Taken]
) -> None:
    publisher, told = await join(quick.url, lease_s=LEASE_S), taken()
    leaving, worked_on = await join(quick.url, lease_s=LEASE_S), taken()
    never = asyncio.Event()

    def work(frame: bytes) -> Awaitable[Any]:
        worked_on(frame)
        return never.wait()

    for _ in range(3):
        await leaving.subscribe("work", work, queue_group="g")
    await publisher.publish("work", b"x", undelivered=told.told)
    await worked_on.until(1)
    await leaving.close()
    assert await told.until(1) == [b"lost: x"]
    assert worked_on.frames == [b"x"]
    assert await publisher.dead_letters() == []


async def test_what_a_member_that_leaves_was_done_with_comes_to_nobody_else(
    hub: RunningHub, join: Join, taken: Callable[[], Taken], slow: Callable[[], Slow]
) -> None:
    leaving, publisher, told, works = await join(hub.url), await join(hub.url), taken(), slow()
    subscription = await leaving.subscribe("work", works, queue_group="g")
    await publisher.publish("work", b"x", undelivered=told.told)
    await works.until(1)
    other = taken()
    await (await join(hub.url)).subscribe("work", other, queue_group="g")
    # As a Dendrite does that stops: it takes nothing more, finishes, and is gone at once.
    await subscription.unsubscribe()
    works.release.set()
    for _ in range(3):
        await asyncio.sleep(0)
    await leaving.close()
    await publisher.publish("work", b"y", undelivered=told.told)
    assert await other.until(1) == [b"y"]
    assert told.frames == []
