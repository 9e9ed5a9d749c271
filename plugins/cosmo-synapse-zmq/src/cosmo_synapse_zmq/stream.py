"""One side of a reliable, ordered stream of commands over connections that may break."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from cosmo_synapse_zmq.wire import MAX_BATCH, Command, Heartbeat, Message

MAX_COMMANDS: Final = 32
"""How many commands are batched. With more, the other side would be idle while the batch fills."""

ACK_EVERY: Final = 64
"""After how many received messages an acknowledgement is sent, if no data was sent meanwhile."""

MakeMessage = Callable[[int, int, list[Any]], Message]
"""Makes a data message of its number, the number of the last message received, and commands."""

Send = Callable[[Message], bool]
"""Sends a message; returns False if the other side cannot be reached now."""


class ReliableStream:
    """Batches commands, numbers the messages, and keeps them until the other side acknowledges them.

    Args:
        make_message: Makes a data message.
        send: Sends a message.
        schedule_flush: Called when there is something to send; it must call `flush` soon.

    Attributes:
        received: The number of the last message received.
        unacknowledged: How many commands are kept.
        unacknowledged_bytes: How many bytes of frames they have.
        connected: Whether the other side can be reached.
    """

    def __init__(self, make_message: MakeMessage, send: Send, schedule_flush: Callable[[], None]) -> None:
        self.received = 0
        self.unacknowledged = 0
        self.unacknowledged_bytes = 0
        self.connected = False
        self._make_message = make_message
        self._send = send
        self._schedule_flush = schedule_flush
        self._number = 0
        self._acknowledged = 0
        self._batch: list[Command] = []
        self._batch_bytes = 0
        # Number, bytes and commands of each message that the other side may not have.
        self._sent: deque[tuple[int, int, list[Command]]] = deque()

    def write(self, command: Command, size: int = 0) -> None:
        """Add a command to the next message; ``size`` is the number of bytes of its frame."""
        self._batch.append(command)
        self.unacknowledged += 1
        self.unacknowledged_bytes += size
        self._batch_bytes += size
        if len(self._batch) == 1:
            self._schedule_flush()
        elif self._batch_bytes > MAX_BATCH or len(self._batch) >= MAX_COMMANDS:
            self.flush()

    def flush(self) -> None:
        """Send the batch, if it is not empty."""
        commands = self._batch
        if not commands:
            return
        size = self._batch_bytes
        self._batch, self._batch_bytes = [], 0
        self._number += 1
        self._sent.append((self._number, size, commands))
        if self.connected:
            self._transmit(self._number, commands)

    def _transmit(self, number: int, commands: list[Command]) -> None:
        self._acknowledged = self.received
        self.connected = self._send(self._make_message(number, self.received, commands))

    def accept(self, number: int, acknowledged: int) -> bool:
        """Process the numbers of a data message; return whether it is the next one, and must be executed."""
        self.discard_acknowledged(acknowledged)
        if number != self.received + 1:
            return False
        self.received = number
        if number - self._acknowledged >= ACK_EVERY and not self._batch:
            self.send_heartbeat()
        return True

    def send_heartbeat(self) -> None:
        """Acknowledge what was received, without data."""
        if self.connected:
            self._acknowledged = self.received
            self.connected = self._send(Heartbeat(self.received))

    def discard_acknowledged(self, number: int) -> None:
        """Discard the messages up to ``number``, which the other side has received."""
        sent = self._sent
        while sent and sent[0][0] <= number:
            _, size, commands = sent.popleft()
            self.unacknowledged -= len(commands)
            self.unacknowledged_bytes -= size

    def resume(self, received: int) -> None:
        """Continue on a new connection: resend what the other side has not received."""
        self.connected = True
        self.discard_acknowledged(received)
        for number, _, commands in list(self._sent):
            if self.connected:
                self._transmit(number, commands)
        self.flush()

    def pending(self) -> list[Command]:
        """Return all commands that the other side may not have, oldest first."""
        return [command for _, _, commands in self._sent for command in commands] + self._batch
