"""Core NATS keeps the Synapse contract."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from cosmo_core import FrameTooLargeError, Synapse, SynapseClosedError, SynapseError, connect_synapse
from cosmo_core.contracts.synapse import DeadLetters, ThreadPublisher


async def test_it_is_a_synapse_that_a_url_names(server: Any) -> None:
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


async def test_frames_arrive_as_they_were_and_in_order(server: Any, join: Any, taken: Any) -> None:
    one, other = await join(server), await join(server)
    got = taken()
    await other.subscribe("a.*", got)
    sent = [b"", b"\r\n", b"PUB x 0\r\n", *(b"%d" % number for number in range(2000))]
    for frame in sent:
        await one.publish("a.b", frame)
    assert await got.until(len(sent)) == sent


async def test_what_is_published_right_after_subscribing_arrives(server: Any, join: Any, taken: Any) -> None:
    one, other = await join(server), await join(server)
    for number in range(100):
        got = taken()
        await other.subscribe(f"joined.{number}", got)
        await one.publish(f"joined.{number}", b"x")
        assert await got.until(1) == [b"x"]


async def test_members_of_a_queue_group_share_and_others_see_all(server: Any, join: Any, taken: Any) -> None:
    one, other = await join(server), await join(server)
    got, everything = taken(), taken()
    for synapse in (one, one, other):
        await synapse.subscribe("work.*", got, queue_group="workers")
    await other.subscribe(">", everything)
    for number in range(300):
        await one.publish("work.x", b"%d" % number)
    assert sorted(await got.until(300)) == sorted(await everything.until(300))
    assert len(got.frames) == 300


async def test_a_wildcard_in_front_shows_nothing_of_the_servers_own_business(
    server: Any, join: Any, taken: Any
) -> None:
    one, other = await join(server), await join(server)
    everything, told = taken(), taken()
    await other.subscribe("*.*.*", everything)
    await one.publish("x.y", b"", undelivered=told.told)
    await told.until(1)
    await one.publish("a.b.c", b"end")
    assert await everything.until(1) == [b"end"]


async def test_that_nobody_is_there_is_told_at_once(server: Any, join: Any, taken: Any) -> None:
    one, other = await join(server), await join(server)
    told, got = taken(), taken()
    async with asyncio.timeout(1):
        await one.publish("work", b"early", undelivered=told.told)
        await told.until(1)
    await other.subscribe("work", got, queue_group="workers")
    await one.publish("work", b"late", undelivered=told.told)
    assert await got.until(1) == [b"late"]
    assert told.frames == [b"no_consumers: early"]


async def test_a_member_without_room_says_so(server: Any, join: Any, taken: Any, slow: Any) -> None:
    one, other = await join(server), await join(server, max_in_flight=2, max_pending=3)
    told, stuck = taken(), slow()
    subscription = await other.subscribe("work", stuck, queue_group="workers")
    sent = [b"%d" % number for number in range(20)]
    for frame in sent:
        await one.publish("work", frame, undelivered=told.told)
    assert await told.until(15) == [b"overloaded: " + frame for frame in sent[5:]]
    assert subscription.dropped == 15
    stuck.release.set()
    assert await stuck.until(5) == sent[:5]


async def test_a_slow_handler_is_bounded_and_what_it_misses_is_counted(
    server: Any, join: Any, taken: Any, slow: Any
) -> None:
    one, other = await join(server), await join(server, max_in_flight=2, max_pending=3)
    stuck, quick = slow(), taken()
    subscription = await other.subscribe("a", stuck)
    await other.subscribe("a", quick)
    sent = [b"%d" % number for number in range(5000)]
    for frame in sent:
        await one.publish("a", frame)
    assert await quick.until(len(sent)) == sent
    stuck.release.set()
    assert await stuck.until(5) == [*sent[:2], *sent[-3:]]
    assert subscription.dropped == len(sent) - 5


async def test_handlers_run_at_the_same_time(server: Any, join: Any, slow: Any) -> None:
    synapse = await join(server)
    stuck = slow()
    await synapse.subscribe("a", stuck)
    for _ in range(100):
        await synapse.publish("a", b"")
    await stuck.until(100)


async def test_a_handler_that_raises_disturbs_nobody(
    server: Any, join: Any, taken: Any, caplog: pytest.LogCaptureFixture
) -> None:
    synapse = await join(server)
    got = taken()

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


async def test_nothing_arrives_after_unsubscribing_and_what_came_before_does(
    server: Any, join: Any, taken: Any
) -> None:
    synapse = await join(server)
    got, other = taken(), taken()
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


async def test_a_member_that_leaves_lets_the_others_have_the_work(server: Any, join: Any, taken: Any) -> None:
    one, other = await join(server), await join(server)
    left, stayed = taken(), taken()
    leaving = await one.subscribe("work", left, queue_group="workers")
    await other.subscribe("work", stayed, queue_group="workers")
    await leaving.unsubscribe()
    for _ in range(50):
        await one.publish("work", b"")
    await stayed.until(50)
    assert left.frames == []


async def test_closing_cancels_what_handlers_work_on(server: Any, join: Any, taken: Any) -> None:
    synapse = await join(server)
    begun, cancelled = taken(), asyncio.Event()

    async def stuck(frame: bytes) -> None:
        begun(frame)
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    subscription = await synapse.subscribe("a", stuck)
    await synapse.publish("a", b"")
    await begun.until(1)
    await subscription.unsubscribe()
    assert not cancelled.is_set()
    await synapse.close()
    assert cancelled.is_set()


async def test_it_must_be_connected(server: Any, join: Any) -> None:
    synapse = await join(server)
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


async def test_a_frame_that_is_too_large_is_refused_at_the_sender(server: Any, join: Any, taken: Any) -> None:
    synapse = await join(server)
    got = taken()
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


async def test_a_server_that_takes_less_makes_the_largest_frame_smaller(start: Any, join: Any) -> None:
    synapse = await join(start(config="max_payload: 65536"))
    assert synapse.guarantees.max_frame == 65536 - 4096


@pytest.mark.parametrize("subject", ["", ".", "a..b", "a b", "a.*", ">", "a\r\nPUB b 0\r\n", "$JS.API", "é"])
async def test_a_subject_that_is_none_is_refused(server: Any, join: Any, subject: str) -> None:
    synapse = await join(server)
    with pytest.raises(SynapseError, match="is not a valid subject"):
        await synapse.publish(subject, b"")
    with pytest.raises(SynapseError, match="is not a valid subject"):
        synapse.publish_from_thread(subject, b"")


@pytest.mark.parametrize("pattern", ["", "a.>.b", "a*", "$JS.>", "a b", "a\r\n"])
async def test_a_pattern_that_is_none_is_refused(server: Any, join: Any, pattern: str) -> None:
    synapse = await join(server)
    with pytest.raises(SynapseError, match="is not a valid pattern"):
        await synapse.subscribe(pattern, print)


async def test_a_thread_publishes_while_the_event_loop_is_blocked(server: Any, join: Any, taken: Any) -> None:
    one, other = await join(server), await join(server)
    got, seen = taken(), threading.Event()
    watching = threading.Thread(target=asyncio.run, args=(_watch(server.url, seen),))
    await other.subscribe("alive", got)
    watching.start()
    await got.until(1)
    threading.Thread(target=one.publish_from_thread, args=("alive", b"yes")).start()
    # The event loop stands still here; another program hears the sign of life all the same.
    assert seen.wait(5)
    watching.join()


async def test_what_a_thread_publishes_while_the_server_is_gone_is_sent_when_it_is_back(
    start: Any, join: Any, taken: Any
) -> None:
    server = start()
    one, other = await join(server), await join(server)
    got = taken()
    await other.subscribe("alive", got)
    server.kill()
    one.publish_from_thread("alive", b"yes")
    with pytest.raises(TimeoutError):
        await got.until(1, within_s=0.3)
    server.restart()
    assert await got.until(1) == [b"yes"]
    await one.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "cosmo-nats-keeper"]


async def test_what_waits_for_a_handler_that_leaves_is_counted(
    server: Any, join: Any, taken: Any, slow: Any
) -> None:
    synapse = await join(server, max_in_flight=2)
    stuck, everything = slow(), taken()
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

    def take(frame: bytes) -> None:
        if frame == b"yes":
            got.set()

    await synapse.subscribe("alive", take)
    await synapse.publish("alive", b"listening")
    async with asyncio.timeout(10):
        await got.wait()
    seen.set()
    await synapse.close()
