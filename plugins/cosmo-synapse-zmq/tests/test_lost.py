"""Redelivery: a lost peer's deliveries go to another one, and a busy peer keeps its own."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

from cosmo_synapse_zmq import wire

if TYPE_CHECKING:
    from tests.conftest import Connect, RawPeer, Recorder, RunningHub, Slow, Spawn, StartHub

LEASE_S = 1.0


async def line(process: Process) -> bytes:
    assert process.stdout is not None
    return (await process.stdout.readline()).strip()


@pytest.fixture
async def quick(start_hub: StartHub) -> RunningHub:
    return await start_hub(lease_s=LEASE_S)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "frozen"])
async def test_a_lost_members_deliveries_are_redelivered_within_the_lease_plus_a_second(
    quick: RunningHub, connect: Connect, member: Spawn, recorder: Callable[[], Recorder], how: signal.Signals
) -> None:
    lost = await member(quick.url, "hang", LEASE_S)
    publisher, reports, got = await connect(quick.url, lease_s=LEASE_S), recorder(), recorder()
    for number in range(3):
        await publisher.publish("work", b"%d" % number, undelivered=reports.report)
        assert await line(lost) == b"%d" % number
    other = await connect(quick.url, lease_s=LEASE_S)
    await other.subscribe("work", got, queue_group="g")
    os.kill(lost.pid, how)
    started = time.monotonic()
    assert await got.until(3) == [b"0", b"1", b"2"]
    assert time.monotonic() - started < LEASE_S + 1
    assert reports.frames == []


async def test_without_another_member_undelivered_is_called_in_time(
    hub: RunningHub, connect: Connect, member: Spawn, recorder: Callable[[], Recorder]
) -> None:
    lost = await member(hub.url, "hang")
    publisher, reports = await connect(hub.url), recorder()
    await publisher.publish("work", b"x", undelivered=reports.report)
    await line(lost)
    lost.kill()
    started = time.monotonic()
    assert await reports.until(1) == [b"lost: x"]
    assert time.monotonic() - started < 3.5


async def test_a_member_that_blocks_its_event_loop_keeps_its_deliveries(
    quick: RunningHub, connect: Connect, member: Spawn, recorder: Callable[[], Recorder]
) -> None:
    busy = await member(quick.url, "block", LEASE_S)
    publisher, reports, got = await connect(quick.url, lease_s=LEASE_S), recorder(), recorder()
    await publisher.publish("work", b"x", undelivered=reports.report)
    assert await line(busy) == b"x"
    other = await connect(quick.url, lease_s=LEASE_S)
    await other.subscribe("work", got, queue_group="g")
    # Two and a half leases later.
    assert await line(busy) == b"done"
    await publisher.publish("work", b"y")
    await publisher.publish("work", b"z")
    await got.until(1)
    assert b"x" not in got.frames
    assert reports.frames == []


async def test_a_frame_that_kills_every_member_becomes_a_dead_letter(
    quick: RunningHub, connect: Connect, member: Spawn, recorder: Callable[[], Recorder]
) -> None:
    publisher, reports = await connect(quick.url, lease_s=LEASE_S), recorder()
    members = [await member(quick.url, "hang", LEASE_S) for _ in range(3)]
    await publisher.publish("work", b"poison", undelivered=reports.report)
    for each in members:
        assert await line(each) == b"poison"
        each.kill()
    assert await reports.until(1) == [b"failed: poison"]
    (dead,) = await publisher.dead_letters()
    assert (dead.subject, dead.frame, dead.deliveries) == ("work", b"poison", 3)
    assert dead.reason == "its process is gone or unreachable"


async def test_members_in_one_process_are_lost_together(
    quick: RunningHub, connect: Connect, recorder: Callable[[], Recorder]
) -> None:
    publisher, reports = await connect(quick.url, lease_s=LEASE_S), recorder()
    leaving, worked_on = await connect(quick.url, lease_s=LEASE_S), recorder()
    never = asyncio.Event()

    def work(frame: bytes) -> Awaitable[Any]:
        worked_on(frame)
        return never.wait()

    for _ in range(3):
        await leaving.subscribe("work", work, queue_group="g")
    await publisher.publish("work", b"x", undelivered=reports.report)
    await worked_on.until(1)
    await leaving.close()
    assert await reports.until(1) == [b"lost: x"]
    assert worked_on.frames == [b"x"]
    assert await publisher.dead_letters() == []


async def test_a_leaving_member_acknowledges_before_it_is_gone(
    hub: RunningHub, connect: Connect, recorder: Callable[[], Recorder], slow: Callable[[], Slow]
) -> None:
    leaving, publisher, reports, works = await connect(hub.url), await connect(hub.url), recorder(), slow()
    subscription = await leaving.subscribe("work", works, queue_group="g")
    await publisher.publish("work", b"x", undelivered=reports.report)
    await works.until(1)
    other = recorder()
    await (await connect(hub.url)).subscribe("work", other, queue_group="g")
    # This is how a Dendrite stops: it unsubscribes, finishes its work, and closes at once.
    await subscription.unsubscribe()
    works.release.set()
    for _ in range(3):
        await asyncio.sleep(0)
    await leaving.close()
    await publisher.publish("work", b"y", undelivered=reports.report)
    assert await other.until(1) == [b"y"]
    assert reports.frames == []


@pytest.mark.parametrize("how", ["leave", "another session"])
async def test_a_delivery_does_not_go_to_another_subscription_of_a_lost_peer(
    hub: RunningHub,
    connect: Connect,
    raw_peer: Callable[..., RawPeer],
    recorder: Callable[[], Recorder],
    how: str,
) -> None:
    lost, publisher, reports = raw_peer(hub.url), await connect(hub.url), recorder()
    await lost.send_hello()
    await lost.send(wire.PeerData(1, 0, [wire.Subscribe(sub, "work", "g", 10) for sub in range(1, 5)]))
    # The answer to Hello shows that the hub has handled them.
    await lost.send_hello()
    for number in range(3):
        await publisher.publish("work", b"%d" % number, undelivered=reports.report)
    await publisher.dead_letters()
    if how == "leave":
        await lost.send(wire.PeerData(2, 0, [wire.Leave()]))
    else:
        await lost.send_hello(b"16 bytes, others")
    assert await reports.until(3) == [b"lost: 0", b"lost: 1", b"lost: 2"]
    # One delivery each: a second one would have gone to a peer that is gone.
    assert await publisher.dead_letters() == []
