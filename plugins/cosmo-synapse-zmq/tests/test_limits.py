"""The limits of a hub: a peer that exceeds one is closed and named, and other peers go on."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from cosmo_core.routing import Router
from cosmo_synapse_zmq import wire
from cosmo_synapse_zmq.limits import DELIVERY_BYTES
from cosmo_synapse_zmq.session import COSTLY_S, Session
from cosmo_synapse_zmq.synapse import WINDOW, WINDOW_BYTES

if TYPE_CHECKING:
    from tests.conftest import Connect, RawPeer, Recorder, RunningHub, Slow, StartHub

    RawConnect = Callable[..., RawPeer]
    Eventually = Callable[..., Awaitable[None]]

HUB = "cosmo_synapse_zmq.hub."
SESSION = "cosmo_synapse_zmq.session."
FRAME = bytes(1000)
BusyHub = tuple[Callable[..., None], list[bytes]]


async def data(one: RawPeer, *commands: wire.PeerCommand, number: int = 1, received: int = 0) -> None:
    await one.send(wire.PeerData(number, received, list(commands)))


async def no_hello(one: RawPeer) -> None:
    for _ in range(20):
        await one.send(wire.Heartbeat(1))


async def datagrams(one: RawPeer) -> None:
    for _ in range(20):
        await one.send(wire.Datagram("nobody", FRAME))


async def hellos(one: RawPeer) -> None:
    for _ in range(20):
        await one.send(wire.Hello(wire.VERSION, b"sixteen bytes ok", 0))


async def endless_work(one: RawPeer) -> None:
    await one.send(wire.Hello(wire.VERSION, b"sixteen bytes ok", 0))
    await data(one, wire.Subscribe(1, "mine", "g", 1000))
    for number in range(2, 20):
        await data(one, *16 * [wire.Publish("mine", FRAME, 0)], number=number, received=2**62)


async def unacknowledged_reports(one: RawPeer) -> None:
    await one.send(wire.Hello(wire.VERSION, b"sixteen bytes ok", 0))
    for number in range(1, 40):
        await data(one, *16 * [wire.Publish("nobody", FRAME, number)], number=number)


async def paused_subject(one: RawPeer) -> None:
    await one.send(wire.Hello(wire.VERSION, b"sixteen bytes ok", 0))
    await data(one, wire.Subscribe(1, "mine", "g", 1))
    for number in range(2, 60):
        await data(one, *32 * [wire.Publish("mine", b"x", 0)], number=number)


async def tokens(one: RawPeer) -> None:
    await one.send(wire.Hello(wire.VERSION, b"sixteen bytes ok", 0))
    for number in range(1, 30):
        await data(one, wire.Subscribe(number, "a.b.*", "g", 1), number=number)


async def waiting_messages(one: RawPeer) -> None:
    await one.send(wire.Hello(wire.VERSION, b"sixteen bytes ok", 0))
    for number in range(1, 100):
        # Not short: a short message is executed as it comes.
        await data(one, *3 * [wire.Publish("nobody", b"x", 0)], number=number)


async def dead_letter_requests(one: RawPeer) -> None:
    await one.send(wire.Hello(wire.VERSION, b"sixteen bytes ok", 0))
    await data(one, *(wire.GetDeadLetters(request) for request in range(32)))


WAYS: dict[str, tuple[Callable[[RawPeer], Awaitable[None]], dict[str, int], str]] = {
    "messages without Hello": (no_hello, {HUB + "MAX_BEFORE_HELLO": 10}, "outside of a session"),
    "datagrams": (datagrams, {HUB + "MAX_DATAGRAMS": 10}, "datagrams"),
    "Hellos": (hellos, {HUB + "MAX_HELLOS": 10}, "said Hello 11 times"),
    "reports without acknowledgement": (
        unacknowledged_reports,
        {SESSION + "MAX_UNACKNOWLEDGED": 100},
        "commands with",
    ),
    "unfinished work": (
        endless_work,
        {HUB + "MAX_LENT_BYTES": 50_000, HUB + "FREE_LENT_BYTES": 1000},
        "bytes of frames of all peers",
    ),
    "too much in all": (unacknowledged_reports, {HUB + "MAX_TOTAL_BYTES": 100_000}, "of all peers"),
    "a paused subject": (paused_subject, {HUB + "MAX_REFUSED": 100}, "which is paused"),
    "patterns": (tokens, {HUB + "MAX_PATTERN_TOKENS": 300}, "tokens of all patterns"),
    "waiting messages": (
        waiting_messages,
        {HUB + "DIRECT": 1, HUB + "MAX_INBOX": 10},
        "10 messages without waiting for acknowledgements",
    ),
    "dead letters": (
        dead_letter_requests,
        {HUB + "MAX_DEAD_ANSWERS": 1, SESSION + "MAX_DEAD_REQUESTS": 5},
        "dead letters 5 times at once",
    ),
}


@pytest.mark.parametrize(("act", "limits", "reason"), WAYS.values(), ids=WAYS)
async def test_a_peer_that_exceeds_a_limit_is_closed_and_named(
    hub: RunningHub,
    raw_peer: RawConnect,
    connect: Connect,
    recorder: Callable[[], Recorder],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    act: Callable[[RawPeer], Awaitable[None]],
    limits: dict[str, int],
    reason: str,
) -> None:
    honest, got = await connect(hub.url), recorder()
    await honest.subscribe("honest", got)
    for name, value in limits.items():
        monkeypatch.setattr(name, value)
    one = raw_peer(hub.url)
    await act(one)
    await one.wait_disconnected()
    assert hub.hub.closed >= 1
    (line, *_) = [record.getMessage() for record in caplog.records if "closed the" in record.getMessage()]
    assert line.startswith("closed the connection of 127.0.0.1:")
    assert reason in line
    await honest.publish("honest", b"x")
    assert await got.until(1) == [b"x"]
    assert not hub.serving.done()


async def test_a_connection_without_hello_is_closed(
    hub: RunningHub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(HUB + "HELLO_S", 0.0)
    loop = asyncio.get_running_loop()
    with socket.create_connection(("127.0.0.1", hub.port)) as half_open:
        half_open.setblocking(False)
        async with asyncio.timeout(10):
            while await loop.sock_recv(half_open, 1000):
                pass
    assert "it did not say Hello within 0.0 s" in caplog.text


async def test_an_incomplete_message_is_closed_when_too_much_waits(
    hub: RunningHub, connect: Connect, raw_peer: RawConnect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HUB + "MAX_BACKLOG_BYTES", 100_000)
    greeting = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
    ready = b"\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"
    incomplete = b"\x02" + (10**6).to_bytes(8, "big") + bytes(500_000)
    reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
    writer.write(greeting + bytes([4, len(ready)]) + ready + incomplete)
    async with asyncio.timeout(10):
        # Until the end, or a reset because of unread bytes.
        try:
            while await reader.read(1000):
                pass
        except ConnectionError:
            pass
    writer.transport.abort()
    assert hub.hub.closed == 1
    await (await connect(hub.url)).dead_letters()


async def test_a_member_with_too_many_bytes_gets_more_after_it_has_acknowledged(
    hub: RunningHub, connect: Connect, slow: Callable[[], Slow], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MAX_LENT_BYTES", "FREE_LENT_BYTES"):
        monkeypatch.setattr(SESSION + name, 2500 + 2 * DELIVERY_BYTES)
    worker, publisher, working = await connect(hub.url), await connect(hub.url), slow()
    await worker.subscribe("work", working, queue_group="g")
    for _ in range(10):
        await publisher.publish("work", FRAME)
    await publisher.dead_letters()
    await working.until(3)
    assert len(working.frames) == 3
    working.release.set()
    assert await working.until(10) == 10 * [FRAME]


async def test_all_frames_arrive_though_little_may_be_on_its_way(
    start_hub: StartHub, connect: Connect, recorder: Callable[[], Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HUB + "FREE_TRANSIT_BYTES", 5000)
    monkeypatch.setattr(HUB + "MAX_TRANSIT_BYTES", 0)
    hub = await start_hub()
    one, other, got = await connect(hub.url), await connect(hub.url), recorder()
    await other.subscribe("a", got)
    for number in range(100):
        await one.publish("a", b"%03d" % number + FRAME)
    assert [int(frame[:3]) for frame in await got.until(100)] == list(range(100))


@pytest.fixture
def busy_hub(hub: RunningHub, monkeypatch: pytest.MonkeyPatch) -> Iterator[BusyHub]:
    """Yield a function that sends messages to a busy hub, and the names of the peers that had a turn."""
    ran: list[bytes] = []
    monkeypatch.setattr(Session, "_take", lambda session, raw: ran.append(session.id))
    monkeypatch.setattr(Session, "execute_all", lambda session, message, size: ran.append(session.id))
    # Otherwise the first messages are executed as they come.
    monkeypatch.setattr(hub.hub, "_direct", 0)
    sessions: dict[bytes, Session] = {}

    def receive(name: bytes, size: int, count: int) -> None:
        if name not in sessions:
            sessions[name] = Session(
                name, hub.hub, Router(max_waiting=1), lambda message: True, hub.hub._budget
            )
            hub.hub._by_routing_id[name] = sessions[name]
            # It has had some turns already.
            sessions[name].cost_s = 0.0
        commands = count * [wire.Publish("a", bytes(size), 0)]
        hub.hub._receive_data(name, wire.encode(wire.PeerData(1, 0, [*commands])))

    yield receive, ran
    for name in sessions:
        del hub.hub._by_routing_id[name]


async def test_short_messages_do_not_wait_for_long_ones(hub: RunningHub, busy_hub: BusyHub) -> None:
    receive, ran = busy_hub
    receive(b"long one", 9000, 1)
    receive(b"with many commands", 10, 3)
    receive(b"short one", 10, 1)
    receive(b"short two", 10, 2)
    assert ran == [b"short one", b"short two"]
    # Unless it comes after a long one of the same peer.
    receive(b"long one", 10, 1)
    assert len(ran) == 2
    hub.hub._run_waiting()
    assert ran[2:] == [b"long one", b"long one", b"with many commands"]


async def test_long_messages_get_as_much_time_as_short_ones(
    hub: RunningHub, busy_hub: BusyHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    receive, ran = busy_hub
    monkeypatch.setattr(HUB + "RUN_S", 0.0)
    for number in range(5):
        receive(b"%d" % number, 9000, 1)
    hub.hub._run_waiting()
    assert ran == [b"0"]
    receive(b"short one", 10, 1)
    assert hub.hub._short_s > 0.0
    hub.hub._short_s = 60.0
    hub.hub._run_waiting()
    assert ran == [b"0", b"short one", b"1", b"2", b"3", b"4"]
    assert hub.hub._short_s == 0.0


async def test_a_peer_whose_turns_take_long_has_its_turns_later(hub: RunningHub, busy_hub: BusyHub) -> None:
    receive, ran = busy_hub
    receive(b"costly", 10, 1)
    receive(b"cheap", 10, 1)
    assert ran == [b"costly", b"cheap"]
    costly = hub.hub._by_routing_id[b"costly"]
    costly.count_cost(32 * COSTLY_S)
    assert COSTLY_S < costly.cost_s < 1.1 * COSTLY_S
    for _ in range(2):
        receive(b"costly", 10, 1)
    receive(b"cheap", 10, 1)
    assert ran[2:] == [b"cheap"]
    # It has its turn, and once these are short again, it need not wait for them.
    hub.hub._run_waiting()
    assert ran[3:] == [b"costly", b"costly"]
    for _ in range(10):
        costly.count_cost(0.0)
    receive(b"costly", 10, 1)
    assert ran[5:] == [b"costly"]
    # So it is with a new peer.
    new = Session(b"new", hub.hub, Router(max_waiting=1), lambda message: True, hub.hub._budget)
    assert new.cost_s > COSTLY_S
    for _ in range(10):
        new.count_cost(COSTLY_S / 10)
    assert new.cost_s < COSTLY_S


async def test_turns_are_given_before_too_much_waits(
    hub: RunningHub, busy_hub: BusyHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    receive, ran = busy_hub
    monkeypatch.setattr(HUB + "MAX_INBOX_BYTES", 40_000)
    for number in range(20):
        receive(b"%d" % number, 9000, 1)
    assert len(ran) > 10
    assert hub.hub.closed == 0


async def test_what_was_written_is_sent_before_more_is_received_for_long(
    hub: RunningHub, raw_peer: RawConnect, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = raw_peer(hub.url), raw_peer(hub.url)
    await one.send_hello(b"one, 16 bytes ok")
    await other.send_hello(b"two, 16 bytes ok")
    await data(other, wire.Subscribe(1, "a", None, 1000))
    await other.receive()
    monkeypatch.setattr(HUB + "RUN_S", 0.0)
    written: list[int] = []
    flush = hub.hub._flush_streams

    def flush_and_count() -> None:
        written.append(len(hub.hub._to_flush))
        flush()

    monkeypatch.setattr(hub.hub, "_flush_streams", flush_and_count)
    # Both are available at once, and the first is executed as it comes.
    for number in (1, 2):
        raw = wire.encode(wire.PeerData(number, 0, [wire.Publish("a", b"%d" % number, 0)]))
        hub.hub._receive((next(iter(hub.hub._by_routing_id)), raw))
        assert written == ([], [1])[number - 1]
    assert [command.frame for command in (await other.receive()).commands] == [b"1"]
    assert [command.frame for command in (await other.receive()).commands] == [b"2"]


@pytest.mark.parametrize("size", [1, 60_000])
async def test_a_publisher_does_not_wait_for_the_next_heartbeat(
    start_hub: StartHub, connect: Connect, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(HUB + "HEARTBEAT_S", 3600.0)
    hub = await start_hub()
    publisher = await connect(hub.url)
    async with asyncio.timeout(30):
        for _ in range(3 * (WINDOW if size == 1 else WINDOW_BYTES // size)):
            await publisher.publish("nobody", bytes(size))


async def test_programs_that_publish_large_frames_at_once_are_not_closed(
    hub: RunningHub, connect: Connect, recorder: Callable[[], Recorder]
) -> None:
    pairs = [(await connect(hub.url), await connect(hub.url), recorder()) for _ in range(4)]
    for number, (_, worker, got) in enumerate(pairs):
        await worker.subscribe(f"large.{number}", got, queue_group="g")

    async def publish_all(number: int) -> None:
        for _ in range(200):
            await pairs[number][0].publish(f"large.{number}", bytes(60_000))
        for _ in range(5):
            await pairs[number][0].publish(f"large.{number}", bytes(1_000_000))

    await asyncio.gather(*map(publish_all, range(4)))
    for _, _, got in pairs:
        frames = await got.until(205, within_s=30)
        assert [len(frame) for frame in frames] == 200 * [60_000] + 5 * [1_000_000]
    assert hub.hub.closed == 0


async def test_a_pattern_counts_for_more_if_it_reaches_more_receivers(
    hub: RunningHub, raw_peer: RawConnect
) -> None:
    one = raw_peer(hub.url)
    await one.send_hello()
    (session,) = hub.hub._sessions.values()
    tokens: list[int] = []
    for number, pattern in enumerate(["a.b", "a.*", "a.b", "a.b", "c"], start=1):
        await data(one, wire.Subscribe(number, pattern, f"g{number}", 1), number=number)
        await one.receive()
        tokens.append(session.tokens - sum(tokens))
    # With a wildcard, and for each pattern after the first of its kind: 49 more.
    assert tokens == [8, 57, 57, 57, 7]
    for number in range(1, 6):
        await data(one, wire.Unsubscribe(number), number=5 + number)
        await one.receive()
    assert (session.tokens, hub.hub._tokens) == (0, 0)


async def test_commands_without_a_frame_are_limited_too(
    hub: RunningHub, raw_peer: RawConnect, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(HUB + "MAX_TOTAL_BYTES", 100_000)
    one = raw_peer(hub.url)
    await one.send_hello()
    commands: list[wire.PeerCommand] = [wire.Subscribe(1, "a", None, 1), wire.Unsubscribe(1)]
    for number in range(1, 100):
        # It acknowledges none of the answers.
        await data(one, *16 * commands, number=number)
    await one.wait_disconnected()
    assert "bytes unacknowledged of all peers" in caplog.text


async def test_members_cannot_work_on_any_number_of_small_frames(
    hub: RunningHub, connect: Connect, slow: Callable[[], Slow], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MAX_LENT_BYTES", "FREE_LENT_BYTES"):
        monkeypatch.setattr(SESSION + name, 100 * DELIVERY_BYTES)
    worker, publisher, working = await connect(hub.url), await connect(hub.url), slow()
    await worker.subscribe("work", working, queue_group="g")
    for number in range(300):
        await publisher.publish("work", b"%d" % number)
    await publisher.dead_letters()
    assert 90 < len(working.frames) <= 100
    working.release.set()
    assert await working.until(300) == [b"%d" % number for number in range(300)]


async def test_an_acknowledgement_of_nothing_looks_at_no_queue(
    hub: RunningHub, raw_peer: RawConnect, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, filled = raw_peer(hub.url), list[str]()
    await one.send_hello()
    await data(one, wire.Subscribe(1, "a", "g", 1))
    await one.receive()
    monkeypatch.setattr(hub.hub._router, "fill", lambda consumer: filled.append(consumer.pattern))
    await data(one, wire.Ack(1, []), wire.Ack(1, [1, 2, 3]), number=2)
    await one.send_hello()
    assert filled == []


async def test_excess_before_hello_is_closed_and_named(
    hub: RunningHub, raw_peer: RawConnect, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(HUB + "MAX_BACKLOG_BYTES", -1)
    one = raw_peer(hub.url)
    await one.send(wire.Datagram("nobody", bytes(10_000)))
    await one.wait_disconnected()
    assert hub.hub.closed == 1
    assert "closed the connection of 127.0.0.1:" in caplog.text
