"""Who is too slow holds up those that send him work, and loses, counted, what is for everybody."""

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
    from cosmo_synapse_zmq import ZmqSynapse
    from tests.conftest import Join, RunningHub, Slow, StartHub, Taken

    Proxy = Callable[[int], Awaitable[TcpProxy]]
    Eventually = Callable[..., Awaitable[None]]

MAX_WAITING = 16
LONG_S = 60.0


class Echo:
    """Publishes to itself: when it comes back, everything that was said before was heard by the hub."""

    def __init__(self, synapse: ZmqSynapse, got: Taken) -> None:
        self._synapse = synapse
        self._got = got

    async def __call__(self) -> None:
        await self._synapse.publish("echo", b"")
        await self._got.until(len(self._got.frames) + 1)


@pytest.fixture
def echo(taken: Callable[[], Taken]) -> Callable[[ZmqSynapse], Awaitable[Echo]]:
    async def start(synapse: ZmqSynapse) -> Echo:
        got = taken()
        await synapse.subscribe("echo", got)
        return Echo(synapse, got)

    return start


async def test_a_publisher_is_held_while_there_is_no_room_and_goes_on_when_there_is(
    start_hub: StartHub, join: Join, slow: Callable[[], Slow], echo: Callable[[ZmqSynapse], Awaitable[Echo]]
) -> None:
    running = await start_hub(max_waiting=MAX_WAITING)
    publisher, worker = await join(running.url), await join(running.url, max_in_flight=1)
    working, published, go = slow(), 0, await echo(publisher)
    await worker.subscribe("work", working, queue_group="g")

    async def publish_all() -> None:
        nonlocal published
        for published in range(1, 3001):
            await publisher.publish("work", b"%d" % published)

    publishing = asyncio.create_task(publish_all())
    before = 0
    # Another subject is not held, and what goes to and fro on it is enough time for this one to be.
    while before == 0 or published != before:
        before = published
        for _ in range(5):
            await go()
    assert MAX_WAITING < published <= MAX_WAITING + WINDOW
    working.release.set()
    await publishing
    assert await working.until(3000) == [b"%d" % number for number in range(1, 3001)]


async def test_who_is_told_instead_of_waiting_is_not_held(
    start_hub: StartHub, join: Join, slow: Callable[[], Slow], taken: Callable[[], Taken]
) -> None:
    running = await start_hub(max_waiting=MAX_WAITING)
    publisher, worker = await join(running.url), await join(running.url, max_in_flight=10)
    working, told = slow(), taken()
    await worker.subscribe("work", working, queue_group="g")
    for number in range(500):
        await publisher.publish("work", b"%d" % number, undelivered=told.told)
    assert await told.until(490) == [b"overloaded: %d" % number for number in range(10, 500)]
    assert await working.until(10) == [b"%d" % number for number in range(10)]


async def test_who_stops_waiting_for_room_has_published_nothing(
    start_hub: StartHub, join: Join, slow: Callable[[], Slow], echo: Callable[[ZmqSynapse], Awaitable[Echo]]
) -> None:
    running = await start_hub(max_waiting=1)
    publisher, worker = await join(running.url), await join(running.url, max_in_flight=1)
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


async def test_what_waited_says_for_how_long(
    hub: RunningHub, join: Join, slow: Callable[[], Slow], echo: Callable[[ZmqSynapse], Awaitable[Echo]]
) -> None:
    publisher, worker = await join(hub.url), await join(hub.url, max_in_flight=1)
    working, go = slow(), await echo(publisher)
    await worker.subscribe("work", working, queue_group="g")
    await publisher.publish("work", b"at once")
    await publisher.publish("work", b"later")
    await go()
    since = time.monotonic()
    while time.monotonic() - since < 0.1:
        await go()
    working.release.set()
    first, second = await working.until(2)
    assert not isinstance(first, HeldFrame)
    assert isinstance(second, HeldFrame)
    assert 0.09 < second.held_s < time.monotonic() - since + 0.2


@pytest.mark.parametrize(
    ("limit", "value", "size"), [("MAX_UNACKNOWLEDGED", 50, 10), ("MAX_BYTES", 100_000, 5000)]
)
async def test_what_a_stalled_peer_leaves_unread_is_dropped_in_the_hub_and_counted(
    start_hub: StartHub,
    join: Join,
    proxy: Proxy,
    taken: Callable[[], Taken],
    echo: Callable[[ZmqSynapse], Awaitable[Echo]],
    eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
    limit: str,
    value: int,
    size: int,
) -> None:
    monkeypatch.setattr(f"cosmo_synapse_zmq.session.{limit}", value)
    # It is stalled, and not lost.
    hub = await start_hub(lease_s=LONG_S)
    way = await proxy(hub.port)
    publisher, url = await join(hub.url), f"zmq://127.0.0.1:{way.own_port}"
    stalled = await join(url, lease_s=LONG_S)
    got, other, go = taken(), taken(), await echo(publisher)
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
    await publisher.publish("news", b"end")
    await eventually(lambda: got.frames[-1] == b"end")
    assert len(got.frames) + slow.dropped == 501

    # The next hub begins to count anew, but whoever reads the number does not.
    dropped = slow.dropped
    await publisher.dead_letters()
    await hub.stop()
    await hub.start()
    await stalled.dead_letters()
    assert slow.dropped == dropped
    await flood()
    await eventually(lambda: len(got.frames) + slow.dropped == 1001)
    assert dropped < slow.dropped < 1001


async def test_what_a_handler_has_no_room_for_is_dropped_and_counted(
    hub: RunningHub, join: Join, slow: Callable[[], Slow], echo: Callable[[ZmqSynapse], Awaitable[Echo]]
) -> None:
    synapse = await join(hub.url, max_in_flight=10, max_pending=20)
    working, go = slow(), await echo(synapse)
    subscription = await synapse.subscribe("news", working)
    for number in range(100):
        await synapse.publish("news", b"%d" % number)
    await go()
    assert subscription.dropped == 70
    working.release.set()
    # The oldest of those that waited are gone.
    assert await working.until(30) == [b"%d" % number for number in [*range(10), *range(80, 100)]]


async def test_hundreds_of_subscribers_are_confirmed_before_the_first_frame(
    hub: RunningHub, join: Join, taken: Callable[[], Taken]
) -> None:
    publisher = await join(hub.url)
    for number in range(100):
        got = taken()
        synapse = await join(hub.url)
        await synapse.subscribe(f"a.{number}", got)
        await publisher.publish(f"a.{number}", b"x")
        assert await got.until(1) == [b"x"]
