"""The Synapse on core NATS: delivery, queue groups, limits and closing."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from cosmo_core import FrameTooLargeError, Synapse, SynapseClosedError, SynapseError, connect_synapse
from cosmo_core.contracts.synapse import DeadLetters, ThreadPublisher


async def test_connect_synapse_returns_a_nats_synapse(server: Any) -> None:
    synapse = await connect_synapse(server.url)
    try:
        assert isinstance(synapse, Synapse)
        assert isinstance(synapse, ThreadPublisher)
        assert isinstance(synapse, DeadLetters)
        assert await synapse.dead_letters() == []
        assert synapse.guarantees.takeover_s is None
        await synapse.connect()
    finally:
        await synapse.close()
        await synapse.close()


async def test_frames_arrive_unchanged_and_in_order(server: Any, connect: Any, recorder: Any) -> None:
    one, other = await connect(server), await connect(server)
    got = recorder()
    await other.subscribe("a.*", got)
    sent = [b"", b"\r\n", b"PUB x 0\r\n", *(b"%d" % number for number in range(2000))]
    for frame in sent:
        await one.publish("a.b", frame)
    assert await got.until(len(sent)) == sent


async def test_a_frame_published_right_after_subscribing_arrives(
    server: Any, connect: Any, recorder: Any
) -> None:
    one, other = await connect(server), await connect(server)
    for number in range(100):
        got = recorder()
        await other.subscribe(f"joined.{number}", got)
        await one.publish(f"joined.{number}", b"x")
        assert await got.until(1) == [b"x"]


async def test_queue_group_members_share_frames_and_other_subscribers_get_all(
    server: Any, connect: Any, recorder: Any
) -> None:
    one, other = await connect(server), await connect(server)
    got, everything = recorder(), recorder()
    for synapse in (one, one, other):
        await synapse.subscribe("work.*", got, queue_group="workers")
    await other.subscribe(">", everything)
    for number in range(300):
        await one.publish("work.x", b"%d" % number)
    assert sorted(await got.until(300)) == sorted(await everything.until(300))
    assert len(got.frames) == 300


async def test_a_leading_wildcard_does_not_match_internal_subjects(
    server: Any, connect: Any, recorder: Any
) -> None:
    one, other = await connect(server), await connect(server)
    everything, reports = recorder(), recorder()
    await other.subscribe("*.*.*", everything)
    await one.publish("x.y", b"", undelivered=reports.report)
    await reports.until(1)
    await one.publish("a.b.c", b"end")
    assert await everything.until(1) == [b"end"]


async def test_a_frame_without_consumers_is_reported_at_once(
    server: Any, connect: Any, recorder: Any
) -> None:
    one, other = await connect(server), await connect(server)
    reports, got = recorder(), recorder()
    async with asyncio.timeout(1):
        await one.publish("work", b"early", undelivered=reports.report)
        await reports.until(1)
    await other.subscribe("work", got, queue_group="workers")
    await one.publish("work", b"late", undelivered=reports.report)
    assert await got.until(1) == [b"late"]
    assert reports.frames == [b"no_consumers: early"]


async def test_a_full_member_rejects_frames(server: Any, connect: Any, recorder: Any, slow: Any) -> None:
    one, other = await connect(server), await connect(server, max_in_flight=2, max_pending=3)
    reports, stuck = recorder(), slow()
    subscription = await other.subscribe("work", stuck, queue_group="workers")
    sent = [b"%d" % number for number in range(20)]
    for frame in sent:
        await one.publish("work", frame, undelivered=reports.report)
    assert await reports.until(15) == [b"overloaded: " + frame for frame in sent[5:]]
    assert subscription.dropped == 15
    stuck.release.set()
    assert await stuck.until(5) == sent[:5]


async def test_a_slow_handler_drops_the_oldest_frames_and_counts_them(
    server: Any, connect: Any, recorder: Any, slow: Any
) -> None:
    one, other = await connect(server), await connect(server, max_in_flight=2, max_pending=3)
    stuck, quick = slow(), recorder()
    subscription = await other.subscribe("a", stuck)
    await other.subscribe("a", quick)
    sent = [b"%d" % number for number in range(5000)]
    for frame in sent:
        await one.publish("a", frame)
    assert await quick.until(len(sent)) == sent
    stuck.release.set()
    assert await stuck.until(5) == [*sent[:2], *sent[-3:]]
    assert subscription.dropped == len(sent) - 5


async def test_handlers_run_concurrently(server: Any, connect: Any, slow: Any) -> None:
    synapse = await connect(server)
    stuck = slow()
    await synapse.subscribe("a", stuck)
    for _ in range(100):
        await synapse.publish("a", b"")
    await stuck.until(100)


async def test_a_handler_that_raises_does_not_affect_others(
    server: Any, connect: Any, recorder: Any, caplog: pytest.LogCaptureFixture
) -> None:
    synapse = await connect(server)
    got = recorder()

    def broken(_: bytes) -> None:
        raise ZeroDivisionError

    async def broken_later(_: bytes) -> None:
        raise ZeroDivisionError

    for handler in (broken, broken_later, got):
        await synapse.subscribe("a", handler)
    for _ in range(2):
        await synapse.publish("a", b"x")
    await got.until(2)
    await synapse.close()
    assert caplog.text.count("the handler of a failed") == 4


async def test_only_frames_from_before_unsubscribing_arrive(server: Any, connect: Any, recorder: Any) -> None:
    synapse = await connect(server)
    got, other = recorder(), recorder()
    subscription = await synapse.subscribe("a", got)
    await synapse.subscribe("a", other)
    for number in range(500):
        await synapse.publish("a", b"%d" % number)
    await subscription.unsubscribe()
    assert len(got.frames) == 500
    await subscription.unsubscribe()
    await synapse.publish("a", b"late")
    await other.until(501)
    assert len(got.frames) == 500


async def test_after_a_member_left_the_others_get_all_frames(
    server: Any, connect: Any, recorder: Any
) -> None:
    one, other = await connect(server), await connect(server)
    left, stayed = recorder(), recorder()
    leaving = await one.subscribe("work", left, queue_group="workers")
    await other.subscribe("work", stayed, queue_group="workers")
    await leaving.unsubscribe()
    for _ in range(50):
        await one.publish("work", b"")
    await stayed.until(50)
    assert left.frames == []


async def test_close_cancels_running_handlers(server: Any, connect: Any, recorder: Any) -> None:
    synapse = await connect(server)
    started, cancelled = recorder(), asyncio.Event()

    async def stuck(frame: bytes) -> None:
        started(frame)
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    subscription = await synapse.subscribe("a", stuck)
    await synapse.publish("a", b"")
    await started.until(1)
    await subscription.unsubscribe()
    assert not cancelled.is_set()
    await synapse.close()
    assert cancelled.is_set()


async def test_a_closed_synapse_rejects_all_operations(server: Any, connect: Any) -> None:
    synapse = await connect(server)
    for _ in range(2):
        await synapse.publish("a", b"")
        await synapse.close()
        with pytest.raises(SynapseClosedError, match=r"cannot publish on a: .*connect\(\) first"):
            await synapse.publish("a", b"")
        with pytest.raises(SynapseClosedError, match="cannot publish on a"):
            synapse.publish_from_thread("a", b"")
        with pytest.raises(SynapseClosedError, match="cannot subscribe to a"):
            await synapse.subscribe("a", print)
        with pytest.raises(SynapseClosedError, match="cannot read the dead letters"):
            await synapse.dead_letters()
        await synapse.connect()


async def test_a_frame_above_the_limit_is_rejected_by_publish(
    server: Any, connect: Any, recorder: Any
) -> None:
    synapse = await connect(server)
    got = recorder()
    await synapse.subscribe("a", got)
    limit = synapse.guarantees.max_frame
    assert limit == 1024 * 1024 - 4096
    await synapse.publish("a", bytes(limit))
    with pytest.raises(FrameTooLargeError, match=r"1044481 bytes on a .* 1044480"):
        await synapse.publish("a", bytes(limit + 1))
    with pytest.raises(FrameTooLargeError):
        synapse.publish_from_thread("a", bytes(limit + 1))
    await synapse.publish("a", b"still here")
    assert [len(frame) for frame in await got.until(2)] == [limit, 10]


async def test_the_servers_max_payload_lowers_the_frame_limit(start: Any, connect: Any) -> None:
    synapse = await connect(start(config="max_payload: 65536"))
    assert synapse.guarantees.max_frame == 65536 - 4096


@pytest.mark.parametrize("subject", ["", ".", "a..b", "a b", "a.*", ">", "a\r\nPUB b 0\r\n", "$JS.API", "é"])
async def test_an_invalid_subject_is_rejected(server: Any, connect: Any, subject: str) -> None:
    synapse = await connect(server)
    with pytest.raises(SynapseError, match="is not a valid subject"):
        await synapse.publish(subject, b"")
    with pytest.raises(SynapseError, match="is not a valid subject"):
        synapse.publish_from_thread(subject, b"")


@pytest.mark.parametrize("pattern", ["", "a.>.b", "a*", "$JS.>", "a b", "a\r\n"])
async def test_an_invalid_pattern_is_rejected(server: Any, connect: Any, pattern: str) -> None:
    synapse = await connect(server)
    with pytest.raises(SynapseError, match="is not a valid pattern"):
        await synapse.subscribe(pattern, print)


async def test_a_thread_publishes_while_the_event_loop_is_blocked(
    server: Any, connect: Any, recorder: Any
) -> None:
    one, other = await connect(server), await connect(server)
    got, seen = recorder(), threading.Event()
    watching = threading.Thread(target=asyncio.run, args=(_watch(server.url, seen),))
    await other.subscribe("alive", got)
    watching.start()
    await got.until(1)
    threading.Thread(target=one.publish_from_thread, args=("alive", b"yes")).start()
    # This blocks the event loop; another program gets the frame nevertheless.
    assert seen.wait(5)
    watching.join()


async def test_a_threads_frame_is_sent_when_the_server_is_back(
    start: Any, connect: Any, recorder: Any
) -> None:
    server = start()
    one, other = await connect(server), await connect(server)
    got = recorder()
    await other.subscribe("alive", got)
    server.kill()
    one.publish_from_thread("alive", b"yes")
    with pytest.raises(TimeoutError):
        await got.until(1, within_s=0.3)
    server.restart()
    assert await got.until(1) == [b"yes"]
    await one.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "cosmo-nats-keepalive"]


async def test_frames_that_wait_at_unsubscribing_are_counted(
    server: Any, connect: Any, recorder: Any, slow: Any
) -> None:
    synapse = await connect(server, max_in_flight=2)
    stuck, everything = slow(), recorder()
    subscription = await synapse.subscribe("a", stuck)
    await synapse.subscribe("a", everything)
    for _ in range(10):
        await synapse.publish("a", b"x")
    await everything.until(10)
    await subscription.unsubscribe()
    assert len(stuck.frames) + subscription.dropped == 10


async def _watch(url: str, seen: threading.Event) -> None:
    synapse = await connect_synapse(url)
    got = asyncio.Event()

    def handle(frame: bytes) -> None:
        if frame == b"yes":
            got.set()

    await synapse.subscribe("alive", handle)
    await synapse.publish("alive", b"listening")
    async with asyncio.timeout(10):
        await got.wait()
    seen.set()
    await synapse.close()
