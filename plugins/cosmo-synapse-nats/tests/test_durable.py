"""Durable queue groups: frames are stored until a member acknowledges them."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

import nats
import pytest

from cosmo_core import SynapseError
from cosmo_core.contracts.delivery import HeldFrame
from cosmo_synapse_nats.durable import queues, streams

DURABLE = "?durable=true&ack_wait_s=1&retry_s=0.05"


def must_be_delivered(frame: bytes, cause: str) -> None:
    raise AssertionError(f"{frame!r} was not delivered: {cause}")


async def test_a_durable_synapse_declares_its_guarantees(store: Any, connect: Any) -> None:
    guarantees = (await connect(store, DURABLE)).guarantees
    assert guarantees.delivery == "at-least-once"
    assert guarantees.durable
    assert guarantees.takeover_s == 2
    assert guarantees.max_deliveries == 3


async def test_programs_may_create_the_streams_at_once(store: Any, connect: Any) -> None:
    await asyncio.gather(*(connect(store, DURABLE) for _ in range(8)))
    await connect(store, DURABLE + "&max_waiting=5")


async def test_a_stream_of_another_application_is_not_used(store: Any, connect: Any) -> None:
    client = await nats.connect(store.url)
    await client.jetstream().add_stream(name="mine-tasks", subjects=["theirs.>"])
    with pytest.raises(SynapseError, match="has a stream mine-tasks that was not made by cosmo"):
        await connect(store, DURABLE + "&prefix=mine")
    await client.close()


async def test_each_frame_goes_to_one_member_in_order_and_to_all_watchers(
    store: Any, connect: Any, recorder: Any
) -> None:
    one, other = await connect(store, DURABLE), await connect(store, DURABLE)
    got, narrow, wide = recorder(), recorder(), recorder()
    await other.subscribe("work.*", got, queue_group="workers")
    await other.subscribe("work.x", narrow)
    await other.subscribe(">", wide)
    sent = [b"%d" % number for number in range(300)]
    for frame in sent:
        await one.publish("work.x", frame, undelivered=must_be_delivered)
    assert await got.until(300) == sent
    assert await narrow.until(300) == sent
    assert await wide.until(300) == sent


async def test_a_frame_without_a_callback_is_delivered_and_not_stored(
    store: Any, connect: Any, recorder: Any
) -> None:
    one, other = await connect(store, DURABLE), await connect(store, DURABLE)
    got = recorder()
    for synapse in (one, other):
        await synapse.subscribe("work", got, queue_group="workers")
    for _ in range(50):
        await one.publish("work", b"x")
    await one.publish("work", b"end", undelivered=must_be_delivered)
    assert len(await got.until(51)) == 51


async def test_two_queue_groups_each_get_every_frame(store: Any, connect: Any, recorder: Any) -> None:
    synapse = await connect(store, DURABLE)
    groups = [recorder(), recorder()]
    for number, got in enumerate(groups):
        await synapse.subscribe("work", got, queue_group=f"group{number}")
    for _ in range(20):
        await synapse.publish("work", b"x", undelivered=must_be_delivered)
    for got in groups:
        await got.until(20)


async def test_frames_wait_for_a_group_that_existed_before(store: Any, connect: Any, recorder: Any) -> None:
    one, other = await connect(store, DURABLE), await connect(store, DURABLE)
    reports, got = recorder(), recorder()
    await one.publish("work", b"early", undelivered=reports.report)
    assert reports.frames == [b"no_consumers: early"]
    member = await other.subscribe("work", got, queue_group="workers")
    await member.unsubscribe()
    started = time.monotonic()
    await one.publish("work", b"waits", undelivered=must_be_delivered)
    await one.close()
    with pytest.raises(TimeoutError):
        await got.until(1, within_s=0.5)
    await other.subscribe("work", got, queue_group="workers")
    (frame,) = await got.until(1)
    assert frame == b"waits"
    assert isinstance(frame, HeldFrame)
    assert frame.held_s == pytest.approx(time.monotonic() - started, abs=0.1)


async def test_a_frame_with_a_known_id_is_stored_once(store: Any, connect: Any, recorder: Any) -> None:
    one, other = await connect(store, DURABLE), await connect(store, DURABLE)
    got = recorder()
    await other.subscribe("work", got, queue_group="workers")
    for synapse in (one, other):
        for _ in range(500):
            await synapse.publish("work", b"same", undelivered=must_be_delivered, message_id="evt_1")
    for _ in range(2):
        await one.publish("work", b"equal", undelivered=must_be_delivered)
    assert await got.until(3) == [b"same", b"equal", b"equal"]
    with pytest.raises(SynapseError, match="at most 256 characters"):
        await one.publish("work", b"", undelivered=must_be_delivered, message_id="x" * 257)


async def test_a_member_never_gets_more_than_its_prefetch(
    store: Any, connect: Any, recorder: Any, slow: Any
) -> None:
    one = await connect(store, DURABLE)
    members, everything = [], recorder()
    for _ in range(2):
        stuck = slow()
        stuck.tee = everything
        await (await connect(store, DURABLE, max_in_flight=5)).subscribe("work", stuck, queue_group="g")
        members.append(stuck)
    for number in range(30):
        await one.publish("work", b"%d" % number, undelivered=must_be_delivered)
    for stuck in members:
        await stuck.until(5)
    assert [len(stuck.frames) for stuck in members] == [5, 5]
    for stuck in members:
        stuck.release.set()
    assert len(set(await everything.until(30))) == 30


async def test_a_handler_that_runs_longer_than_the_lease_keeps_its_frame(
    store: Any, connect: Any, recorder: Any, slow: Any
) -> None:
    one, other = await connect(store, DURABLE), await connect(store, DURABLE)
    stuck, quick = slow(), recorder()
    await one.subscribe("work", stuck, queue_group="g")
    await one.publish("work", b"long", undelivered=must_be_delivered)
    await stuck.until(1)
    await other.subscribe("work", quick, queue_group="g")
    with pytest.raises(TimeoutError):
        await quick.until(1, within_s=2.5)
    stuck.release.set()
    assert stuck.frames == [b"long"]
    assert quick.frames == []


async def test_a_poison_frame_becomes_a_dead_letter_after_three_deliveries(
    store: Any, connect: Any, recorder: Any
) -> None:
    one, other = await connect(store, DURABLE), await connect(store, DURABLE)
    reports, got = recorder(), recorder()

    async def fragile(frame: bytes) -> None:
        got(frame)
        if frame == b"poison":
            raise ValueError("cannot\r\nswallow this")

    await other.subscribe("work.*", fragile, queue_group="g")
    await one.publish("work.x", b"poison", undelivered=reports.report, message_id="p")
    for number in range(20):
        await one.publish("work.x", b"%d" % number, undelivered=must_be_delivered)
    assert await reports.until(1) == [b"failed: poison"]
    assert (await got.until(23)).count(b"poison") == 3
    (dead,) = await one.dead_letters()
    assert (dead.subject, dead.frame, dead.deliveries) == ("work.x", b"poison", 3)
    assert dead.reason == "ValueError('cannot\\r\\nswallow this')"


async def test_the_newest_dead_letters_are_kept(store: Any, connect: Any, recorder: Any) -> None:
    synapse = await connect(store, "?durable=true&max_deliveries=1&max_dead=3")
    reports = recorder()

    def broken(frame: bytes) -> None:
        raise ZeroDivisionError

    await synapse.subscribe("work", broken, queue_group="g")
    for number in range(6):
        await synapse.publish("work", b"%d" % number, undelivered=reports.report)
    await reports.until(6)
    assert len(await synapse.dead_letters()) == 3


@pytest.mark.parametrize(("limit", "capacity"), [("max_waiting=10", 10), ("max_bytes=20000", 17)])
async def test_a_flood_is_rejected_and_drains_afterwards(
    store: Any, connect: Any, recorder: Any, slow: Any, limit: str, capacity: int
) -> None:
    one = await connect(store, f"?durable=true&{limit}")
    two = await connect(store, "?durable=true", max_in_flight=1)
    reports, stuck, quick = recorder(), slow(), recorder()
    await two.subscribe("stuck", stuck, queue_group="stuck")
    await two.subscribe("quick", quick, queue_group="quick")
    for _ in range(40):
        await one.publish("stuck", bytes(1000), undelivered=reports.report)
    assert capacity - 1 <= 40 - len(reports.frames) <= capacity + 1
    assert reports.frames[0].startswith(b"overloaded: ")
    if limit == "max_waiting=10":
        await one.publish("quick", b"x", undelivered=must_be_delivered)
        assert await quick.until(1) == [b"x"]
    stuck.release.set()
    await stuck.until(40 - len(reports.frames))
    await one.publish("stuck", b"again", undelivered=must_be_delivered)
    assert (await stuck.until(41 - len(reports.frames)))[-1] == b"again"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux can limit another process")
async def test_a_frame_is_rejected_while_the_disk_is_full(
    store: Any, connect: Any, recorder: Any, slow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import resource

    monkeypatch.setattr(queues, "FIRST_ATTEMPT_S", 0.3)
    one, other = await connect(store, "?durable=true"), await connect(store, "?durable=true")
    stuck, reports = slow(), recorder()
    await other.subscribe("work", stuck, queue_group="g")
    await one.publish("work", b"x", undelivered=reports.report)
    # As if the disk was full: the server gets an error when it writes.
    resource.prlimit(store.pid, resource.RLIMIT_FSIZE, (1, 1))
    await one.publish("work", b"lost", undelivered=reports.report)
    assert reports.frames == [b"overloaded: lost"]
    with pytest.raises(SynapseError, match="did not store the frame on inbox: its disk seems to be full"):
        await one.store_answer("inbox", b"x", "id")
    assert stuck.frames == [b"x"]


async def test_close_returns_unfinished_frames_at_once(
    store: Any, connect: Any, recorder: Any, slow: Any
) -> None:
    one = await connect(store, "?durable=true")
    other = await connect(store, "?durable=true")
    stuck, got = slow(), recorder()
    await other.subscribe("work", stuck, queue_group="g")
    for _ in range(10):
        await one.publish("work", b"x", undelivered=must_be_delivered)
    await stuck.until(10)
    await one.subscribe("work", got, queue_group="g")
    await other.close()
    await got.until(10, within_s=3)


async def test_no_frame_arrives_after_unsubscribing_and_none_is_lost(
    store: Any, connect: Any, recorder: Any
) -> None:
    one, other = await connect(store, DURABLE), await connect(store, DURABLE)
    first, second = recorder(), recorder()
    member = await other.subscribe("work", first, queue_group="g")

    async def publish_all() -> None:
        for number in range(500):
            await one.publish("work", b"%d" % number, undelivered=must_be_delivered)

    publishing = asyncio.create_task(publish_all())
    await first.until(100)
    await member.unsubscribe()
    count = len(first.frames)
    await other.subscribe("work", second, queue_group="g")
    await publishing
    async with asyncio.timeout(10):
        while len({*first.frames, *second.frames}) < 500:
            await second.until(len(second.frames) + 1)
    assert len(first.frames) == count


async def test_without_a_queue_group_a_frame_goes_to_other_subscribers(
    store: Any, connect: Any, recorder: Any
) -> None:
    one, other = await connect(store, DURABLE), await connect(store, DURABLE)
    got, reports = recorder(), recorder()
    subscription = await other.subscribe("inbox.x", got)
    sent = [b"%d" % number for number in range(200)]
    for frame in sent:
        await one.publish("inbox.x", frame, undelivered=must_be_delivered)
    assert await got.until(200) == sent
    await subscription.unsubscribe()
    # A recent subscriber must not hide that there is none now.
    await one.publish("inbox.x", b"late", undelivered=reports.report)
    assert await reports.until(1) == [b"no_consumers: late"]
    await other.subscribe("inbox.x", got)
    await one.publish("inbox.x", b"again", undelivered=must_be_delivered)
    assert (await got.until(201))[-1] == b"again"


async def test_the_server_is_not_asked_for_each_frame_without_a_queue_group(
    store: Any, connect: Any, recorder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = await connect(store, DURABLE), await connect(store, DURABLE)
    asked: list[str] = []
    real = streams.every_consumer

    async def counted(js: Any, stream: str) -> Any:
        asked.append(stream)
        return await real(js, stream)

    monkeypatch.setattr(streams, "every_consumer", counted)
    got = recorder()
    await other.subscribe("inbox.x", got)
    monkeypatch.setattr(streams, "CORE_ONLY_S", 3600.0)
    publish = [one.publish("inbox.x", b"x", undelivered=must_be_delivered) for _ in range(100)]
    await asyncio.gather(*publish)
    for _ in range(100):
        await one.publish("inbox.x", b"x", undelivered=must_be_delivered)
    assert len(await got.until(200)) == 200
    assert 1 <= len(asked) <= 2


async def test_frames_are_stored_once_a_queue_group_has_subscribed(
    store: Any, connect: Any, recorder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "CORE_ONLY_S", 0.0)
    one, other = await connect(store, DURABLE), await connect(store, DURABLE)
    watching, got = recorder(), recorder()
    await other.subscribe("work", watching)
    await one.publish("work", b"early", undelivered=must_be_delivered)
    assert await watching.until(1) == [b"early"]
    member = await other.subscribe("work", got, queue_group="workers")
    await member.unsubscribe()
    await one.publish("work", b"waits", undelivered=must_be_delivered)
    await other.subscribe("work", got, queue_group="workers")
    assert await got.until(1) == [b"waits"]
    assert await watching.until(2) == [b"early", b"waits"]


def test_the_number_of_core_only_subjects_is_bounded() -> None:
    index = streams.ConsumerIndex(None, "tasks")  # type: ignore[arg-type]
    for number in range(streams.MAX_CORE_ONLY + 1):
        index.mark_core_only(f"inbox.{number}")
    assert not index.is_core_only("inbox.0", online=True)
    assert index.is_core_only("inbox.1", online=True)
