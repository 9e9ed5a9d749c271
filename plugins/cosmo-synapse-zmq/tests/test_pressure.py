"""Backpressure: a slow member makes publishers wait, and a slow subscriber loses and counts frames."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

from cosmo_core import HeldFrame
from cosmo_synapse_zmq.synapse import WINDOW
from cosmo_testing.proxy import TcpProxy

if TYPE_CHECKING:
    from tests.conftest import Connect, Recorder, RunningHub, Slow, StartHub

    from cosmo_synapse_zmq import ZmqSynapse

    Proxy = Callable[[int], Awaitable[TcpProxy]]
    Eventually = Callable[..., Awaitable[None]]

MAX_WAITING = 16
LONG_S = 60.0


class Echo:
    """Publishes to itself. When the frame arrives, the hub has handled all commands sent before."""

    def __init__(self, synapse: ZmqSynapse, got: Recorder) -> None:
        self._synapse = synapse
        self._got = got

    async def __call__(self) -> None:
        await self._synapse.publish("echo", b"")
        await self._got.until(len(self._got.frames) + 1)


@pytest.fixture
def echo(recorder: Callable[[], Recorder]) -> Callable[[ZmqSynapse], Awaitable[Echo]]:
    async def start(synapse: ZmqSynapse) -> Echo:
        got = recorder()
        await synapse.subscribe("echo", got)
        return Echo(synapse, got)

    return start


async def test_a_publisher_waits_while_the_queue_is_full(
    start_hub: StartHub,
    connect: Connect,
    slow: Callable[[], Slow],
    echo: Callable[[ZmqSynapse], Awaitable[Echo]],
) -> None:
    running = await start_hub(max_waiting=MAX_WAITING)
    publisher, worker = await connect(running.url), await connect(running.url, max_in_flight=1)
    working, published, go = slow(), 0, await echo(publisher)
    await worker.subscribe("work", working, queue_group="g")

    async def publish_all() -> None:
        nonlocal published
        for published in range(1, 3001):
            await publisher.publish("work", b"%d" % published)

    publishing = asyncio.create_task(publish_all())
    before = 0
    # Other subjects are not paused; a few round trips on one give the hub time to pause this one.
    while before == 0 or published != before:
        before = published
        for _ in range(5):
            await go()
    assert MAX_WAITING < published <= MAX_WAITING + WINDOW
    working.release.set()
    await publishing
    assert await working.until(3000) == [b"%d" % number for number in range(1, 3001)]


async def test_a_publisher_with_a_callback_does_not_wait(
    start_hub: StartHub, connect: Connect, slow: Callable[[], Slow], recorder: Callable[[], Recorder]
) -> None:
    running = await start_hub(max_waiting=MAX_WAITING)
    publisher, worker = await connect(running.url), await connect(running.url, max_in_flight=10)
    working, reports = slow(), recorder()
    await worker.subscribe("work", working, queue_group="g")
    for number in range(500):
        await publisher.publish("work", b"%d" % number, undelivered=reports.report)
    assert await reports.until(490) == [b"overloaded: %d" % number for number in range(10, 500)]
    assert await working.until(10) == [b"%d" % number for number in range(10)]


async def test_a_cancelled_publish_sends_nothing(
    start_hub: StartHub,
    connect: Connect,
    slow: Callable[[], Slow],
    echo: Callable[[ZmqSynapse], Awaitable[Echo]],
) -> None:
    running = await start_hub(max_waiting=1)
    publisher, worker = await connect(running.url), await connect(running.url, max_in_flight=1)
    working, go = slow(), await echo(publisher)
    await worker.subscribe("work", working, queue_group="g")
    for _ in range(3):
        await publisher.publish("work", b"in time")
    await go()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await publisher.publish("work", b"never")
    working.release.set()
    await publisher.publish("work", b"end")
    assert await working.until(4) == [*3 * [b"in time"], b"end"]


async def test_a_frame_that_waited_has_its_waiting_time(
    hub: RunningHub, connect: Connect, slow: Callable[[], Slow], echo: Callable[[ZmqSynapse], Awaitable[Echo]]
) -> None:
    publisher, worker = await connect(hub.url), await connect(hub.url, max_in_flight=1)
    working, go = slow(), await echo(publisher)
    await worker.subscribe("work", working, queue_group="g")
    await publisher.publish("work", b"at once")
    started = time.monotonic()
    await publisher.publish("work", b"later")
    await go()
    since = time.monotonic()
    while time.monotonic() - since < 0.1:
        await go()
    working.release.set()
    first, second = await working.until(2)
    assert not isinstance(first, HeldFrame)
    assert isinstance(second, HeldFrame)
    assert 0.09 < second.held_s <= time.monotonic() - started


async def test_a_frame_that_waited_can_be_published_again(
    hub: RunningHub, connect: Connect, recorder: Callable[[], Recorder]
) -> None:
    publisher, receiver, got = await connect(hub.url), await connect(hub.url), recorder()
    await receiver.subscribe("again", got)
    await publisher.publish("again", HeldFrame(b"waited", 1.5))
    publisher.publish_from_thread("again", HeldFrame(b"from a thread", 1.5))
    await publisher.publish("again", b"next")
    assert sorted(await got.until(3)) == [b"from a thread", b"next", b"waited"]


@pytest.mark.parametrize(
    ("limit", "value", "size"), [("MAX_UNACKNOWLEDGED", 50, 10), ("MAX_BYTES", 100_000, 5000)]
)
async def test_the_hub_drops_and_counts_frames_of_a_stalled_peer(
    start_hub: StartHub,
    connect: Connect,
    proxy: Proxy,
    recorder: Callable[[], Recorder],
    echo: Callable[[ZmqSynapse], Awaitable[Echo]],
    eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
    limit: str,
    value: int,
    size: int,
) -> None:
    monkeypatch.setattr(f"cosmo_synapse_zmq.session.{limit}", value)
    # With this lease, a stalled peer is not lost.
    hub = await start_hub(lease_s=LONG_S)
    way = await proxy(hub.port)
    publisher, url = await connect(hub.url), f"zmq://127.0.0.1:{way.own_port}"
    stalled = await connect(url, lease_s=LONG_S)
    got, other, go = recorder(), recorder(), await echo(publisher)
    slow = await stalled.subscribe("news", got)
    quick = await publisher.subscribe("news", other)

    async def flood() -> None:
        with way.stalled():
            for _ in range(50):
                for _ in range(10):
                    await publisher.publish("news", bytes(size))
                await go()

    await flood()
    await eventually(lambda: len(got.frames) + slow.dropped == 500)
    assert 0 < slow.dropped < 500
    assert (len(other.frames), quick.dropped) == (500, 0)
    # The answer shows that the hub has handled the acknowledgements: until then it may drop frames.
    await stalled.dead_letters()
    await publisher.publish("news", b"end")
    await eventually(lambda: got.frames[-1] == b"end")
    assert len(got.frames) + slow.dropped == 501

    # The next hub counts from 0, but `dropped` continues.
    dropped = slow.dropped
    await publisher.dead_letters()
    await hub.stop()
    await hub.start()
    await stalled.dead_letters()
    assert slow.dropped == dropped
    await flood()
    await eventually(lambda: len(got.frames) + slow.dropped == 1001)
    assert dropped < slow.dropped < 1001


async def test_frames_beyond_max_pending_are_dropped_and_counted(
    hub: RunningHub, connect: Connect, slow: Callable[[], Slow], echo: Callable[[ZmqSynapse], Awaitable[Echo]]
) -> None:
    synapse = await connect(hub.url, max_in_flight=10, max_pending=20)
    working, go = slow(), await echo(synapse)
    subscription = await synapse.subscribe("news", working)
    for number in range(100):
        await synapse.publish("news", b"%d" % number)
    await go()
    assert subscription.dropped == 70
    working.release.set()
    # The oldest waiting frames were dropped.
    assert await working.until(30) == [b"%d" % number for number in [*range(10), *range(80, 100)]]


async def test_hundreds_of_subscriptions_are_confirmed_before_the_first_frame(
    hub: RunningHub, connect: Connect, recorder: Callable[[], Recorder]
) -> None:
    publisher = await connect(hub.url)
    for number in range(100):
        got = recorder()
        synapse = await connect(hub.url)
        await synapse.subscribe(f"a.{number}", got)
        await publisher.publish(f"a.{number}", b"x")
        assert await got.until(1) == [b"x"]
