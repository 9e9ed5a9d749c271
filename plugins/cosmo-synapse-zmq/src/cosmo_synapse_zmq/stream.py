"""What one side says to the other, in order and without loss, over connections that may break."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from cosmo_synapse_zmq.wire import MAX_BATCH, Beat, Command, Message

MAX_TOGETHER: Final = 32
"""How many commands wait for each other: with more, the other side would have nothing to do meanwhile."""

ACK_EVERY: Final = 64
"""After how many messages an acknowledgement is sent, if none could go with anything else."""

Carry = Callable[[int, int, list[Any]], Message]
"""Makes a message of its number, the number of the last one received, and commands."""

Schedule = Callable[[], None]

Send = Callable[[Message], bool]
"""Sends a message; False if the other side cannot be reached now."""


class Outgoing:
    """Commands on their way out: put together, numbered, and kept until they were acknowledged.

    Args:
        data: Puts them into a message.
        send: Sends one.
        schedule: Called when there is something to send; it is to call `flush` soon.

    Attributes:
        received: The last number that came from the other side.
        unacknowledged: How many commands are kept.
        bytes: How many bytes of frames are in them.
        up: Whether the other side can be reached.
    """

    def __init__(self, data: Carry, send: Send, schedule: Schedule) -> None:
        self.received = 0
        self.unacknowledged = 0
        self.bytes = 0
        self.up = False
        self._data = data
        self._send = send
        self._number = 0
        self._acknowledging = 0
        self._commands: list[Command] = []
        self._size = 0
        self._kept: deque[tuple[int, int, list[Command]]] = deque()
        self._schedule = schedule

    def put(self, command: Command, size: int = 0) -> None:
        """Say ``command`` with the next message; ``size`` is that of the frame in it."""
        self._commands.append(command)
        self.unacknowledged += 1
        self.bytes += size
        self._size += size
        if len(self._commands) == 1:
            self._schedule()
        elif self._size > MAX_BATCH or len(self._commands) >= MAX_TOGETHER:
            self.flush()

    def flush(self) -> None:
        """Send what there is to say."""
        commands = self._commands
        if not commands:
            return
        size = self._size
        self._commands, self._size = [], 0
        self._number += 1
        self._kept.append((self._number, size, commands))
        if self.up:
            self._transmit(self._number, commands)

    def _transmit(self, number: int, commands: list[Command]) -> None:
        self._acknowledging = self.received
        self.up = self._send(self._data(number, self.received, commands))

    def take(self, number: int, acknowledged: int) -> bool:
        """Take note of a message that came; tell whether it is the next, and to be obeyed."""
        self.acknowledge(acknowledged)
        if number != self.received + 1:
            return False
        self.received = number
        if number - self._acknowledging >= ACK_EVERY and not self._commands:
            self.beat()
        return True

    def beat(self) -> None:
        """Say what was received, when there is nothing else to say."""
        if self.up:
            self._acknowledging = self.received
            self.up = self._send(Beat(self.received))

    def acknowledge(self, number: int) -> None:
        """Forget what the other side has."""
        kept = self._kept
        while kept and kept[0][0] <= number:
            _, size, commands = kept.popleft()
            self.unacknowledged -= len(commands)
            self.bytes -= size

    def resume(self, received: int) -> None:
        """Go on over a new connection, with what the other side did not get."""
        self.up = True
        self.acknowledge(received)
        for number, _, commands in list(self._kept):
            if self.up:
                self._transmit(number, commands)
        self.flush()

    def pending(self) -> list[Command]:
        """Return every command that the other side may not have, oldest first."""
        return [command for _, _, commands in self._kept for command in commands] + self._commands
