"""ReliableStream delivers exactly once and in order, over a pipe that loses, repeats and breaks."""

from __future__ import annotations

from collections import deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cosmo_synapse_zmq import wire
from cosmo_synapse_zmq.stream import ACK_EVERY, ReliableStream
from cosmo_synapse_zmq.wire import MAX_BATCH, MAX_COMMANDS


class Side:
    """One side: a stream, the numbers that it wrote and received, and the pipe to the other side."""

    def __init__(self) -> None:
        self.written: list[int] = []
        self.received: list[int] = []
        self.pipe: deque[wire.Message] = deque()
        self.scheduled = False
        self.stream = ReliableStream(wire.PeerData, self._send, self._schedule)

    def _send(self, message: wire.Message) -> bool:
        self.pipe.append(message)
        return True

    def _schedule(self) -> None:
        self.scheduled = True

    def write(self, size: int) -> None:
        number = len(self.written)
        self.written.append(number)
        self.stream.write(wire.GetDeadLetters(number), size)

    def flush(self) -> None:
        self.scheduled = False
        self.stream.flush()

    def receive(self, message: wire.Message) -> None:
        if isinstance(message, wire.PeerData) and self.stream.accept(message.number, message.received):
            self.received += [
                command.request for command in message.commands if isinstance(command, wire.GetDeadLetters)
            ]
        elif isinstance(message, wire.Heartbeat):
            self.stream.discard_acknowledged(message.received)


class Streams(RuleBasedStateMachine):
    """Two sides, and a connection between them that breaks at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.sides = (Side(), Side())
        self.connected = False

    sides_ = st.integers(0, 1)

    @rule(side=sides_, size=st.integers(0, 100) | st.just(MAX_BATCH + 1), times=st.integers(1, 5))
    def write(self, side: int, size: int, times: int) -> None:
        for _ in range(times):
            self.sides[side].write(size)
        assert self.sides[side].scheduled or not self.sides[side].stream.pending() or size > MAX_BATCH

    @rule(side=sides_)
    def flush(self, side: int) -> None:
        self.sides[side].flush()

    @rule(side=sides_)
    def send_heartbeat(self, side: int) -> None:
        self.sides[side].stream.send_heartbeat()

    @rule(side=sides_, times=st.integers(1, 10))
    def transport(self, side: int, times: int) -> None:
        pipe = self.sides[side].pipe
        for _ in range(min(times, len(pipe))):
            self.sides[1 - side].receive(pipe.popleft())

    @precondition(lambda self: any(side.pipe for side in self.sides))
    @rule(at=st.integers(0, 20))
    def repeat(self, at: int) -> None:
        for side, other in (self.sides, self.sides[::-1]):
            if side.pipe:
                message = side.pipe.popleft()
                other.receive(message)
                side.pipe.insert(at, message)

    @precondition(lambda self: self.connected)
    @rule()
    def lose_connection(self) -> None:
        self.connected = False
        for side in self.sides:
            side.stream.connected = False
            side.pipe.clear()

    @rule()
    def make_connection(self) -> None:
        one, other = self.sides
        one.pipe.clear()
        other.pipe.clear()
        received = one.stream.received, other.stream.received
        one.stream.resume(received[1])
        other.stream.resume(received[0])
        self.connected = True

    @invariant()
    def commands_are_received_once_and_in_order(self) -> None:
        for side, other in (self.sides, self.sides[::-1]):
            assert other.received == side.written[: len(other.received)]

    @invariant()
    def commands_are_kept_until_received(self) -> None:
        for side, other in (self.sides, self.sides[::-1]):
            pending = side.stream.pending()
            assert len(pending) == side.stream.unacknowledged
            kept = [command.request for command in pending if isinstance(command, wire.GetDeadLetters)]
            assert kept == side.written[len(side.written) - len(kept) :]
            assert len(side.written) - len(kept) <= len(other.received)

    def teardown(self) -> None:
        self.make_connection()
        for _ in range(2):
            for at in (0, 1):
                self.flush(at)
                self.send_heartbeat(at)
                self.transport(at, 10**6)
        for side, other in (self.sides, self.sides[::-1]):
            assert other.received == side.written
            assert (side.stream.unacknowledged, side.stream.unacknowledged_bytes, side.stream.pending()) == (
                0,
                0,
                [],
            )


TestStreams = Streams.TestCase
TestStreams.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


def test_commands_written_at_once_are_batched() -> None:
    side = Side()
    side.stream.resume(0)
    for _ in range(MAX_COMMANDS - 1):
        side.write(10)
    assert not side.pipe
    side.flush()
    assert len(side.pipe) == 1


def test_no_message_is_much_larger_than_a_batch() -> None:
    side = Side()
    side.stream.resume(0)
    for _ in range(1000):
        side.write(1000)
    side.flush()
    sizes = [1000 * len(message.commands) for message in side.pipe if isinstance(message, wire.PeerData)]
    assert sum(sizes) == 1000 * 1000
    assert max(sizes) <= MAX_BATCH + 1000


def test_a_side_that_only_receives_acknowledges_every_so_often() -> None:
    sender, receiver = Side(), Side()
    sender.stream.resume(0)
    receiver.stream.resume(0)
    for _ in range(10 * ACK_EVERY):
        sender.write(0)
        sender.flush()
        receiver.receive(sender.pipe.popleft())
    assert list(receiver.pipe) == [wire.Heartbeat(count * ACK_EVERY) for count in range(1, 11)]
