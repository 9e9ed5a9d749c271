"""A hub survives whatever is sent to it, counts it, and goes on with its work for everybody else."""

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
    from tests.conftest import Join, RunningHub, Stranger, Taken

    Connect = Callable[..., Stranger]

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
    st.builds(wire.Settle, NUMBERS, st.lists(NUMBERS, max_size=5)),
    st.builds(wire.Fail, NUMBERS, NUMBERS, st.text(max_size=20)),
    st.builds(wire.GiveBack, NUMBERS, NUMBERS),
    st.builds(wire.AskDead, NUMBERS),
    st.builds(wire.Leave),
)
SESSIONS = st.binary(min_size=0, max_size=20) | st.sampled_from([b"a name of a peer", b"16 bytes, stolen"])
MESSAGES = st.one_of(
    st.builds(wire.Hello, st.just(wire.VERSION) | NUMBERS, SESSIONS, NUMBERS),
    st.builds(wire.Shout, SUBJECTS, FRAMES),
    st.builds(wire.Beat, NUMBERS),
    st.builds(wire.PeerData, st.integers(1, 3) | NUMBERS, NUMBERS, st.lists(COMMANDS, max_size=5)),
    # What the hub says is nothing to say to a hub.
    st.builds(wire.HubData, NUMBERS, NUMBERS, st.just([])),
    st.builds(wire.Lost),
).map(wire.encode)


def mutated(raw: bytes, seed: int) -> bytes:
    """Cut a message short, or change, add or take away some of its bytes."""
    dice, changed = random.Random(seed), bytearray(raw)  # noqa: S311 - nothing here is a secret
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
async def test_whatever_strangers_say_others_go_on(
    hub: RunningHub, stranger: Connect, good: Callable[[], Any], flood: list[bytes]
) -> None:
    one, rejected = stranger(hub.url), hub.hub.rejected
    for raw in flood:
        await one.say(raw)
    await one.greet(b"for the last one")
    nonsense = sum(not is_message(raw) for raw in flood)
    async with asyncio.timeout(5):
        # A greeting in the flood may have been answered first.
        while hub.hub.rejected < rejected + nonsense:  # noqa: ASYNC110 - counters have no event
            await asyncio.sleep(0)
    assert rejected + nonsense <= hub.hub.rejected <= rejected + nonsense + 5 * len(flood)
    await (await good())(b"%d" % next(ROUNDS))
    assert not hub.serving.done()


@pytest.fixture
def good(hub: RunningHub, join: Join, taken: Callable[[], Taken]) -> Callable[[], Any]:
    """Return what passes a frame from one good peer to another, and fails if it does not arrive."""
    passing: list[Any] = []

    async def start() -> Any:
        if not passing:
            publisher, receiver, got = await join(hub.url), await join(hub.url), taken()
            await receiver.subscribe("good", got, queue_group="g")

            async def go(frame: bytes) -> None:
                await publisher.publish("good", frame)
                await got.until(len(passed) + 1, within_s=2)
                passed.append(frame)
                assert got.frames == passed

            passed: list[bytes] = []
            passing.append(go)
        return passing[0]

    return start


async def test_everything_that_makes_no_sense_is_counted_and_little_of_it_logged(
    hub: RunningHub, stranger: Connect, good: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    one = stranger(hub.url)
    with caplog.at_level(logging.WARNING):
        for number in range(1000):
            await one.say(b"\xc1%d" % number)
        await one.greet()
    assert hub.hub.rejected == 1000
    assert len([record for record in caplog.records if "makes no sense" in record.message]) == 4
    await (await good())(b"x")


def nested(depth: int, tail: bool) -> bytes:
    """Give a Hello with arrays within arrays, in place of its version or behind its end."""
    inner = depth * b"\x91" + b"\xc0"
    if tail:
        return b"\x95\x01\x01\xc4\x10" + 16 * b"n" + b"\x00" + inner
    return b"\x94\x01" + inner + b"\xc4\x10" + 16 * b"n" + b"\x00"


DEEP = ".".join(["h"] * 3000)

ATTACKS: dict[str, list[bytes]] = {
    "nested where a number belongs": [nested(100_000, tail=False)],
    "nested behind the end": [nested(100_000, tail=True)],
    "nothing": [b""],
    "a number of two to the power of 64": [wire.encode(wire.Beat(0))[:-1] + b"\xcf" + 8 * b"\xff"],
    "a length without what is that long": [b"\xdd\xff\xff\xff\xff", b"\x93\x06\x01\xdd\xff\xff\xff\xff"],
    "a wildcard as a subject": [wire.encode(wire.Shout(">", b"x")), wire.encode(wire.Shout("a.*", b"x"))],
    "a frame that is too large": [wire.encode(wire.Shout("good", bytes(DEFAULT_MAX_FRAME + 1)))],
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
async def test_a_known_attack_is_rejected(
    hub: RunningHub,
    stranger: Connect,
    good: Callable[[], Any],
    attack: list[bytes],
    caplog: pytest.LogCaptureFixture,
) -> None:
    one, go = stranger(hub.url), await good()
    for raw in attack:
        await one.say(raw)
    await one.greet()
    # A number may be as large as it likes, as long as it is one.
    assert hub.hub.rejected == sum(not raw.startswith(b"\x92\x04") for raw in attack)
    await go(b"x")
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_subject_of_thousands_of_tokens_stops_nobody(
    hub: RunningHub, stranger: Connect, good: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    one, go = stranger(hub.url), await good()
    await one.greet(b"16 bytes, really")
    await one.say(wire.PeerData(1, 0, [wire.Subscribe(1, DEEP, None, 1)]))
    await one.say(wire.PeerData(2, 0, [wire.Publish(DEEP, b"x", 0)]))
    await one.say(wire.PeerData(3, 0, [wire.Unsubscribe(1)]))
    await one.greet(b"16 bytes, really")
    await go(b"x")
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_deep_subject_that_was_published_too_early_stops_nobody(
    hub: RunningHub, stranger: Connect, good: Callable[[], Any], eventually: Any
) -> None:
    one, go = stranger(hub.url), await good()
    await one.greet(b"16 bytes, really", again=True)
    await one.say(wire.PeerData(1, 0, [wire.Publish(DEEP, b"x", 0)]))
    await one.say(wire.PeerData(2, 0, [wire.Subscribe(1, DEEP, None, 1, again=True)]))
    await eventually(lambda: hub.hub.rejected == 1, within_s=3)
    await go(b"x")
    assert not hub.serving.done()


async def test_too_many_parts_are_no_message(hub: RunningHub, stranger: Connect) -> None:
    one = stranger(hub.url)
    await one.socket.send_multipart([wire.encode(wire.Beat(0)), b"more"])
    await one.greet()
    assert hub.hub.rejected == 1


async def test_what_is_larger_than_any_message_cuts_off_its_sender_only(
    hub: RunningHub, stranger: Connect, good: Callable[[], Any]
) -> None:
    one, other, go = stranger(hub.url), stranger(hub.url), await good()
    await other.greet()
    await one.say(bytes(DEFAULT_MAX_FRAME + wire.OVERHEAD + 1))
    await one.cut_off()
    assert (await other.greet()).resumed
    await go(b"x")
    assert hub.hub.rejected == 0


async def test_random_bytes_on_the_port_stop_nobody(hub: RunningHub, good: Callable[[], Any]) -> None:
    dice, go = random.Random(7), await good()  # noqa: S311 - nothing here is a secret
    for number in range(200):
        reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
        writer.write(dice.randbytes(dice.randint(1, 1000)))
        # It may have hung up already; else it does when there is nothing more to read.
        with suppress(OSError):
            writer.write_eof()
        async with asyncio.timeout(5):
            with suppress(ConnectionError):
                await reader.read()
        writer.transport.abort()
        if number % 20 == 0:
            await go(b"%d" % number)
    await go(b"end")
    assert not hub.serving.done()
