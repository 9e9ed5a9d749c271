"""Frames that wait for queue groups: each publisher has a share of the space, and all have a limit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosmo_core.routing import Delivery
from cosmo_synapse_zmq import wire
from cosmo_synapse_zmq.waiting import WaitingFrames

if TYPE_CHECKING:
    from tests.conftest import Connect, RawPeer, Recorder, RunningHub, Slow

    from cosmo_synapse_zmq import ZmqSynapse

    RawConnect = Callable[..., RawPeer]
    Eventually = Callable[..., Awaitable[None]]
    StartWorker = Callable[[], Awaitable[tuple[ZmqSynapse, Slow]]]

WAITING = "cosmo_synapse_zmq.waiting."
HUB = "cosmo_synapse_zmq.hub."


def limit(
    monkeypatch: pytest.MonkeyPatch, *, total: int = 100_000, peer: int = 25_000, free: int = 5000
) -> None:
    monkeypatch.setattr(WAITING + "MAX_WAITING_BYTES", total)
    monkeypatch.setattr(WAITING + "MAX_PEER_WAITING_BYTES", peer)
    monkeypatch.setattr(WAITING + "FREE_WAITING_BYTES", free)


@pytest.fixture
def start_worker(hub: RunningHub, connect: Connect, slow: Callable[[], Slow]) -> StartWorker:
    """Connect a program whose only worker works on one frame, and one that publishes."""

    async def start() -> tuple[ZmqSynapse, Slow]:
        worker, publisher, working = await connect(hub.url, max_in_flight=1), await connect(hub.url), slow()
        await worker.subscribe("work.>", working, queue_group="honest")
        await publisher.publish("work.first", b"first")
        await working.until(1)
        return publisher, working

    return start


async def fill(one: RawPeer, messages: int, name: bytes, *, subjects: int = 1, size: int = 1000) -> None:
    """Publish for a group whose member works on one frame and acknowledges none."""
    await one.send_hello(name)
    prefix = name.decode().partition(" ")[0]
    await one.send(wire.PeerData(1, 0, [wire.Subscribe(1, f"{prefix}.>", "hostile", 1)]))
    for number in range(2, messages + 2):
        subject = f"{prefix}.{number % subjects}"
        await one.send(wire.PeerData(number, 0, [*10 * [wire.Publish(subject, bytes(size), 0)]]))
    # The hub has executed the commands above when it answers.
    await one.send_hello(name)


@pytest.mark.parametrize("subjects", [1, 50])
async def test_one_publisher_cannot_take_the_space_of_others(
    hub: RunningHub,
    raw_peer: RawConnect,
    start_worker: StartWorker,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    subjects: int,
) -> None:
    limit(monkeypatch)
    publisher, working = await start_worker()
    await fill(raw_peer(hub.url), 50, b"one 16 bytes id.", subjects=subjects)
    assert hub.hub._router.discarded > 300
    assert "no more of its publisher or of all may wait" in caplog.text
    # 27 KB, which is more than any publisher may have in any case: it is only paused.
    frames = [b"%04d" % number + bytes(1000) for number in range(20)]
    for frame in frames:
        await publisher.publish("work.more", frame)
    working.release.set()
    assert await working.until(21) == [b"first", *frames]


async def test_each_publisher_has_some_space_in_any_case(
    hub: RunningHub, raw_peer: RawConnect, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(monkeypatch)
    publisher, working = await start_worker()
    for number in range(8):
        await fill(raw_peer(hub.url), 10, b"peer%d 16 byte id" % number)
    assert hub.hub._waiting_frames.total > 140_000
    frames = [b"%04d" % number + bytes(500) for number in range(4)]
    for frame in frames:
        await publisher.publish("work.more", frame)
    working.release.set()
    assert await working.until(5) == [b"first", *frames]


async def test_a_publisher_with_too_many_bytes_waits_and_loses_nothing(
    hub: RunningHub, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(monkeypatch, total=2_000_000, peer=400_000)
    publisher, working = await start_worker()
    working.release.set()
    for number in range(200):
        await publisher.publish("work.large", b"%04d" % number + bytes(20_000))
    frames = await working.until(201, within_s=30)
    assert [int(frame[:4]) for frame in frames[1:]] == list(range(200))
    assert hub.hub._router.discarded == 0


async def test_the_subjects_of_a_group_are_limited(
    hub: RunningHub, raw_peer: RawConnect, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HUB + "MAX_WAITING_SUBJECTS", 20)
    publisher, working = await start_worker()
    await fill(raw_peer(hub.url), 100, b"one 16 bytes id.", subjects=100, size=10)
    assert hub.hub._router.queue_count("hostile") == 20
    # Other groups are not affected.
    for number in range(10):
        await publisher.publish(f"work.{number}", b"%d" % number)
    working.release.set()
    assert await working.until(11) == [b"first", *(b"%d" % number for number in range(10))]


async def test_datagrams_have_one_share_and_are_discarded_beyond_it(
    hub: RunningHub,
    connect: Connect,
    start_worker: StartWorker,
    eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limit(monkeypatch)
    await start_worker()
    sender = await connect(hub.url)
    for _ in range(40):
        sender.publish_from_thread("work.datagram", bytes(1000))
    router = hub.hub._router
    await eventually(lambda: router.queued + router.discarded == 40)
    assert router.queued_bytes < 25_000
    assert router.discarded > 10


async def test_frames_that_wait_to_be_redelivered_are_limited(
    hub: RunningHub,
    raw_peer: RawConnect,
    connect: Connect,
    recorder: Callable[[], Recorder],
    eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(HUB + "MAX_QUEUED_BYTES", 30_000)
    publisher, reports = await connect(hub.url), recorder()
    full, lost = raw_peer(hub.url), raw_peer(hub.url)
    await full.send_hello(b"one 16 bytes id.")
    await full.send(wire.PeerData(1, 0, [wire.Subscribe(1, "a", "g", 1)]))
    await full.receive()
    await publisher.publish("a", b"first")
    await full.receive()
    await lost.send_hello(b"two 16 bytes id.")
    await lost.send(wire.PeerData(1, 0, [wire.Subscribe(1, "a", "g", 100)]))
    await lost.receive()
    for number in range(100):
        await publisher.publish("a", b"%04d" % number + bytes(1000), undelivered=reports.report)
    await publisher.dead_letters()
    await lost.send(wire.PeerData(2, 0, [wire.Leave()]))
    # The oldest are still there.
    await eventually(lambda: len(reports.frames) >= 70)
    router = hub.hub._router
    assert {report.partition(b": ")[0] for report in reports.frames} == {b"lost"}
    assert router.queued == 100 - len(reports.frames)
    assert 15_000 < router.queued_bytes < 30_000


async def test_nothing_is_counted_when_nothing_waits(
    hub: RunningHub,
    raw_peer: RawConnect,
    start_worker: StartWorker,
    eventually: Eventually,
) -> None:
    publisher, working = await start_worker()
    one = raw_peer(hub.url)
    await fill(one, 5, b"one 16 bytes id.", subjects=3)
    for number in range(50):
        await publisher.publish(f"work.{number % 4}", bytes(number))
    await publisher.dead_letters()
    frames = hub.hub._waiting_frames
    assert frames.total > 0
    await one.send(wire.PeerData(7, 0, [wire.Leave()]))
    working.release.set()
    await working.until(51)
    await eventually(lambda: not hub.hub._router.queued)
    assert frames == WaitingFrames()


def deliveries() -> Iterator[Delivery]:
    number = 0
    while True:
        number += 1
        yield Delivery(number, "a", b"", "g", None, 0.0)


@given(
    st.lists(
        st.tuples(st.sampled_from([None, b"a", b"b", b"c"]), st.integers(1, 3_000_000), st.booleans()),
        max_size=60,
    )
)
def test_shares_hold_for_every_history(history: list[tuple[bytes | None, int, bool]]) -> None:
    frames, waiting, make = WaitingFrames(), list[tuple[Delivery, bytes | None, int]](), deliveries()
    for publisher, size, is_dequeued in history:
        if frames.has_space(publisher, size):
            waiting.append((next(make), publisher, size))
            frames.add(*waiting[-1])
        if is_dequeued and waiting:
            frames.remove(waiting.pop(0)[0])
        of: Counter[bytes | None] = Counter()
        for _, each, each_size in waiting:
            of[each] += each_size
        assert frames.total == of.total()
        assert max(of.values(), default=0) <= 8 * 1024 * 1024
        assert frames.total <= 24 * 1024 * 1024
        for each in (None, b"a", b"b", b"c"):
            assert frames.is_free(each, 1) == (of[each] < 8192)
            assert frames.has_space(each, 1) or of[each] >= 8192
            assert not frames.is_scarce(each, 1) or of[each] >= 8192
    for delivery, _, _ in waiting:
        frames.remove(delivery)
        frames.remove(delivery)
    assert frames == WaitingFrames()
