"""A stream is exactly once, and in order, over a pipe that loses, repeats and breaks."""

from __future__ import annotations

from collections import deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cosmo_synapse_zmq import wire
from cosmo_synapse_zmq.stream import ACK_EVERY, MAX_TOGETHER, Outgoing
from cosmo_synapse_zmq.wire import MAX_BATCH


class Side:
    """One side: a stream, what it was told to say, what it heard, and the pipe to the other side."""

    def __init__(self) -> None:
        self.said: list[int] = []
        self.heard: list[int] = []
        self.pipe: deque[wire.Message] = deque()
        self.scheduled = False
        self.out = Outgoing(wire.PeerData, self._send, self._schedule)

    def _send(self, message: wire.Message) -> bool:
        self.pipe.append(message)
        return True

    def _schedule(self) -> None:
        self.scheduled = True

    def say(self, size: int) -> None:
        number = len(self.said)
        self.said.append(number)
        self.out.put(wire.AskDead(number), size)

    def flush(self) -> None:
        self.scheduled = False
        self.out.flush()

    def hear(self, message: wire.Message) -> None:
        if isinstance(message, wire.PeerData) and self.out.take(message.number, message.received):
            self.heard += [
                command.question for command in message.commands if isinstance(command, wire.AskDead)
            ]
        elif isinstance(message, wire.Beat):
            self.out.acknowledge(message.received)


class Streams(RuleBasedStateMachine):
    """Two sides, and a connection between them that breaks at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.sides = (Side(), Side())
        self.connected = False

    sides_ = st.integers(0, 1)

    @rule(side=sides_, size=st.integers(0, 100) | st.just(MAX_BATCH + 1), times=st.integers(1, 5))
    def say(self, side: int, size: int, times: int) -> None:
        for _ in range(times):
            self.sides[side].say(size)
        assert self.sides[side].scheduled or not self.sides[side].out.pending() or size > MAX_BATCH

    @rule(side=sides_)
    def flush(self, side: int) -> None:
        self.sides[side].flush()

    @rule(side=sides_)
    def beat(self, side: int) -> None:
        self.sides[side].out.beat()

    @rule(side=sides_, times=st.integers(1, 10))
    def carry(self, side: int, times: int) -> None:
        pipe = self.sides[side].pipe
        for _ in range(min(times, len(pipe))):
            self.sides[1 - side].hear(pipe.popleft())

    @precondition(lambda self: any(side.pipe for side in self.sides))
    @rule(at=st.integers(0, 20))
    def repeat(self, at: int) -> None:
        for side, other in (self.sides, self.sides[::-1]):
            if side.pipe:
                message = side.pipe.popleft()
                other.hear(message)
                side.pipe.insert(at, message)

    @precondition(lambda self: self.connected)
    @rule()
    def lose_connection(self) -> None:
        self.connected = False
        for side in self.sides:
            side.out.up = False
            side.pipe.clear()

    @rule()
    def make_connection(self) -> None:
        one, other = self.sides
        one.pipe.clear()
        other.pipe.clear()
        received = one.out.received, other.out.received
        one.out.resume(received[1])
        other.out.resume(received[0])
        self.connected = True

    @invariant()
    def what_was_heard_was_said_once_and_in_order(self) -> None:
        for side, other in (self.sides, self.sides[::-1]):
            assert other.heard == side.said[: len(other.heard)]

    @invariant()
    def what_was_not_heard_is_kept(self) -> None:
        for side, other in (self.sides, self.sides[::-1]):
            pending = side.out.pending()
            assert len(pending) == side.out.unacknowledged
            kept = [command.question for command in pending if isinstance(command, wire.AskDead)]
            assert kept == side.said[len(side.said) - len(kept) :]
            assert len(side.said) - len(kept) <= len(other.heard)

    def teardown(self) -> None:
        self.make_connection()
        for _ in range(2):
            for at in (0, 1):
                self.flush(at)
                self.beat(at)
                self.carry(at, 10**6)
        for side, other in (self.sides, self.sides[::-1]):
            assert other.heard == side.said
            assert (side.out.unacknowledged, side.out.bytes, side.out.pending()) == (0, 0, [])


TestStreams = Streams.TestCase
TestStreams.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


def test_what_is_said_at_once_goes_together() -> None:
    side = Side()
    side.out.resume(0)
    for _ in range(MAX_TOGETHER - 1):
        side.say(10)
    assert not side.pipe
    side.flush()
    assert len(side.pipe) == 1


def test_no_message_is_much_larger_than_a_batch() -> None:
    side = Side()
    side.out.resume(0)
    for _ in range(1000):
        side.say(1000)
    side.flush()
    sizes = [1000 * len(message.commands) for message in side.pipe if isinstance(message, wire.PeerData)]
    assert sum(sizes) == 1000 * 1000
    assert max(sizes) <= MAX_BATCH + 1000


def test_who_only_listens_acknowledges_now_and_then() -> None:
    speaker, listener = Side(), Side()
    speaker.out.resume(0)
    listener.out.resume(0)
    for _ in range(10 * ACK_EVERY):
        speaker.say(0)
        speaker.flush()
        listener.hear(speaker.pipe.popleft())
    assert list(listener.pipe) == [wire.Beat(count * ACK_EVERY) for count in range(1, 11)]
