"""Publishers wait for the members of a queue group, and for as long as there are any."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import nats
import pytest

from cosmo_core import SynapseClosedError
from cosmo_synapse_nats import flow, from_url
from cosmo_synapse_nats.flow import WINDOW, FlowControl
from cosmo_synapse_nats.synapse import NatsSynapse
from cosmo_testing import TcpProxy

MANY = 8 * WINDOW
"""Frames that no member holds: in its handler, waiting for it, and in the windows of one publisher."""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow, "SILENT_S", 0.2)


def frames(count: int) -> list[bytes]:
    return [b"%d" % number for number in range(count)]


async def publish_all(synapse: NatsSynapse, count: int) -> None:
    for frame in frames(count):
        await synapse.publish("work", frame)


async def blocked(synapse: NatsSynapse) -> None:
    """Wait until a publisher waits for a member."""
    windows = synapse._flow._windows  # type: ignore[union-attr]
    while not ("work" in windows and windows["work"].waiting and windows["work"].missing):
        await synapse._connection.flush()  # type: ignore[union-attr]


@pytest.fixture
async def publishing(server: Any, connect: Any, slow: Any) -> Any:
    """A publisher that waits for the one member of a group, the member's subscription, and its handler."""
    member, publisher = await connect(server, max_in_flight=4), await connect(server)
    handler = slow()
    subscription = await member.subscribe("work", handler, queue_group="g")
    task = asyncio.ensure_future(publish_all(publisher, MANY))
    async with asyncio.timeout(20):
        await blocked(publisher)
        yield publisher, task, subscription, handler
        await asyncio.wait({task})


async def test_every_frame_is_handled_in_order(publishing: Any) -> None:
    _, task, subscription, handler = publishing
    handler.release.set()
    await task
    assert await handler.until(MANY) == frames(MANY)
    assert subscription.dropped == 0


async def test_frames_of_several_publishers_are_all_handled(
    connect: Any, server: Any, publishing: Any
) -> None:
    _, task, subscription, handler = publishing
    others = [await connect(server) for _ in range(3)]
    publishers = [asyncio.ensure_future(publish_all(each, MANY)) for each in others]
    await asyncio.gather(*(blocked(each) for each in others))
    handler.release.set()
    await asyncio.gather(task, *publishers)
    assert sorted(await handler.until(4 * MANY)) == sorted(4 * frames(MANY))
    assert subscription.dropped == 0


async def test_each_of_several_members_is_waited_for(server: Any, connect: Any, slow: Any) -> None:
    publisher, handlers, subscriptions = await connect(server), [slow(), slow(), slow()], []
    for handler in handlers:
        member = await connect(server, max_in_flight=4)
        subscriptions.append(await member.subscribe("work", handler, queue_group="g"))
    task = asyncio.ensure_future(publish_all(publisher, MANY))
    async with asyncio.timeout(20):
        await blocked(publisher)
        for handler in handlers:
            handler.release.set()
        await task
        while sum(len(handler.frames) for handler in handlers) < MANY:
            await publisher._connection.flush()
    assert sorted(frame for handler in handlers for frame in handler.frames) == sorted(frames(MANY))
    assert [subscription.dropped for subscription in subscriptions] == [0, 0, 0]


async def test_publishers_of_one_program_keep_their_order(server: Any, connect: Any, slow: Any) -> None:
    member, publisher, handler = await connect(server, max_in_flight=4), await connect(server), slow()
    await member.subscribe("work", handler, queue_group="g")
    tasks = [asyncio.ensure_future(publisher.publish("work", frame)) for frame in frames(MANY)]
    async with asyncio.timeout(20):
        await blocked(publisher)
        handler.release.set()
        await asyncio.gather(*tasks)
        assert await handler.until(MANY) == frames(MANY)


async def test_a_member_that_leaves_lets_its_publishers_go_on(publishing: Any) -> None:
    _, task, subscription, handler = publishing
    await subscription.unsubscribe()
    await task
    handler.release.set()


async def test_a_publisher_that_is_cancelled_leaves_the_others_working(publishing: Any) -> None:
    publisher, task, subscription, handler = publishing
    task.cancel()
    await asyncio.wait({task})
    done = len(handler.frames)
    handler.release.set()
    await publisher.publish("work", b"after")
    while b"after" not in handler.frames:
        await handler.until(len(handler.frames) + 1)
    assert len(handler.frames) > done
    assert subscription.dropped == 0


async def test_closing_the_synapse_ends_the_wait(publishing: Any) -> None:
    publisher, task, _, handler = publishing
    await publisher.close()
    with pytest.raises(SynapseClosedError, match="cannot publish on work"):
        await task
    handler.release.set()


async def test_a_member_that_is_lost_is_not_waited_for(server: Any, connect: Any, slow: Any) -> None:
    publisher, handler = await connect(server), slow()
    async with TcpProxy("127.0.0.1", server.port) as proxy, asyncio.timeout(20):
        member = from_url(f"nats://127.0.0.1:{proxy.own_port}", max_in_flight=4)
        await member.connect()
        await member.subscribe("work", handler, queue_group="g")
        task = asyncio.ensure_future(publish_all(publisher, MANY))
        await blocked(publisher)
        with proxy.stalled():
            # As if the member's process was killed.
            proxy.cut()
            await task
        handler.release.set()
        await member._connection.flush()  # type: ignore[union-attr]
        await member.close()


async def test_publishers_go_on_after_a_broken_connection(server: Any, connect: Any, slow: Any) -> None:
    member, handler = await connect(server, max_in_flight=4), slow()
    subscription = await member.subscribe("work", handler, queue_group="g")
    async with TcpProxy("127.0.0.1", server.port) as proxy, asyncio.timeout(20):
        publisher = from_url(f"nats://127.0.0.1:{proxy.own_port}")
        await publisher.connect()
        task = asyncio.ensure_future(publish_all(publisher, MANY))
        await blocked(publisher)
        proxy.cut()
        handler.release.set()
        await task
        await publisher._connection.flush()  # type: ignore[union-attr]
        await publisher.close()
    assert subscription.dropped == 0


async def test_a_listener_that_does_not_answer_delays_a_publisher_once(server: Any, connect: Any) -> None:
    publisher, listener = await connect(server), await nats.connect(server.url)
    seen: list[str] = []

    async def note(msg: Any) -> None:
        seen.append(msg.subject)

    await listener.subscribe(">", cb=note, pending_msgs_limit=0)
    await listener.flush()
    begun = time.monotonic()
    async with asyncio.timeout(20):
        # Waiting for each window would take ten times as long.
        await publish_all(publisher, 100 * WINDOW)
        assert time.monotonic() - begun < 10 * flow.SILENT_S
        while seen.count("work") < 100 * WINDOW:
            await listener.flush()
    await listener.close()


async def test_a_probe_is_answered_to_an_inbox_only(server: Any, connect: Any, recorder: Any) -> None:
    member, stranger = await connect(server), await nats.connect(server.url)
    await member.subscribe("work", recorder(), queue_group="g")
    forged, answers = await stranger.subscribe("$JS.ACK.forged"), await stranger.subscribe("_INBOX.cosmo.x")
    for reply in ("$JS.ACK.forged", "_INBOX.cosmo.x"):
        await stranger.publish("_INBOX.cosmo.flow.work", b"", reply)
    assert (await answers.next_msg(5)).data.startswith(b"go ")
    assert forged.pending_msgs == 0
    await stranger.close()


async def test_the_number_of_counted_subjects_is_bounded(
    server: Any, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow, "MAX_SUBJECTS", 10)
    publisher = await connect(server)
    for number in range(100):
        for _ in range(WINDOW + 1):
            await publisher.publish(f"work.{number}", b"")
    assert len(publisher._flow._windows) == 10
    assert len(publisher._flow._probes) <= 10


async def test_large_frames_count_as_several(connect: Any, server: Any) -> None:
    counted = FlowControl((await connect(server))._connection)
    assert [counted.admit("work", 1_000_000) for _ in range(2)] == [None, None]
    waiting = counted.admit("work", 1_000_000)
    assert waiting is not None
    await waiting
