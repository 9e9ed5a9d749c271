"""The memory Synapse: delivery, limits, closing and URLs."""

from __future__ import annotations

import asyncio
import math
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
    """A handler that stays busy with each frame until it is released."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.release = asyncio.Event()

    async def __call__(self, frame: bytes) -> None:
        self.received.append(frame)
        await self.release.wait()


async def run_ready_tasks() -> None:
    """Run the event loop until nothing is ready."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_it_implements_the_synapse_protocol() -> None:
    assert isinstance(MemorySynapse(), Synapse)


@given(st.lists(st.binary(), max_size=30))
def test_frames_arrive_unchanged_and_in_order(frames: list[bytes]) -> None:
    async def run() -> list[bytes]:
        synapse, received = MemorySynapse(), list[bytes]()
        await synapse.connect()
        await synapse.subscribe("a.*", received.append)
        for frame in frames:
            await synapse.publish("a.b", frame)
        await synapse.close()
        return received

    assert asyncio.run(run()) == frames


async def test_a_closed_synapse_rejects_publish_and_subscribe(synapse: MemorySynapse) -> None:
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


async def test_a_frame_above_the_limit_is_rejected_by_publish(synapse: MemorySynapse) -> None:
    received: list[bytes] = []
    await synapse.subscribe("a", received.append)
    limit = synapse.guarantees.max_frame
    assert limit == 1024 * 1024 - 4096
    await synapse.publish("a", bytes(limit))
    with pytest.raises(FrameTooLargeError, match="1044481 bytes on a"):
        await synapse.publish("a", bytes(limit + 1))
    assert [len(frame) for frame in received] == [limit]


async def test_a_handler_that_raises_does_not_affect_others(
    synapse: MemorySynapse, caplog: pytest.LogCaptureFixture
) -> None:
    received: list[bytes] = []

    def broken(_: bytes) -> None:
        raise ZeroDivisionError

    async def broken_later(_: bytes) -> None:
        raise ZeroDivisionError

    for handler in (broken, broken_later, received.append):
        await synapse.subscribe("a", handler)
    for _ in range(2):
        await synapse.publish("a", b"x")
    await run_ready_tasks()
    assert received == [b"x", b"x"]
    assert caplog.text.count("the handler of a failed") == 4


async def test_a_slow_handler_drops_the_oldest_frames_and_counts_them(
    synapse: MemorySynapse, caplog: pytest.LogCaptureFixture
) -> None:
    slow, quick = Slow(), list[bytes]()
    subscription = await synapse.subscribe("a", slow)
    await synapse.subscribe("a", quick.append)
    sent = [bytes([number]) for number in range(20)]
    for frame in sent:
        await synapse.publish("a", frame)
    slow.release.set()
    await run_ready_tasks()
    assert quick == sent
    assert len(slow.received) + subscription.dropped == len(sent)
    assert slow.received == [*sent[:2], *sent[-3:]]
    assert caplog.text.count("is too slow") == 1


async def test_a_full_queue_group_makes_the_publisher_wait(synapse: MemorySynapse) -> None:
    members = [Slow(), Slow()]
    for member in members:
        await synapse.subscribe("work", member, queue_group="workers")

    async def publish_all() -> None:
        for number in range(20):
            await synapse.publish("work", bytes([number]))

    publishing = asyncio.create_task(publish_all())
    await run_ready_tasks()
    assert not publishing.done()
    for member in members:
        member.release.set()
    await publishing
    await run_ready_tasks()
    assert sorted(members[0].received + members[1].received) == [bytes([number]) for number in range(20)]


async def test_a_waiting_publisher_continues_when_the_group_is_gone(synapse: MemorySynapse) -> None:
    slow = Slow()
    subscription = await synapse.subscribe("work", slow, queue_group="workers")
    for _ in range(5):
        await synapse.publish("work", b"")
    publishing = asyncio.ensure_future(synapse.publish("work", b""))
    await run_ready_tasks()
    assert not publishing.done()
    await subscription.unsubscribe()
    await publishing


async def test_no_frame_arrives_after_unsubscribing(synapse: MemorySynapse) -> None:
    received: list[bytes] = []
    subscription = await synapse.subscribe("a", received.append)
    await synapse.publish("a", b"1")
    await subscription.unsubscribe()
    await subscription.unsubscribe()
    await synapse.publish("a", b"2")
    assert received == [b"1"]


async def test_a_handler_may_unsubscribe_the_next_one(synapse: MemorySynapse) -> None:
    received: list[bytes] = []

    def unsubscribe_next(_: bytes) -> None:
        # StopIteration: the coroutine finishes without waiting.
        with pytest.raises(StopIteration):
            later.unsubscribe().send(None)

    await synapse.subscribe("a", unsubscribe_next)
    later = await synapse.subscribe("a", received.append)
    await synapse.publish("a", b"")
    assert received == []


async def test_close_cancels_running_handlers(synapse: MemorySynapse) -> None:
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


async def test_synapses_on_one_bus_reach_each_other_and_close_independently() -> None:
    bus = MemoryBus()
    one, other = MemorySynapse(bus), MemorySynapse(bus)
    await one.connect()
    await other.connect()
    received: list[bytes] = []
    await one.subscribe("a", received.append)
    await other.publish("a", b"hello")
    await other.close()
    await one.publish("a", b"still here")
    await one.close()
    assert received == [b"hello", b"still here"]


async def test_a_url_selects_the_bus_by_name() -> None:
    one, other = await connect_synapse("memory://demo"), await connect_synapse("memory://demo")
    lonely = await connect_synapse("memory://")
    received: list[bytes] = []
    await one.subscribe(">", received.append)
    await other.publish("a", b"met")
    await lonely.publish("a", b"alone")
    for synapse in (one, other, lonely):
        await synapse.close()
    assert received == [b"met"]


@pytest.mark.parametrize("url", ["memory://a.b", "memory://a/b", "memory://a?x=1", "memory://a#b"])
def test_an_invalid_url_is_rejected(url: str) -> None:
    with pytest.raises(SynapseError, match="memory"):
        from_url(url)


@pytest.mark.parametrize(
    "url", ["memory://u:hunter2@h", "memory://u:hunter2/x@h", "memory://h?password=hunter2"]
)
def test_an_invalid_url_is_rejected_without_its_secrets(url: str) -> None:
    with pytest.raises(SynapseError, match="memory") as caught:
        from_url(url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("url", ["", "demo", "//demo"])
async def test_a_url_without_a_scheme_is_rejected(url: str) -> None:
    with pytest.raises(SynapseError, match="has no scheme"):
        await connect_synapse(url)


def test_options_are_passed_to_the_synapse() -> None:
    assert from_url("memory://", max_frame=10).guarantees.max_frame == 10
    for name in ("max_frame", "max_in_flight", "max_pending"):
        for wrong in (0, 2**53, 1.5, True, "5", math.nan):
            with pytest.raises((TypeError, ValueError), match=f"{name} is an integer"):
                from_url("memory://", **{name: wrong})
    with pytest.raises(ValueError, match="max_waiting is an integer"):
        MemoryBus(max_waiting=0)


def test_unknown_option_is_refused_with_a_suggestion() -> None:
    with pytest.raises(TypeError, match="has no option 'max_fram'; did you mean max_frame"):
        from_url("memory://", max_fram=3)
