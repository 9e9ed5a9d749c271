"""Sessions: opening, resuming and ending them, and the hub's limits."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from cosmo_core import FrameTooLargeError, SynapseError
from cosmo_synapse_zmq import wire

if TYPE_CHECKING:
    from tests.conftest import Connect, RawPeer, Recorder, RunningHub, StartHub

    RawConnect = Callable[..., RawPeer]
    Eventually = Callable[..., Awaitable[None]]


def subscribe(number: int = 1, sub: int = 1, pattern: str = "a", prefetch: int = 10) -> wire.PeerData:
    return wire.PeerData(number, 0, [wire.Subscribe(sub, pattern, "g", prefetch)])


async def commands(raw_peer: RawPeer, count: int) -> list[Any]:
    """Return the next commands that the hub sends to a raw peer."""
    received: list[Any] = []
    while len(received) < count:
        message = await raw_peer.receive()
        assert isinstance(message, wire.HubData)
        received += message.commands
    return received


async def test_another_version_is_rejected_with_the_reason(hub: RunningHub, raw_peer: RawConnect) -> None:
    answer = await raw_peer(hub.url).send_hello(version=99)
    assert isinstance(answer, wire.Rejection)
    assert "version 1" in answer.reason
    assert "99" in answer.reason


async def test_a_session_id_of_the_wrong_length_is_rejected(hub: RunningHub, raw_peer: RawConnect) -> None:
    answer = await raw_peer(hub.url).send_hello(b"fifteen bytes!!")
    assert isinstance(answer, wire.Rejection)
    assert "cannot be guessed" in answer.reason


async def test_a_peer_without_hello_gets_unknown_session(hub: RunningHub, raw_peer: RawConnect) -> None:
    one = raw_peer(hub.url)
    await one.send(subscribe())
    assert isinstance(await one.receive(), wire.UnknownSession)


async def test_a_peer_with_the_session_id_resumes_the_session(hub: RunningHub, raw_peer: RawConnect) -> None:
    one, again = raw_peer(hub.url), raw_peer(hub.url)
    assert await one.send_hello() == wire.Welcome(False, 0, 1024 * 1024 - 4096)
    await one.send(subscribe())
    assert await commands(one, 1) == [wire.Subscribed(1)]
    # Unacknowledged commands are sent again on the new connection.
    assert await again.send_hello(received=0) == wire.Welcome(True, 1, 1024 * 1024 - 4096)
    assert await commands(again, 1) == [wire.Subscribed(1)]
    await one.send(subscribe(number=2))
    assert isinstance(await one.receive(), wire.UnknownSession)


async def test_a_peer_cannot_affect_the_session_of_another(
    hub: RunningHub, raw_peer: RawConnect, connect: Connect
) -> None:
    one, thief, publisher = raw_peer(hub.url), raw_peer(hub.url), await connect(hub.url)
    await one.send_hello(b"one, 16 bytes ok")
    await thief.send_hello(b"two, 16 bytes ok")
    await one.send(subscribe())
    await commands(one, 1)
    # Numbers belong to one session: here they refer to no subscription and no delivery.
    theft: list[wire.PeerCommand] = [
        wire.Ack(1, [1, 2]),
        wire.Unsubscribe(1),
        wire.Nack(1, 1, "mine"),
        wire.Requeue(1, 1),
    ]
    await thief.send(wire.PeerData(1, 0, theft))
    await thief.send(wire.PeerData(2, 0, [wire.GetDeadLetters(7)]))
    assert await commands(thief, 1) == [wire.DeadLetterItem(7, None, b"", 0, "")]
    await publisher.publish("a", b"mine")
    (delivered,) = await commands(one, 1)
    assert isinstance(delivered, wire.Deliver)
    assert delivered.frame == b"mine"


async def test_a_second_hello_resumes_the_session(hub: RunningHub, raw_peer: RawConnect) -> None:
    one = raw_peer(hub.url)
    assert not (await one.send_hello()).resumed
    assert (await one.send_hello()).resumed


async def test_a_new_session_ends_the_peers_previous_one(
    hub: RunningHub, raw_peer: RawConnect, connect: Connect, recorder: Callable[[], Recorder]
) -> None:
    one, other, reports = raw_peer(hub.url), await connect(hub.url), recorder()
    await one.send_hello(b"one, 16 bytes ok")
    await one.send(subscribe())
    await commands(one, 1)
    await other.publish("a", b"x", undelivered=reports.report)
    await commands(one, 1)
    assert not (await one.send_hello(b"two, 16 bytes ok")).resumed
    assert await reports.until(1) == [b"lost: x"]
    # The first session cannot be resumed.
    assert not (await one.send_hello(b"one, 16 bytes ok")).resumed


async def test_a_repeated_message_is_not_executed_again(
    hub: RunningHub, raw_peer: RawConnect, connect: Connect, recorder: Callable[[], Recorder]
) -> None:
    one, watcher, got = raw_peer(hub.url), await connect(hub.url), recorder()
    await watcher.subscribe("a", got)
    await one.send_hello()
    for number in (1, 1, 3, 2**63, 2, 1):
        await one.send(wire.PeerData(number, 0, [wire.Publish("a", b"%d" % number, 0)]))
    assert (await one.send_hello()).received == 2
    await watcher.publish("a", b"end")
    assert await got.until(3) == [b"1", b"2", b"end"]


async def test_commands_after_leave_are_ignored(
    hub: RunningHub, raw_peer: RawConnect, connect: Connect, recorder: Callable[[], Recorder]
) -> None:
    one, publisher, reports = raw_peer(hub.url), await connect(hub.url), recorder()
    await one.send_hello()
    subscribe = wire.Subscribe(1, "a", "g", 10)
    await one.send(wire.PeerData(1, 0, [wire.Leave(), wire.Leave(), subscribe, wire.Publish("b", b"", 0)]))
    await one.send(wire.PeerData(2, 0, [subscribe]))
    assert isinstance(await one.receive(), wire.UnknownSession)
    await publisher.publish("a", b"x", undelivered=reports.report)
    assert await reports.until(1) == [b"no_consumers: x"]
    assert not (await one.send_hello()).resumed


async def test_the_number_of_sessions_is_limited(
    hub: RunningHub, raw_peer: RawConnect, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cosmo_synapse_zmq.hub.MAX_SESSIONS", 2)
    await connect(hub.url)
    leaving = await connect(hub.url)
    with pytest.raises(SynapseError, match="peers are connected, which is the limit"):
        await connect(hub.url)
    await leaving.close()
    async with asyncio.timeout(5):
        # The session ends when the hub receives Leave.
        while not await connects(connect, hub.url):
            pass


async def connects(connect: Connect, url: str) -> bool:
    try:
        await connect(url)
    except SynapseError:
        return False
    return True


async def test_the_number_of_subscriptions_of_a_peer_is_limited(
    hub: RunningHub, connect: Connect, recorder: Callable[[], Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cosmo_synapse_zmq.session.MAX_SUBSCRIPTIONS", 2)
    synapse, got = await connect(hub.url), recorder()
    subscriptions = [await synapse.subscribe("a", got) for _ in range(2)]
    with pytest.raises(SynapseError, match="at most 2 subscriptions are allowed"):
        await synapse.subscribe("a", got)
    await subscriptions[0].unsubscribe()
    await synapse.subscribe("a", got)
    await synapse.publish("a", b"x")
    assert await got.until(2) == [b"x", b"x"]


async def test_the_hub_sets_the_frame_limit(start_hub: StartHub, connect: Connect) -> None:
    running = await start_hub(max_frame=100)
    synapse = await connect(running.url)
    assert synapse.guarantees.max_frame == 100
    await synapse.publish("a", bytes(100))
    with pytest.raises(FrameTooLargeError, match="101 bytes on a"):
        await synapse.publish("a", bytes(101))


async def test_a_peer_that_a_full_hub_rejects_after_a_restart_connects_when_there_is_space(
    hub: RunningHub, connect: Connect, recorder: Callable[[], Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    synapse, got = await connect(hub.url), recorder()
    await synapse.subscribe("a", got)
    await hub.stop()
    monkeypatch.setattr("cosmo_synapse_zmq.hub.MAX_SESSIONS", 0)
    await hub.start()

    async def rejected() -> None:
        while True:
            await synapse.publish("a", b"rejected or kept")
            await asyncio.sleep(0.01)

    with pytest.raises(SynapseError, match="rejects this peer: 0 peers are connected, which is the limit"):
        await asyncio.wait_for(rejected(), 10)
    monkeypatch.setattr("cosmo_synapse_zmq.hub.MAX_SESSIONS", 1)
    await got.until(1)
    await synapse.publish("a", b"accepted")


@pytest.fixture
def no_garbage_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def test_a_session_that_has_ended_is_freed_without_garbage_collection(
    hub: RunningHub, raw_peer: RawConnect, eventually: Eventually, no_garbage_collection: None
) -> None:
    one, other = raw_peer(hub.url), raw_peer(hub.url)
    await one.send_hello(b"one, 16 bytes ok")
    await other.send_hello(b"two, 16 bytes ok")
    await other.send(wire.PeerData(1, 0, [wire.Subscribe(1, "a", "g", 1), wire.Subscribe(2, "b", "g", 1)]))
    await one.send(
        wire.PeerData(
            1,
            0,
            [
                wire.Subscribe(1, "a", "g", 1),
                wire.Subscribe(2, "b", None, 1),
                wire.Subscribe(3, "c", "g", 1),
                wire.Publish("nobody", b"x", 7),
                *3 * [wire.Publish("a", b"x", 0)],
                *2 * [wire.Publish("c", b"x", 7)],
            ],
        )
    )
    # The hub has executed the commands above.
    await one.send_hello(b"one, 16 bytes ok")
    session = weakref.ref(hub.hub._sessions[b"one, 16 bytes ok"])
    consumers = [weakref.ref(consumer) for consumer in session()._consumers.values()]  # type: ignore[union-attr]
    assert len(consumers) == 3
    await one.send(wire.PeerData(2, 0, [wire.Leave()]))
    await eventually(lambda: session() is None)
    assert [consumer() for consumer in consumers] == [None, None, None]


async def test_a_report_to_a_session_that_has_ended_is_not_counted(
    hub: RunningHub, raw_peer: RawConnect, eventually: Eventually
) -> None:
    publisher, worker = raw_peer(hub.url), raw_peer(hub.url)
    await publisher.send_hello(b"one, 16 bytes ok")
    await worker.send_hello(b"two, 16 bytes ok")
    await worker.send(subscribe())
    await commands(worker, 1)
    await publisher.send(wire.PeerData(1, 0, [wire.Publish("a", bytes(1000), 7)]))
    (delivery,) = await commands(worker, 1)
    await publisher.send(wire.PeerData(2, 0, [wire.Leave()]))
    await eventually(lambda: len(hub.hub._sessions) == 1)
    await worker.send(wire.PeerData(2, 2, [*3 * [wire.Nack(1, delivery.number, "failed")]]))
    await eventually(lambda: len(hub.hub._router.dead_letters) == 1)
    await worker.send(wire.PeerData(3, 2**62, [wire.Leave()]))
    await eventually(lambda: not hub.hub._sessions)
    budget = hub.hub._budget
    assert (budget.owed, budget.lent, budget.unacknowledged) == (0, 0, 0)
    assert (budget.waiting, budget.in_transit) == (0, 0)


async def test_sessions_with_many_subscriptions_end_step_by_step(
    hub: RunningHub,
    raw_peer: RawConnect,
    connect: Connect,
    recorder: Callable[[], Recorder],
    eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    publisher, reports = await connect(hub.url), recorder()
    one = raw_peer(hub.url)
    await one.send_hello()
    for first in range(0, 96, 32):
        subs = [wire.Subscribe(first + each, f"a.{first + each}", "g", 1) for each in range(32)]
        await one.send(wire.PeerData(first // 32 + 1, 0, [*subs]))
    await one.send_hello()
    # Time for one step: others get their turns in between.
    monkeypatch.setattr("cosmo_synapse_zmq.hub.RUN_S", 1e-9)
    steps: list[int] = []
    flush = hub.hub.flush

    def count_and_flush() -> None:
        steps.append(len(hub.hub._leaving))
        flush()

    monkeypatch.setattr(hub.hub, "flush", count_and_flush)
    await one.send(wire.PeerData(4, 0, [wire.Leave()]))
    await eventually(lambda: len(hub.hub._sessions) == 1)
    await eventually(lambda: not hub.hub._leaving)
    assert steps.count(1) >= 2 * 96
    monkeypatch.undo()
    for number in range(96):
        await publisher.publish(f"a.{number}", b"%d" % number, undelivered=reports.report)
    assert await reports.until(96) == [b"no_consumers: %d" % number for number in range(96)]
