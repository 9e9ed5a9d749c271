"""Faults: killed members, killed servers, and blocked event loops."""

from __future__ import annotations

import asyncio
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from cosmo_core import SynapseError

DURABLE = "?durable=true&ack_wait_s=1&retry_s=0.05"
Spawn = Callable[..., Awaitable[Process]]


@pytest.fixture
async def spawn() -> AsyncIterator[Spawn]:
    """Start members in new processes, and stop them."""
    processes: list[Process] = []

    async def start(url: str, behaviour: str) -> Process:
        script = Path(__file__).with_name("peer.py")
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(script), url, behaviour, stdout=PIPE
        )
        processes.append(process)
        assert await read_line(process) == "ready"
        return process

    yield start
    for process in processes:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def read_line(process: Process, within_s: float = 15) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(within_s):
        return (await process.stdout.readline()).decode().strip()


async def publish_until_received(synapse: Any, got: Any, within_s: float) -> None:
    """Publish until a frame arrives."""
    before = len(got.frames)
    async with asyncio.timeout(within_s):
        while True:
            await synapse.publish("a", b"again")
            try:
                await got.until(before + 1, within_s=0.05)
            except TimeoutError:
                continue
            return


@pytest.mark.parametrize("how", ["kill", "terminate"])
async def test_frames_arrive_within_two_seconds_of_a_server_restart(
    start: Any, connect: Any, recorder: Any, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = start()
    one, other = await connect(server), await connect(server)
    got, shared = recorder(), recorder()
    await other.subscribe("a", got)
    ended = await other.subscribe("a", shared)
    await one.publish("a", b"before")
    await got.until(1)
    getattr(server, how)()
    # Unsubscribing must not wait for a server that is gone.
    async with asyncio.timeout(4):
        await ended.unsubscribe()
    for _ in range(5):
        await one.publish("a", b"meanwhile")
    with pytest.raises(TimeoutError):
        await got.until(7, within_s=0.5)
    server.restart()
    await publish_until_received(one, got, within_s=2)
    assert shared.frames in ([b"before"], [])
    assert len(caplog.records) < 20


async def test_the_buffer_for_a_server_that_is_gone_is_bounded(start: Any, connect: Any) -> None:
    server = start()
    synapse = await connect(server)
    server.kill()

    async def flood() -> None:
        async with asyncio.timeout(5):
            for _ in range(30):
                await synapse.publish("a", bytes(1_000_000))

    with pytest.raises(SynapseError, match="the buffer of unsent data is full"):
        await flood()
    started = time.monotonic()
    with pytest.raises(SynapseError):
        await synapse.subscribe("b", print)
    assert time.monotonic() - started < 5
    await synapse.close()


async def test_no_stored_frame_is_lost_when_the_server_is_killed(
    store: Any, connect: Any, recorder: Any
) -> None:
    one, other = await connect(store, DURABLE), await connect(store, DURABLE)
    got, acknowledged = recorder(), list[bytes]()
    await other.subscribe("work", got, queue_group="g")

    async def publish(number: int) -> None:
        await one.publish("work", b"%d" % number, undelivered=got.report, message_id=f"id{number}")
        acknowledged.append(b"%d" % number)

    async def publish_all(numbers: range) -> None:
        for number in numbers:
            await publish(number)

    publishing = [asyncio.create_task(publish_all(range(at, 2000, 20))) for at in range(20)]
    await got.until(300)
    store.kill()
    with pytest.raises(TimeoutError):
        await got.until(2000, within_s=0.5)
    store.restart()
    async with asyncio.timeout(15):
        await asyncio.gather(*publishing)
        while set(acknowledged) - set(got.frames):
            await got.until(len(got.frames) + 1)
    assert len(acknowledged) == 2000


async def test_a_killed_members_frames_are_redelivered_within_the_lease_plus_a_second(
    store: Any, connect: Any, recorder: Any, spawn: Spawn
) -> None:
    synapse = await connect(store, DURABLE)
    got = recorder()
    lost = await spawn(store.url + DURABLE, "hang")
    for number in range(50):
        await synapse.publish("work", b"%d" % number, undelivered=got.report)
    for number in range(50):
        assert await read_line(lost) == str(number)
    await synapse.subscribe("work", got, queue_group="g")
    lost.kill()
    assert synapse.guarantees.takeover_s == 2
    await got.until(50, within_s=2)
    assert sorted(map(int, got.frames)) == list(range(50))


async def test_a_member_with_a_blocked_event_loop_keeps_its_lease(
    store: Any, connect: Any, recorder: Any, spawn: Spawn
) -> None:
    synapse = await connect(store, DURABLE)
    got = recorder()
    blocked = await spawn(store.url + DURABLE, "block")
    await synapse.publish("work", b"long", undelivered=got.report)
    assert await read_line(blocked) == "long"
    await synapse.subscribe("work", got, queue_group="g")
    assert await read_line(blocked) == "done"
    with pytest.raises(TimeoutError):
        await got.until(1, within_s=1.5)


async def test_a_frame_that_kills_every_member_becomes_a_dead_letter(
    store: Any, connect: Any, recorder: Any, spawn: Spawn
) -> None:
    synapse = await connect(store, DURABLE)
    reports, got = recorder(), recorder()
    member = await spawn(store.url + DURABLE, "hang")
    await synapse.publish("work", b"poison", undelivered=reports.report)
    for _ in range(2):
        assert await read_line(member) == "poison"
        member.kill()
        member = await spawn(store.url + DURABLE, "hang")
    assert await read_line(member) == "poison"
    member.kill()
    await synapse.subscribe("work", got, queue_group="g")
    assert await reports.until(1) == [b"failed: poison"]
    assert got.frames == []
    (dead,) = await synapse.dead_letters()
    assert (dead.frame, dead.deliveries) == (b"poison", 3)
    assert dead.reason == "its member was lost"


async def test_random_bytes_on_the_port_do_not_affect_others(
    server: Any, connect: Any, recorder: Any
) -> None:
    synapse = await connect(server)
    got = recorder()
    await synapse.subscribe(">", got)
    for seed in range(50):
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(bytes((seed * 31 + at * 17) % 256 for at in range(500)))
        writer.close()
    await synapse.publish("a", b"end")
    assert await got.until(1) == [b"end"]


async def test_publish_raises_if_the_server_does_not_confirm(store: Any, connect: Any, recorder: Any) -> None:
    synapse = await connect(store, "?durable=true&store_timeout_s=0.5")
    await synapse.subscribe("work", print, queue_group="g")
    store.kill()
    with pytest.raises(SynapseError, match=r"did not confirm within 0\.5 s that the frame on work is stored"):
        await synapse.publish("work", b"", undelivered=recorder().report)
