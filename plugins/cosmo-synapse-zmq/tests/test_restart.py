"""Hub restarts: peers reconnect, subscribe again, and resend what was not acknowledged."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

from cosmo_core import SynapseError
from cosmo_synapse_zmq.hub import HEARTBEAT_S
from cosmo_synapse_zmq.synapse import WINDOW
from cosmo_testing.proxy import TcpProxy

if TYPE_CHECKING:
    from tests.conftest import Connect, Recorder, RunningHub, Slow

    Proxy = Callable[[int], Awaitable[TcpProxy]]


async def test_subscriptions_survive_and_frames_published_meanwhile_are_sent(
    hub: RunningHub, connect: Connect, recorder: Callable[[], Recorder]
) -> None:
    one, other = await connect(hub.url), await connect(hub.url)
    got, shared = recorder(), recorder()
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


async def test_publish_raises_when_the_window_is_full_and_the_hub_is_gone(
    hub: RunningHub, connect: Connect
) -> None:
    synapse = await connect(hub.url, connect_timeout_s=0.3)
    await hub.stop()
    async with asyncio.timeout(2):
        for _ in range(WINDOW):
            await synapse.publish("a", b"x")
    started = time.monotonic()
    with pytest.raises(
        SynapseError,
        match=r"cannot publish on a: .* could not be reached for 0\.3 s, and 1024 commands are waiting",
    ):
        await synapse.publish("a", b"x")
    assert 0.25 < time.monotonic() - started < 1.3


async def test_a_waiting_publisher_continues_when_the_hub_is_back(
    hub: RunningHub, connect: Connect, recorder: Callable[[], Recorder]
) -> None:
    one, other = await connect(hub.url), await connect(hub.url, max_pending=2 * WINDOW)
    got = recorder()
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


async def test_close_wakes_a_waiting_publisher(hub: RunningHub, connect: Connect) -> None:
    synapse = await connect(hub.url)
    await hub.stop()
    for _ in range(WINDOW):
        await synapse.publish("a", b"x")
    waiting = asyncio.ensure_future(synapse.publish("a", b"x"))
    await asyncio.wait((waiting,), timeout=0.05)
    await synapse.close()
    with pytest.raises(SynapseError, match="not connected"):
        async with asyncio.timeout(1):
            await waiting


async def test_a_new_hub_keeps_frames_until_their_subscribers_reconnect(
    hub: RunningHub, connect: Connect, proxy: Proxy, recorder: Callable[[], Recorder]
) -> None:
    way = await proxy(hub.port)
    publisher, worker = await connect(hub.url), await connect(f"zmq://127.0.0.1:{way.own_port}")
    got, reports, echo = recorder(), recorder(), recorder()
    await worker.subscribe("work", got, queue_group="g")
    await publisher.subscribe("echo", echo)
    with way.stalled():
        await hub.stop()
        await hub.start()
        await publisher.publish("work", b"early", undelivered=reports.report)
        await publisher.publish("echo", b"it is in the hub")
        await echo.until(1)
        assert (got.frames, reports.frames) == ([], [])
    assert await got.until(1, within_s=1) == [b"early"]
    await publisher.publish("work", b"late", undelivered=reports.report)
    assert await got.until(2) == [b"early", b"late"]
    assert reports.frames == []


async def test_undelivered_is_called_before_the_next_frame_when_there_is_no_subscriber(
    hub: RunningHub, connect: Connect, recorder: Callable[[], Recorder]
) -> None:
    synapse, reports, echo = await connect(hub.url), recorder(), recorder()
    await synapse.subscribe("echo", echo)
    for number in range(1, 3):
        await synapse.publish("work", b"%d" % number, undelivered=reports.report)
        await synapse.publish("echo", b"the hub has handled the frame before")
        await echo.until(number)
        assert reports.frames == [b"no_consumers: %d" % each for each in range(1, number + 1)]


async def test_a_handler_continues_when_its_hub_is_gone(
    hub: RunningHub, connect: Connect, slow: Callable[[], Slow], recorder: Callable[[], Recorder]
) -> None:
    one, other = await connect(hub.url), await connect(hub.url)
    working, reports = slow(), recorder()
    await other.subscribe("work", working, queue_group="g")
    await one.publish("work", b"1", undelivered=reports.report)
    await working.until(1)
    await hub.stop()
    await hub.start()
    working.release.set()
    # The new hub ignores acknowledgements of the old hub's deliveries.
    await one.publish("work", b"2", undelivered=reports.report)
    # The first frame may be delivered twice, if the old hub had not acknowledged it.
    while working.frames[-1] != b"2":
        await working.until(len(working.frames) + 1)
    assert set(working.frames) == {b"1", b"2"}
    assert reports.frames == []
    assert hub.hub.rejected == 0


async def test_an_early_frame_is_not_delivered_to_a_new_subscriber(
    hub: RunningHub, connect: Connect, recorder: Callable[[], Recorder]
) -> None:
    one, other = await connect(hub.url), await connect(hub.url)
    got, reports = recorder(), recorder()
    await one.publish("a", b"before", undelivered=reports.report)
    await one.subscribe("echo", got)
    await one.publish("echo", b"it is in the hub")
    await got.until(1)
    await other.subscribe("a", got)
    await one.publish("a", b"after")
    assert await reports.until(1) == [b"no_consumers: before"]
    assert await got.until(2) == [b"it is in the hub", b"after"]


async def test_a_subscription_that_ends_while_the_hub_is_down_is_not_restored(
    hub: RunningHub, connect: Connect, recorder: Callable[[], Recorder]
) -> None:
    synapse, got, reports = await connect(hub.url), recorder(), recorder()
    subscription = await synapse.subscribe("work", got, queue_group="g")
    await hub.stop()
    ending = asyncio.create_task(subscription.unsubscribe())
    await hub.start()
    await ending
    await synapse.publish("work", b"x", undelivered=reports.report)
    assert await reports.until(1) == [b"no_consumers: x"]
    assert got.frames == []


async def test_unsubscribe_does_not_wait_for_a_dead_hub(
    hub: RunningHub, connect: Connect, recorder: Callable[[], Recorder]
) -> None:
    synapse, got = await connect(hub.url, connect_timeout_s=0.3), recorder()
    subscription = await synapse.subscribe("a", got)
    await hub.stop()
    with pytest.raises(SynapseError, match=r"did not confirm the subscription to b within 0\.3 s"):
        await synapse.subscribe("b", got)
    with pytest.raises(SynapseError, match="did not send its dead letters"):
        await synapse.dead_letters()
    async with asyncio.timeout(1):
        await subscription.unsubscribe()
    await hub.start()
    await synapse.subscribe("c", got)
    for subject in ("a", "b", "c"):
        await synapse.publish(subject, subject.encode())
    assert await got.until(1) == [b"c"]


class Clock:
    """The clock of a hub."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.mark.parametrize("back_after_s", [0.3, 0.95])
async def test_a_worker_that_is_back_within_a_second_gets_the_frames_of_that_second(
    hub: RunningHub,
    connect: Connect,
    proxy: Proxy,
    recorder: Callable[[], Recorder],
    monkeypatch: pytest.MonkeyPatch,
    back_after_s: float,
) -> None:
    clock = Clock()
    monkeypatch.setattr("cosmo_synapse_zmq.hub.time", clock)
    way = await proxy(hub.port)
    publisher, worker = await connect(hub.url), await connect(f"zmq://127.0.0.1:{way.own_port}")
    got, reports, beats = recorder(), recorder(), recorder()
    await worker.subscribe("work", got, queue_group="g")
    await publisher.subscribe("beat", beats)
    with way.stalled():
        await hub.stop()
        await hub.start()
        for number in range(20):
            await publisher.publish("work", b"%d" % number, undelivered=reports.report)
        clock.now += back_after_s
        await two_heartbeats()
        await publisher.publish("beat", b"the hub has handled all frames before")
        await beats.until(1)
        assert (got.frames, reports.frames) == ([], [])
    assert await got.until(20) == [b"%d" % number for number in range(20)]
    assert reports.frames == []


async def test_the_frames_of_a_worker_that_is_not_back_after_a_second_are_undelivered(
    hub: RunningHub, connect: Connect, recorder: Callable[[], Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr("cosmo_synapse_zmq.hub.time", clock)
    publisher, reports, beats = await connect(hub.url), recorder(), recorder()
    await publisher.subscribe("beat", beats)
    await hub.stop()
    await hub.start()
    await publisher.publish("work", b"x", undelivered=reports.report)
    await publisher.publish("beat", b"the hub has handled the frame before")
    await beats.until(1)
    assert reports.frames == []
    clock.now += 1.0
    assert await reports.until(1) == [b"no_consumers: x"]


async def two_heartbeats() -> None:
    """Let the hub look at its clock."""
    await asyncio.sleep(2 * HEARTBEAT_S)


async def test_a_lost_hub_is_logged_once(
    hub: RunningHub, connect: Connect, caplog: pytest.LogCaptureFixture, eventually: Any
) -> None:
    synapse = await connect(hub.url, connect_timeout_s=0.5)
    await hub.stop()
    await eventually(lambda: "cannot be reached" in caplog.text)
    with pytest.raises(SynapseError):
        await synapse.dead_letters()
    await hub.start()
    await synapse.dead_letters()
    assert [record.getMessage() for record in caplog.records if record.name == "cosmo_synapse_zmq"] == [
        f"the hub at {hub.url} cannot be reached; reconnecting"
    ]
