"""The memory Synapse keeps the Synapse contract."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosmo_core import (
    FrameTooLargeError,
    Synapse,
    SynapseClosedError,
    SynapseError,
    connect_synapse,
)
from cosmo_synapse_memory import MemoryBus, MemorySynapse, from_url


@pytest.fixture
async def synapse() -> AsyncIterator[MemorySynapse]:
    synapse = MemorySynapse(max_in_flight=2, max_pending=3)
    await synapse.connect()
    yield synapse
    await synapse.close()


class Slow:
    """A handler that works on every frame until it is released."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.release = asyncio.Event()

    async def __call__(self, frame: bytes) -> None:
        self.taken.append(frame)
        await self.release.wait()


async def settled() -> None:
    """Let everything that can run, run."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_it_is_a_synapse() -> None:
    assert isinstance(MemorySynapse(), Synapse)


@given(st.lists(st.binary(), max_size=30))
def test_frames_arrive_as_they_were_and_in_order(frames: list[bytes]) -> None:
    async def run() -> list[bytes]:
        synapse, taken = MemorySynapse(), list[bytes]()
        await synapse.connect()
        await synapse.subscribe("a.*", taken.append)
        for frame in frames:
            await synapse.publish("a.b", frame)
        await synapse.close()
        return taken

    assert asyncio.run(run()) == frames


async def test_it_must_be_connected(synapse: MemorySynapse) -> None:
    fresh = MemorySynapse()
    for _ in range(2):
        with pytest.raises(SynapseClosedError, match=r"cannot publish on a: .*connect\(\) first"):
            await fresh.publish("a", b"")
        with pytest.raises(SynapseClosedError, match="cannot subscribe to a"):
            await fresh.subscribe("a", print)
        await fresh.connect()
        await fresh.publish("a", b"")
        await fresh.close()
        await fresh.close()


async def test_a_frame_that_is_too_large_is_refused_at_the_sender(synapse: MemorySynapse) -> None:
    taken: list[bytes] = []
    await synapse.subscribe("a", taken.append)
    limit = synapse.guarantees.max_frame
    assert limit == 1024 * 1024 - 4096
    await synapse.publish("a", bytes(limit))
    with pytest.raises(FrameTooLargeError, match="1044481 bytes on a"):
        await synapse.publish("a", bytes(limit + 1))
    assert [len(frame) for frame in taken] == [limit]


async def test_a_handler_that_raises_disturbs_nobody(
    synapse: MemorySynapse, caplog: pytest.LogCaptureFixture
) -> None:
    taken: list[bytes] = []

    def broken(_: bytes) -> None:
        raise ZeroDivisionError

    async def broken_later(_: bytes) -> None:
        raise ZeroDivisionError

    for handler in (broken, broken_later, taken.append):
        await synapse.subscribe("a", handler)
    for _ in range(2):
        await synapse.publish("a", b"x")
    await settled()
    assert taken == [b"x", b"x"]
    assert caplog.text.count("the handler of a failed") == 4


async def test_a_slow_handler_is_bounded_and_what_it_misses_is_counted(
    synapse: MemorySynapse, caplog: pytest.LogCaptureFixture
) -> None:
    slow, quick = Slow(), list[bytes]()
    subscription = await synapse.subscribe("a", slow)
    await synapse.subscribe("a", quick.append)
    sent = [bytes([number]) for number in range(20)]
    for frame in sent:
        await synapse.publish("a", frame)
    slow.release.set()
    await settled()
    assert quick == sent
    assert len(slow.taken) + subscription.dropped == len(sent)
    assert slow.taken == [*sent[:2], *sent[-3:]]
    assert caplog.text.count("is too slow") == 1


async def test_a_full_queue_group_makes_the_publisher_wait(synapse: MemorySynapse) -> None:
    members = [Slow(), Slow()]
    for member in members:
        await synapse.subscribe("work", member, queue_group="workers")

    async def publish_all() -> None:
        for number in range(20):
            await synapse.publish("work", bytes([number]))

    publishing = asyncio.create_task(publish_all())
    await settled()
    assert not publishing.done()
    for member in members:
        member.release.set()
    await publishing
    await settled()
    assert sorted(members[0].taken + members[1].taken) == [bytes([number]) for number in range(20)]


async def test_a_publisher_that_waits_goes_on_when_the_group_is_gone(synapse: MemorySynapse) -> None:
    slow = Slow()
    subscription = await synapse.subscribe("work", slow, queue_group="workers")
    for _ in range(5):
        await synapse.publish("work", b"")
    publishing = asyncio.create_task(synapse.publish("work", b""))
    await settled()
    assert not publishing.done()
    await subscription.unsubscribe()
    await publishing


async def test_nothing_arrives_after_unsubscribing(synapse: MemorySynapse) -> None:
    taken: list[bytes] = []
    subscription = await synapse.subscribe("a", taken.append)
    await synapse.publish("a", b"1")
    await subscription.unsubscribe()
    await subscription.unsubscribe()
    await synapse.publish("a", b"2")
    assert taken == [b"1"]


async def test_a_handler_may_be_taken_off_by_the_one_before_it(synapse: MemorySynapse) -> None:
    taken: list[bytes] = []

    def cut_off(_: bytes) -> None:
        # Runs to its end at once: unsubscribing here never waits.
        with pytest.raises(StopIteration):
            later.unsubscribe().send(None)

    await synapse.subscribe("a", cut_off)
    later = await synapse.subscribe("a", taken.append)
    await synapse.publish("a", b"")
    assert taken == []


async def test_closing_cancels_what_handlers_work_on(synapse: MemorySynapse) -> None:
    cancelled = asyncio.Event()

    async def stuck(_: bytes) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    await synapse.subscribe("a", stuck)
    await synapse.publish("a", b"")
    await synapse.close()
    assert cancelled.is_set()


async def test_synapses_on_one_bus_reach_each_other_and_close_alone() -> None:
    bus = MemoryBus()
    one, other = MemorySynapse(bus), MemorySynapse(bus)
    await one.connect()
    await other.connect()
    taken: list[bytes] = []
    await one.subscribe("a", taken.append)
    await other.publish("a", b"hello")
    await other.close()
    await one.publish("a", b"still here")
    await one.close()
    assert taken == [b"hello", b"still here"]


async def test_a_url_names_a_bus() -> None:
    one, other = await connect_synapse("memory://demo"), await connect_synapse("memory://demo")
    lonely = await connect_synapse("memory://")
    taken: list[bytes] = []
    await one.subscribe(">", taken.append)
    await other.publish("a", b"met")
    await lonely.publish("a", b"alone")
    for synapse in (one, other, lonely):
        await synapse.close()
    assert taken == [b"met"]


@pytest.mark.parametrize("url", ["memory://a.b", "memory://a/b", "memory://a?x=1", "memory://a#b"])
def test_a_url_that_means_nothing_is_refused(url: str) -> None:
    with pytest.raises(SynapseError, match="memory"):
        from_url(url)


@pytest.mark.parametrize("url", ["", "demo", "//demo"])
async def test_a_url_without_a_scheme_is_said(url: str) -> None:
    with pytest.raises(SynapseError, match="has no scheme"):
        await connect_synapse(url)


def test_options_go_to_the_synapse() -> None:
    assert from_url("memory://", max_frame=10).guarantees.max_frame == 10
    with pytest.raises(ValueError, match="start at 1"):
        from_url("memory://", max_pending=0)
