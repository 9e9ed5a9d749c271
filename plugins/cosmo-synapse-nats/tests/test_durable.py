"""Frames for queue groups are kept until a member is done with them."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import nats
import pytest

from cosmo_core import SynapseError
from cosmo_core.contracts.delivery import HeldFrame
from cosmo_synapse_nats.durable import claims, streams

DURABLE = "?durable=true&ack_wait_s=1&retry_s=0.05"


def nothing_to_tell(frame: bytes, why: str) -> None:
    raise AssertionError(f"{frame!r} was not delivered: {why}")


async def test_it_declares_what_it_promises(store: Any, join: Any) -> None:
    guarantees = (await join(store, DURABLE)).guarantees
    assert guarantees.delivery == "at-least-once"
    assert guarantees.durable
    assert guarantees.takeover_s == 2
    assert guarantees.max_deliveries == 3


async def test_programs_may_make_the_streams_at_once_and_the_first_limits_hold(store: Any, join: Any) -> None:
    await asyncio.gather(*(join(store, DURABLE) for _ in range(8)))
    await join(store, DURABLE + "&max_waiting=5")


async def test_a_stream_of_somebody_else_is_left_alone(store: Any, join: Any) -> None:
    client = await nats.connect(store.url)
    await client.jetstream().add_stream(name="mine-tasks", subjects=["theirs.>"])
    with pytest.raises(SynapseError, match="has a stream mine-tasks that is none of cosmo's"):
        await join(store, DURABLE + "&stream=mine")
    await client.close()


async def test_each_frame_goes_to_one_member_in_order_and_watchers_see_it(
    store: Any, join: Any, taken: Any
) -> None:
    one, other = await join(store, DURABLE), await join(store, DURABLE)
    got, narrow, wide = taken(), taken(), taken()
    await other.subscribe("work.*", got, queue_group="workers")
    await other.subscribe("work.x", narrow)
    await other.subscribe(">", wide)
    sent = [b"%d" % number for number in range(300)]
    for frame in sent:
        await one.publish("work.x", frame, undelivered=nothing_to_tell)
    assert await got.until(300) == sent
    assert await narrow.until(300) == sent
    assert await wide.until(300) == sent


async def test_a_frame_that_nobody_is_to_be_told_of_is_shared_and_not_stored(
    store: Any, join: Any, taken: Any
) -> None:
    one, other = await join(store, DURABLE), await join(store, DURABLE)
    got = taken()
    for synapse in (one, other):
        await synapse.subscribe("work", got, queue_group="workers")
    for _ in range(50):
        await one.publish("work", b"x")
    await one.publish("work", b"end", undelivered=nothing_to_tell)
    assert len(await got.until(51)) == 51


async def test_two_queue_groups_each_get_every_frame(store: Any, join: Any, taken: Any) -> None:
    synapse = await join(store, DURABLE)
    groups = [taken(), taken()]
    for number, got in enumerate(groups):
        await synapse.subscribe("work", got, queue_group=f"group{number}")
    for _ in range(20):
        await synapse.publish("work", b"x", undelivered=nothing_to_tell)
    for got in groups:
        await got.until(20)


async def test_frames_wait_for_a_group_that_was_there_once(store: Any, join: Any, taken: Any) -> None:
    one, other = await join(store, DURABLE), await join(store, DURABLE)
    told, got = taken(), taken()
    await one.publish("work", b"early", undelivered=told.told)
    assert told.frames == [b"no_consumers: early"]
    member = await other.subscribe("work", got, queue_group="workers")
    await member.unsubscribe()
    begun = time.monotonic()
    await one.publish("work", b"waits", undelivered=nothing_to_tell)
    await one.close()
    with pytest.raises(TimeoutError):
        await got.until(1, within_s=0.5)
    await other.subscribe("work", got, queue_group="workers")
    (frame,) = await got.until(1)
    assert frame == b"waits"
    assert isinstance(frame, HeldFrame)
    assert frame.held_s == pytest.approx(time.monotonic() - begun, abs=0.1)


async def test_a_frame_with_a_known_id_is_stored_once(store: Any, join: Any, taken: Any) -> None:
    one, other = await join(store, DURABLE), await join(store, DURABLE)
    got = taken()
    await other.subscribe("work", got, queue_group="workers")
    for synapse in (one, other):
        for _ in range(500):
            await synapse.publish("work", b"same", undelivered=nothing_to_tell, message_id="evt_1")
    for _ in range(2):
        await one.publish("work", b"equal", undelivered=nothing_to_tell)
    assert await got.until(3) == [b"same", b"equal", b"equal"]
    with pytest.raises(SynapseError, match="at most 256 characters"):
        await one.publish("work", b"", undelivered=nothing_to_tell, message_id="x" * 257)


async def test_a_member_never_has_more_than_it_has_room_for(
    store: Any, join: Any, taken: Any, slow: Any
) -> None:
    one = await join(store, DURABLE)
    members, everything = [], taken()
    for _ in range(2):
        stuck = slow()
        stuck.tee = everything
        await (await join(store, DURABLE, max_in_flight=5)).subscribe("work", stuck, queue_group="g")
        members.append(stuck)
    for number in range(30):
        await one.publish("work", b"%d" % number, undelivered=nothing_to_tell)
    for stuck in members:
        await stuck.until(5)
    assert [len(stuck.frames) for stuck in members] == [5, 5]
    for stuck in members:
        stuck.release.set()
    assert len(set(await everything.until(30))) == 30


async def test_work_that_takes_longer_than_the_lease_is_not_given_to_another(
    store: Any, join: Any, taken: Any, slow: Any
) -> None:
    one, other = await join(store, DURABLE), await join(store, DURABLE)
    stuck, quick = slow(), taken()
    await one.subscribe("work", stuck, queue_group="g")
    await one.publish("work", b"long", undelivered=nothing_to_tell)
    await stuck.until(1)
    await other.subscribe("work", quick, queue_group="g")
    with pytest.raises(TimeoutError):
        await quick.until(1, within_s=2.5)
    stuck.release.set()
    assert stuck.frames == [b"long"]
    assert quick.frames == []


async def test_a_poison_frame_is_run_three_times_and_buried_while_others_go_on(
    store: Any, join: Any, taken: Any
) -> None:
    one, other = await join(store, DURABLE), await join(store, DURABLE)
    told, got = taken(), taken()

    async def fragile(frame: bytes) -> None:
        got(frame)
        if frame == b"poison":
            raise ValueError("cannot\r\nswallow this")

    await other.subscribe("work.*", fragile, queue_group="g")
    await one.publish("work.x", b"poison", undelivered=told.told, message_id="p")
    for number in range(20):
        await one.publish("work.x", b"%d" % number, undelivered=nothing_to_tell)
    assert await told.until(1) == [b"failed: poison"]
    assert (await got.until(23)).count(b"poison") == 3
    (letter,) = await one.dead_letters()
    assert (letter.subject, letter.frame, letter.deliveries) == ("work.x", b"poison", 3)
    assert letter.reason == "ValueError('cannot\\r\\nswallow this')"


async def test_the_newest_dead_letters_are_kept(store: Any, join: Any, taken: Any) -> None:
    synapse = await join(store, "?durable=true&max_deliveries=1&max_dead=3")
    told = taken()

    def broken(frame: bytes) -> None:
        raise ZeroDivisionError

    await synapse.subscribe("work", broken, queue_group="g")
    for number in range(6):
        await synapse.publish("work", b"%d" % number, undelivered=told.told)
    await told.until(6)
    assert len(await synapse.dead_letters()) == 3


@pytest.mark.parametrize(("limit", "room"), [("max_waiting=10", 10), ("max_bytes=20000", 17)])
async def test_a_flood_is_refused_and_drains_afterwards(
    store: Any, join: Any, taken: Any, slow: Any, limit: str, room: int
) -> None:
    one = await join(store, f"?durable=true&{limit}")
    two = await join(store, "?durable=true", max_in_flight=1)
    told, stuck, quick = taken(), slow(), taken()
    await two.subscribe("stuck", stuck, queue_group="stuck")
    await two.subscribe("quick", quick, queue_group="quick")
    for _ in range(40):
        await one.publish("stuck", bytes(1000), undelivered=told.told)
    assert room - 1 <= 40 - len(told.frames) <= room + 1
    assert told.frames[0].startswith(b"overloaded: ")
    if limit == "max_waiting=10":
        await one.publish("quick", b"x", undelivered=nothing_to_tell)
        assert await quick.until(1) == [b"x"]
    stuck.release.set()
    await stuck.until(40 - len(told.frames))
    await one.publish("stuck", b"again", undelivered=nothing_to_tell)
    assert (await stuck.until(41 - len(told.frames)))[-1] == b"again"


async def test_closing_gives_back_what_was_not_done_at_once(
    store: Any, join: Any, taken: Any, slow: Any
) -> None:
    one = await join(store, "?durable=true")
    other = await join(store, "?durable=true")
    stuck, got = slow(), taken()
    await other.subscribe("work", stuck, queue_group="g")
    for _ in range(10):
        await one.publish("work", b"x", undelivered=nothing_to_tell)
    await stuck.until(10)
    await one.subscribe("work", got, queue_group="g")
    await other.close()
    await got.until(10, within_s=3)


async def test_nothing_arrives_after_unsubscribing_and_none_is_lost(
    store: Any, join: Any, taken: Any
) -> None:
    one, other = await join(store, DURABLE), await join(store, DURABLE)
    first, second = taken(), taken()
    member = await other.subscribe("work", first, queue_group="g")

    async def publish_all() -> None:
        for number in range(500):
            await one.publish("work", b"%d" % number, undelivered=nothing_to_tell)

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


async def test_where_no_group_ever_was_a_frame_is_for_who_else_listens(
    store: Any, join: Any, taken: Any
) -> None:
    one, other = await join(store, DURABLE), await join(store, DURABLE)
    got, told = taken(), taken()
    subscription = await other.subscribe("inbox.x", got)
    sent = [b"%d" % number for number in range(200)]
    for frame in sent:
        await one.publish("inbox.x", frame, undelivered=nothing_to_tell)
    assert await got.until(200) == sent
    await subscription.unsubscribe()
    # That they were there a moment ago is no reason to believe that they are.
    await one.publish("inbox.x", b"late", undelivered=told.told)
    assert await told.until(1) == [b"no_consumers: late"]
    await other.subscribe("inbox.x", got)
    await one.publish("inbox.x", b"again", undelivered=nothing_to_tell)
    assert (await got.until(201))[-1] == b"again"


async def test_the_server_is_not_asked_for_each_of_those_frames(
    store: Any, join: Any, taken: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = await join(store, DURABLE), await join(store, DURABLE)
    asked: list[str] = []
    real = streams.every_consumer

    async def counted(js: Any, stream: str) -> Any:
        asked.append(stream)
        return await real(js, stream)

    monkeypatch.setattr(claims, "every_consumer", counted)
    got = taken()
    await other.subscribe("inbox.x", got)
    monkeypatch.setattr(claims, "PLAIN_S", 3600.0)
    publish = [one.publish("inbox.x", b"x", undelivered=nothing_to_tell) for _ in range(100)]
    await asyncio.gather(*publish)
    for _ in range(100):
        await one.publish("inbox.x", b"x", undelivered=nothing_to_tell)
    assert len(await got.until(200)) == 200
    assert 1 <= len(asked) <= 2


async def test_a_group_that_comes_to_such_a_subject_has_its_frames_kept(
    store: Any, join: Any, taken: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "PLAIN_S", 0.0)
    one, other = await join(store, DURABLE), await join(store, DURABLE)
    watching, got = taken(), taken()
    await other.subscribe("work", watching)
    await one.publish("work", b"early", undelivered=nothing_to_tell)
    assert await watching.until(1) == [b"early"]
    member = await other.subscribe("work", got, queue_group="workers")
    await member.unsubscribe()
    await one.publish("work", b"waits", undelivered=nothing_to_tell)
    await other.subscribe("work", got, queue_group="workers")
    assert await got.until(1) == [b"waits"]
    assert await watching.until(2) == [b"early", b"waits"]


def test_only_so_many_of_these_subjects_are_remembered() -> None:
    known = claims.Claims(None, "tasks")  # type: ignore[arg-type]
    for number in range(claims.MAX_PLAIN + 1):
        known.note_plain(f"inbox.{number}")
    assert not known.is_plain("inbox.0", online=True)
    assert known.is_plain("inbox.1", online=True)
