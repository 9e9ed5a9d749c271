"""DrainedSocket reads every message, whatever its receiver does meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import zmq

from cosmo_synapse_zmq.sockets import MAX_IN_A_ROW, DrainedSocket, read_first

Sockets = tuple["zmq.Socket[bytes]", "zmq.Socket[bytes]"]


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    """Two connected sockets; what the first one sends is available in the second one at once."""
    with zmq.Context() as context, context.socket(zmq.PAIR) as one, context.socket(zmq.PAIR) as other:
        for each in (one, other):
            each.set_hwm(0)
        one.bind("inproc://pair")
        other.connect("inproc://pair")
        yield one, other


class Received:
    """Records messages, and lets a test wait for a number of them."""

    def __init__(self, then: Callable[[bytes], object] = lambda message: None) -> None:
        self.messages: list[bytes] = []
        self._then = then
        self._changed = asyncio.Event()

    def __call__(self, message: bytes) -> None:
        self.messages.append(message)
        self._changed.set()
        self._then(message)

    async def until(self, count: int) -> list[bytes]:
        async with asyncio.timeout(10):
            while len(self.messages) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.messages


@pytest.fixture
async def failures() -> list[Any]:
    """What callbacks of the event loop have raised."""
    raised: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: raised.append(context["exception"]))
    return raised


async def test_messages_after_one_whose_receiver_fails_are_read(
    sockets: Sockets, failures: list[Any]
) -> None:
    one, other = sockets

    def fail(message: bytes) -> None:
        if message == b"1":
            raise LookupError(message)

    received = Received(fail)
    drained = DrainedSocket(other, received, read=read_first)
    for number in range(3):
        one.send(b"%d" % number)
    assert await received.until(3) == [b"0", b"1", b"2"]
    assert [type(error) for error in failures] == [LookupError]
    one.send(b"later")
    assert await received.until(4) == [b"0", b"1", b"2", b"later"]
    drained.close()


async def test_no_message_is_missed_while_both_sides_answer_each_other(
    sockets: Sockets, failures: list[Any]
) -> None:
    one, other = sockets
    there = DrainedSocket(other, lambda message: there.send(message), read=read_first)
    answers = Received(lambda message: back.send(message) if len(answers.messages) < 2000 else None)
    back = DrainedSocket(one, answers, read=read_first)
    # Sent outside of a receiver, too: sending may read the event that a message has arrived.
    for _ in range(10):
        back.send(b"x")
        await asyncio.sleep(0)
    assert len(await answers.until(2000)) >= 2000
    assert failures == []
    there.close()
    back.close()


async def test_a_receiver_may_close_the_socket(sockets: Sockets, failures: list[Any]) -> None:
    one, other = sockets
    received = Received(lambda message: drained.close())
    drained = DrainedSocket(other, received, read=read_first)
    one.send(b"first")
    one.send(b"second")
    assert await received.until(1) == [b"first"]
    await asyncio.sleep(0)
    assert (received.messages, failures) == ([b"first"], [])


async def test_first_part_of_a_message_is_read(sockets: Sockets) -> None:
    one, other = sockets
    received = Received()
    drained = DrainedSocket(other, received, read=read_first)
    one.send_multipart([b"a", b"b", b"c"])
    one.send(b"d")
    assert await received.until(2) == [b"a", b"d"]
    drained.close()


async def test_other_callbacks_run_between_many_messages(sockets: Sockets) -> None:
    one, other = sockets
    passes: list[tuple[bool, int]] = []
    received = Received()

    def on_drained(more: bool) -> bool:
        passes.append((more, len(received.messages)))
        return False

    for _ in range(3 * MAX_IN_A_ROW):
        one.send(b"x")
    drained = DrainedSocket(other, received, on_drained, read=read_first)
    await received.until(3 * MAX_IN_A_ROW)
    assert passes[:3] == [(True, MAX_IN_A_ROW), (True, 2 * MAX_IN_A_ROW), (False, 3 * MAX_IN_A_ROW)]
    drained.close()


async def test_pass_is_repeated_as_often_as_its_end_asks_for(sockets: Sockets) -> None:
    _, other = sockets
    done = asyncio.Event()
    left = 5

    def on_drained(more: bool) -> bool:
        nonlocal left
        left -= 1
        if not left:
            done.set()
        return left > 0

    drained = DrainedSocket(other, Received(), on_drained, read=read_first)
    async with asyncio.timeout(10):
        await done.wait()
    drained.close()
