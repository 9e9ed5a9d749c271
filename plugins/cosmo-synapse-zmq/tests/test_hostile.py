"""Hostile input: the hub rejects and counts it, and keeps serving its other peers."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cosmo_core.contracts.delivery import DEFAULT_MAX_FRAME
from cosmo_synapse_zmq import wire

if TYPE_CHECKING:
    from tests.conftest import Connect, RawPeer, Recorder, RunningHub

    RawConnect = Callable[..., RawPeer]

NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.integers(0, 3)
SUBJECTS = (
    st.sampled_from(["a", "a.b", "a..b", "", ".", ">", "*", "a b", "a\r\nb", "a\0", "é", "\uff41"])
    | st.text()
)
GROUPS = st.none() | SUBJECTS
FRAMES = st.binary(max_size=100)
COMMANDS = st.one_of(
    st.builds(wire.Subscribe, NUMBERS, SUBJECTS | st.just("h.*"), GROUPS, NUMBERS),
    st.builds(wire.Unsubscribe, NUMBERS),
    st.builds(wire.Publish, SUBJECTS, FRAMES, NUMBERS),
    st.builds(wire.Ack, NUMBERS, st.lists(NUMBERS, max_size=5)),
    st.builds(wire.Nack, NUMBERS, NUMBERS, st.text(max_size=20)),
    st.builds(wire.Requeue, NUMBERS, NUMBERS),
    st.builds(wire.GetDeadLetters, NUMBERS),
    st.builds(wire.Leave),
)
SESSIONS = st.binary(min_size=0, max_size=20) | st.sampled_from([b"a name of a peer", b"16 bytes, stolen"])
MESSAGES = st.one_of(
    st.builds(wire.Hello, st.just(wire.VERSION) | NUMBERS, SESSIONS, NUMBERS),
    st.builds(wire.Datagram, SUBJECTS, FRAMES),
    st.builds(wire.Heartbeat, NUMBERS),
    st.builds(wire.PeerData, st.integers(1, 3) | NUMBERS, NUMBERS, st.lists(COMMANDS, max_size=5)),
    # Messages of a hub are invalid for a hub.
    st.builds(wire.HubData, NUMBERS, NUMBERS, st.just([])),
    st.builds(wire.UnknownSession),
).map(wire.encode)


def mutated(raw: bytes, seed: int) -> bytes:
    """Truncate a message, or change, insert or remove some of its bytes."""
    dice, changed = random.Random(seed), bytearray(raw)  # noqa: S311 - not for security
    for _ in range(dice.randint(1, 3)):
        at = dice.randrange(len(changed) + 1)
        match dice.randrange(4):
            case 0:
                del changed[at:]
            case 1:
                changed[at : at + 1] = dice.randbytes(1)
            case 2:
                changed[at:at] = dice.randbytes(dice.randint(1, 8))
            case _:
                del changed[at : at + 2]
    return bytes(changed)


RAW = st.one_of(
    st.binary(max_size=200),
    MESSAGES,
    st.builds(mutated, MESSAGES, st.integers(0, 2**32)),
    st.recursive(
        st.none() | NUMBERS | st.text(max_size=5) | FRAMES, lambda inner: st.lists(inner, max_size=6)
    ).map(msgspec.msgpack.encode),
)


def is_message(raw: bytes) -> bool:
    try:
        wire.decode_for_hub(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True


ROUNDS = count()


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(flood=st.lists(RAW, min_size=10, max_size=10))
async def test_random_messages_do_not_affect_other_peers(
    hub: RunningHub, raw_peer: RawConnect, start_exchange: Callable[[], Any], flood: list[bytes]
) -> None:
    one, rejected = raw_peer(hub.url), hub.hub.rejected
    for raw in flood:
        await one.send(raw)
    await one.send_hello(b"for the last one")
    malformed = sum(not is_message(raw) for raw in flood)
    async with asyncio.timeout(5):
        # A Hello in the flood may have been answered first.
        while hub.hub.rejected < rejected + malformed:  # noqa: ASYNC110 - a counter has no event
            await asyncio.sleep(0)
    assert rejected + malformed <= hub.hub.rejected <= rejected + malformed + 5 * len(flood)
    await (await start_exchange())(b"%d" % next(ROUNDS))
    assert not hub.serving.done()


@pytest.fixture
def start_exchange(hub: RunningHub, connect: Connect, recorder: Callable[[], Recorder]) -> Callable[[], Any]:
    """Return a function that sends a frame between two valid peers, and fails if it does not arrive."""
    passing: list[Any] = []

    async def start() -> Any:
        if not passing:
            publisher, receiver, got = await connect(hub.url), await connect(hub.url), recorder()
            await receiver.subscribe("exchange", got, queue_group="g")

            async def exchange(frame: bytes) -> None:
                await publisher.publish("exchange", frame)
                await got.until(len(passed) + 1, within_s=2)
                passed.append(frame)
                assert got.frames == passed

            passed: list[bytes] = []
            passing.append(exchange)
        return passing[0]

    return start


async def test_malformed_messages_are_all_counted_and_few_are_logged(
    hub: RunningHub, raw_peer: RawConnect, start_exchange: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    one = raw_peer(hub.url)
    with caplog.at_level(logging.WARNING):
        for number in range(1000):
            await one.send(b"\xc1%d" % number)
        await one.send_hello()
    assert hub.hub.rejected == 1000
    assert len([record for record in caplog.records if "malformed" in record.message]) == 4
    await (await start_exchange())(b"x")


def nested(depth: int, tail: bool) -> bytes:
    """Return a Hello with nested arrays, in place of its version or after its end."""
    inner = depth * b"\x91" + b"\xc0"
    if tail:
        return b"\x95\x01\x01\xc4\x10" + 16 * b"n" + b"\x00" + inner
    return b"\x94\x01" + inner + b"\xc4\x10" + 16 * b"n" + b"\x00"


DEEP = ".".join(["h"] * 3000)

ATTACKS: dict[str, list[bytes]] = {
    "nested arrays in place of a number": [nested(100_000, tail=False)],
    "nested arrays after the end": [nested(100_000, tail=True)],
    "empty message": [b""],
    "a number of 2 ** 64": [wire.encode(wire.Heartbeat(0))[:-1] + b"\xcf" + 8 * b"\xff"],
    "a length without the content": [b"\xdd\xff\xff\xff\xff", b"\x93\x06\x01\xdd\xff\xff\xff\xff"],
    "a wildcard as a subject": [
        wire.encode(wire.Datagram(">", b"x")),
        wire.encode(wire.Datagram("a.*", b"x")),
    ],
    "a frame that is too large": [wire.encode(wire.Datagram("exchange", bytes(DEFAULT_MAX_FRAME + 1)))],
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
async def test_a_known_attack_is_rejected(
    hub: RunningHub,
    raw_peer: RawConnect,
    start_exchange: Callable[[], Any],
    attack: list[bytes],
    caplog: pytest.LogCaptureFixture,
) -> None:
    one, exchange = raw_peer(hub.url), await start_exchange()
    for raw in attack:
        await one.send(raw)
    await one.send_hello()
    # Any number is valid, however large.
    assert hub.hub.rejected == sum(not raw.startswith(b"\x92\x04") for raw in attack)
    await exchange(b"x")
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_subject_of_thousands_of_tokens_does_not_affect_other_peers(
    hub: RunningHub, raw_peer: RawConnect, start_exchange: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    one, exchange = raw_peer(hub.url), await start_exchange()
    await one.send_hello(b"16 bytes, really")
    await one.send(wire.PeerData(1, 0, [wire.Subscribe(1, DEEP, None, 1)]))
    await one.send(wire.PeerData(2, 0, [wire.Publish(DEEP, b"x", 0)]))
    await one.send(wire.PeerData(3, 0, [wire.Unsubscribe(1)]))
    await one.send_hello(b"16 bytes, really")
    await exchange(b"x")
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_an_early_frame_with_a_deep_subject_does_not_affect_other_peers(
    hub: RunningHub, raw_peer: RawConnect, start_exchange: Callable[[], Any], eventually: Any
) -> None:
    one, exchange = raw_peer(hub.url), await start_exchange()
    await one.send_hello(b"16 bytes, really", reconnecting=True)
    await one.send(wire.PeerData(1, 0, [wire.Publish(DEEP, b"x", 0)]))
    await one.send(wire.PeerData(2, 0, [wire.Subscribe(1, DEEP, None, 1, again=True)]))
    await eventually(lambda: hub.hub.rejected == 1, within_s=3)
    await exchange(b"x")
    assert not hub.serving.done()


async def test_a_message_with_too_many_parts_is_rejected(hub: RunningHub, raw_peer: RawConnect) -> None:
    one = raw_peer(hub.url)
    await one.socket.send_multipart([wire.encode(wire.Heartbeat(0)), b"more"])
    await one.send_hello()
    assert hub.hub.rejected == 1


async def test_an_oversized_message_disconnects_only_its_sender(
    hub: RunningHub, raw_peer: RawConnect, start_exchange: Callable[[], Any]
) -> None:
    one, other, exchange = raw_peer(hub.url), raw_peer(hub.url), await start_exchange()
    await other.send_hello()
    await one.send(bytes(DEFAULT_MAX_FRAME + wire.OVERHEAD + 1))
    await one.wait_disconnected()
    assert (await other.send_hello()).resumed
    await exchange(b"x")
    assert hub.hub.rejected == 0


async def test_random_bytes_on_the_port_do_not_affect_peers(
    hub: RunningHub, start_exchange: Callable[[], Any]
) -> None:
    dice, exchange = random.Random(7), await start_exchange()  # noqa: S311 - not for security
    for number in range(200):
        reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
        writer.write(dice.randbytes(dice.randint(1, 1000)))
        # The hub may have closed already; if not, it closes at the end of the input.
        with suppress(OSError):
            writer.write_eof()
        async with asyncio.timeout(5):
            with suppress(ConnectionError):
                await reader.read()
        writer.transport.abort()
        if number % 20 == 0:
            await exchange(b"%d" % number)
    await exchange(b"end")
    assert not hub.serving.done()
