"""One side of a reliable, ordered stream of commands over connections that may break."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

import attrs

from cosmo_synapse_zmq.wire import MAX_BATCH, MAX_COMMANDS, Command, Heartbeat, Message

COMMAND_BYTES: Final = 96
"""Bytes that a command is counted with beside its frame."""

ACK_EVERY: Final = 16
"""After how many received messages an acknowledgement is sent, if no data was sent meanwhile."""

ACK_BYTES: Final = 64 * 1024
"""After how many received bytes one is sent: the other side sends only so many before it waits for one."""

MakeMessage = Callable[[int, int, list[Any]], Message]
"""Makes a data message of its number, the number of the last message received, and commands."""

Send = Callable[[Message], bool]
"""Sends a message; returns False if the other side cannot be reached now."""


@attrs.define
class Budget:
    """What all sessions of a hub share.

    Attributes:
        free: How many bytes may be on their way in each stream in any case.
        transit: How many more bytes may be on their way in all streams together.
        in_transit: How many are.
        unacknowledged: How many bytes are unacknowledged in all streams.
        owed: How many of them must not be dropped, at most: those that are acknowledged are subtracted later.
        lent: How many bytes of frames members of queue groups work on.
        waiting: How many bytes of received messages wait for their turn.
    """

    free: int
    transit: int
    in_transit: int = 0
    unacknowledged: int = 0
    owed: int = 0
    lent: int = 0
    waiting: int = 0


class ReliableStream:
    """Batches commands, numbers the messages, and keeps them until the other side acknowledges them.

    Args:
        make_message: Makes a data message.
        send: Sends a message.
        schedule_flush: Called when there is something to send; it must call `flush` soon.
        budget: Limits what is on its way, together with other streams; None for no limit.

    Attributes:
        received: The number of the last message received.
        unacknowledged: How many commands are kept.
        unacknowledged_bytes: How many bytes they have.
        connected: Whether the other side can be reached.
        acknowledged: The number of the last message that the other side has acknowledged.
    """

    def __init__(
        self,
        make_message: MakeMessage,
        send: Send,
        schedule_flush: Callable[[], None],
        budget: Budget | None = None,
    ) -> None:
        self.received = 0
        self.unacknowledged = 0
        self.unacknowledged_bytes = 0
        self.connected = False
        self.acknowledged = 0
        self._budget = budget
        self._in_transit = 0
        # The messages that wait until enough of those before them are acknowledged.
        self._held: deque[tuple[int, int, list[Command]]] = deque()
        self._make_message = make_message
        self._send = send
        self._schedule_flush = schedule_flush
        self._number = 0
        self._received_acknowledged = 0
        # Bytes that came since the last acknowledgement.
        self._received_bytes = 0
        self._batch: list[Command] = []
        self._batch_bytes = 0
        # Number, bytes and commands of each message that the other side may not have.
        self._sent: deque[tuple[int, int, list[Command]]] = deque()

    def write(self, command: Command, size: int = 0) -> None:
        """Add a command to the next message; ``size`` is the number of bytes of its frame."""
        size += COMMAND_BYTES
        self._batch.append(command)
        self.unacknowledged += 1
        self.unacknowledged_bytes += size
        if self._budget is not None:
            self._budget.unacknowledged += size
        self._batch_bytes += size
        if len(self._batch) == 1:
            self._schedule_flush()
        elif self._batch_bytes > MAX_BATCH or len(self._batch) >= MAX_COMMANDS:
            self.flush()

    @property
    def batched(self) -> int:
        """How many commands are in the batch that is sent next."""
        return len(self._batch)

    def flush(self) -> None:
        """Send the batch, if it is not empty."""
        commands = self._batch
        if not commands:
            return
        size = self._batch_bytes
        self._batch, self._batch_bytes = [], 0
        self._number += 1
        message = (self._number, size, commands)
        self._sent.append(message)
        if not self.connected:
            return
        if self._held or not self._may_transmit(message):
            self._held.append(message)
        else:
            self._transmit(self._number, commands)

    def _may_transmit(self, message: tuple[int, int, list[Command]]) -> bool:
        """Return whether a message may be sent now, and count it if so."""
        budget = self._budget
        if budget is None:
            return True
        _, size, _ = message
        before, after = self._in_transit, self._in_transit + size
        if after > budget.free:
            more = after - max(before, budget.free)
            is_batch = not before and size <= 2 * MAX_BATCH
            if budget.in_transit + more > budget.transit and not is_batch:
                return False
            budget.in_transit += more
        self._in_transit = after
        return True

    def _arrived(self, count: int) -> None:
        """Count bytes that are not on their way any more."""
        budget = self._budget
        if budget is not None:
            before, self._in_transit = self._in_transit, self._in_transit - count
            if before > budget.free:
                budget.in_transit -= before - max(self._in_transit, budget.free)

    @property
    def is_held(self) -> bool:
        """Whether messages wait for the budget."""
        return bool(self._held)

    def transmit_held(self) -> None:
        """Send the messages that waited, as far as the budget allows it now."""
        while self._held and self.connected and self._may_transmit(self._held[0]):
            number, _, commands = self._held.popleft()
            self._transmit(number, commands)

    def _transmit(self, number: int, commands: list[Command]) -> None:
        self._received_acknowledged = self.received
        self._received_bytes = 0
        self.connected = self._send(self._make_message(number, self.received, commands))

    def accept(self, number: int, acknowledged: int, size: int = 0) -> bool:
        """Process the numbers of a data message; return whether it is the next one, and must be executed.

        Args:
            number: Its number.
            acknowledged: Up to which number the other side has received messages.
            size: How many bytes the message has.
        """
        if self._sent:
            self.discard_acknowledged(acknowledged)
        if number != self.received + 1:
            return False
        self.received = number
        self._received_bytes += size
        is_due = number - self._received_acknowledged >= ACK_EVERY or self._received_bytes >= ACK_BYTES
        if is_due and not self._batch:
            self.send_heartbeat()
        return True

    def send_heartbeat(self) -> None:
        """Acknowledge what was received, without data."""
        if self.connected:
            self._received_acknowledged = self.received
            self._received_bytes = 0
            self.connected = self._send(Heartbeat(self.received))

    def discard_acknowledged(self, number: int) -> None:
        """Discard the messages up to ``number``, which the other side has received."""
        sent, arrived = self._sent, 0
        while sent and sent[0][0] <= number:
            self.acknowledged, size, commands = sent.popleft()
            self.unacknowledged -= len(commands)
            self.unacknowledged_bytes -= size
            if self._budget is not None:
                self._budget.unacknowledged -= size
            if self._held and self._held[0][0] == self.acknowledged:
                # It is acknowledged, and was not sent on this connection.
                self._held.popleft()
            else:
                arrived += size
        if arrived and self._budget is not None:
            self._arrived(arrived)
        if self._held:
            self.transmit_held()

    def resume(self, received: int) -> None:
        """Continue on a new connection: resend what the other side has not received."""
        if self._budget is not None:
            self._arrived(self._in_transit)
        self._held = deque(self._sent)
        self.connected = True
        self.discard_acknowledged(received)
        self.transmit_held()
        self.flush()

    def end(self) -> None:
        """Send nothing more, and give back what it took of the budget."""
        self.connected = False
        self._arrived(self._in_transit)
        if self._budget is not None:
            self._budget.unacknowledged -= self.unacknowledged_bytes
            self._budget = None
        self._held.clear()
        self._sent.clear()
        self._batch, self._batch_bytes = [], 0
        self.unacknowledged = self.unacknowledged_bytes = 0
        # Otherwise this and the owner would refer to each other.
        self._schedule_flush = _do_nothing

    def pending(self) -> list[Command]:
        """Return all commands that the other side may not have, oldest first."""
        return [command for _, _, commands in self._sent for command in commands] + self._batch


def _do_nothing() -> None:
    pass
