"""The connections to a hub: which are open, which belong to whom, and closing one.

ZeroMQ has no call that closes one connection of a ROUTER socket. It tells the file descriptor of each,
though; when that is shut down, ZeroMQ's own thread closes the connection.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import sys
from collections import deque
from collections.abc import Callable
from typing import Final

import attrs
import zmq
from zmq.utils.monitor import parse_monitor_message

from cosmo_synapse_zmq.limits import MAX_GONE
from cosmo_synapse_zmq.sockets import DrainedSocket, read_parts

MESSAGE_BYTES: Final = 80
"""Bytes that ZeroMQ needs for each message beside its content."""

TYPICAL_BYTES: Final = 256
"""Bytes that the messages of a connection are expected to have before the first was read."""

OVERHEAD_BYTES: Final = 64
"""Bytes that the header of a message may have, with encryption."""

OVERHEAD_BYTES_PER_S: Final = 256
"""Bytes of pings and answers to pings within a second, at most."""

# `struct tcp_info` of Linux ends here, after the field with the bytes received.
_TCP_INFO_BYTES: Final = 136
_TCP: Final = int(socket.IPPROTO_TCP)
_TCP_INFO: Final = int(getattr(socket, "TCP_INFO", -1))
_info: Final = ctypes.create_string_buffer(_TCP_INFO_BYTES)
_info_bytes: Final = ctypes.c_uint32()
_bytes_received: Final = ctypes.c_uint64.from_buffer(_info, _TCP_INFO_BYTES - 8)
_getsockopt: Final = ctypes.PyDLL(None).getsockopt if sys.platform == "linux" else None

_MONITORED: Final = zmq.EVENT_ACCEPTED | zmq.EVENT_ACCEPT_FAILED | zmq.EVENT_DISCONNECTED


@attrs.define(eq=False)
class Connection:
    """One connection.

    Attributes:
        fd: Its file descriptor.
        inode: Its inode: file descriptors are used again, so this identifies it.
        accepted_at: When it was accepted, in monotonic seconds.
        routing_id: The id that its messages come with; None before the first message.
        welcomed: Whether it has said Hello.
        messages: How many messages came outside of a session.
        datagrams: How many datagrams came.
        hellos: How many times it said Hello.
        closed: Whether the hub has closed it; what still comes from it is discarded.
        told: Whether it was told that the hub does not know its session.
        read_messages: How many messages the hub has read from it.
        read_bytes: How many bytes they had.
        is_tcp: Whether it is a TCP connection; None before it is known.
        waiting: How much memory its unread messages took at the last look.
        drift: How many of the received bytes were not parts of messages: greetings, headers, keys, pings.
    """

    fd: int
    inode: int
    accepted_at: float
    routing_id: bytes | None = None
    welcomed: bool = False
    messages: int = 0
    datagrams: int = 0
    hellos: int = 0
    closed: bool = False
    told: bool = False
    read_messages: int = 0
    read_bytes: int = 0
    is_tcp: bool | None = None
    drift: int = 0
    waiting: int = 0
    _looked_messages: int = 0
    _looked_at: float = 0.0

    @property
    def name(self) -> str:
        """The address of the other side, or its process on this machine, for the log."""
        try:
            with socket.socket(fileno=os.dup(self.fd)) as copy:
                if copy.family != socket.AF_UNIX:
                    host, port, *_ = copy.getpeername()
                    return f"{host}:{port}"
                size = struct.calcsize("3i")
                pid, _, _ = struct.unpack("3i", copy.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
                return f"process {pid}"
        except (OSError, AttributeError):
            return "a connection that is gone"

    def look(self, now: float, *, is_drained: bool) -> int:
        """Estimate how much memory its messages take that ZeroMQ has and the hub has not read, in bytes.

        Args:
            now: Monotonic seconds.
            is_drained: Whether the hub has read all complete messages. Then what is unread counts as overhead
                of what was read, within a limit, because it may also be the beginning of a message.

        Returns:
            The bytes; 0 where the system does not tell how many bytes a connection has received.
        """
        received = None if self.is_tcp is False else _received(self.fd)
        self.is_tcp = received is not None
        if received is None:
            return 0
        unread = max(0, received - self.read_bytes)
        if is_drained:
            messages, seconds = self.read_messages - self._looked_messages, now - self._looked_at
            self._looked_messages, self._looked_at = self.read_messages, now
            limit = OVERHEAD_BYTES * messages + int(OVERHEAD_BYTES_PER_S * seconds)
            self.drift = min(unread, self.drift + limit)
        unread -= self.drift
        mean = self.read_bytes // self.read_messages if self.read_messages else TYPICAL_BYTES
        self.waiting = unread + MESSAGE_BYTES * unread // max(mean, 8)
        return self.waiting

    def close(self) -> None:
        """Close it, unless its file descriptor belongs to another connection now."""
        try:
            if _inode(self.fd) == self.inode:
                with socket.socket(fileno=os.dup(self.fd)) as copy:
                    copy.shutdown(socket.SHUT_RDWR)
        except OSError:
            # It is closed already.
            pass


class Connections:
    """All open connections of a hub's socket.

    Args:
        listener: The hub's ROUTER socket.
        clock: Returns monotonic seconds.
        on_accepted: Called when a connection was accepted.
        on_accept_failed: Called when a connection could not be accepted, with the reason.
    """

    def __init__(
        self,
        listener: zmq.Socket[bytes],
        clock: Callable[[], float],
        on_accepted: Callable[[], None],
        on_accept_failed: Callable[[str], None],
    ) -> None:
        self.by_routing_id: dict[bytes, Connection] = {}
        # Bytes that were waiting in ZeroMQ from connections that are gone.
        self.orphaned = 0
        # In the order of their acceptance.
        self.unwelcomed: dict[int, Connection] = {}
        self._by_fd: dict[int, Connection] = {}
        # Routing ids of closed connections that are gone, oldest first: their messages may still be unread.
        self._gone: deque[bytes] = deque()
        self._clock = clock
        self._on_accepted = on_accepted
        self._on_accept_failed = on_accept_failed
        self._listener = listener
        self._monitor = DrainedSocket(listener.get_monitor_socket(_MONITORED), self._observe, read=read_parts)

    def _observe(self, parts: list[bytes]) -> None:
        event = parse_monitor_message(parts)
        fd = event["value"]
        if event["event"] == zmq.EVENT_ACCEPTED:
            known = self._by_fd.get(fd)
            if known is None or known.inode != _inode(fd):
                self._forget(fd)
                self._add(fd)
                self._on_accepted()
        elif event["event"] == zmq.EVENT_ACCEPT_FAILED:
            self._on_accept_failed(os.strerror(fd))
        else:
            self._forget(fd)

    def _add(self, fd: int) -> Connection:
        now = self._clock()
        connection = self._by_fd[fd] = self.unwelcomed[fd] = Connection(fd, _inode(fd), now, looked_at=now)
        return connection

    def _forget(self, fd: int) -> None:
        connection = self._by_fd.pop(fd, None)
        if connection is None:
            return
        self.orphaned += connection.waiting
        self.unwelcomed.pop(fd, None)
        if connection.routing_id is None:
            return
        if not connection.closed:
            self.by_routing_id.pop(connection.routing_id, None)
            return
        self._gone.append(connection.routing_id)
        if len(self._gone) > MAX_GONE:
            self.by_routing_id.pop(self._gone.popleft(), None)

    def all(self) -> list[Connection]:
        """Return all open connections."""
        return list(self._by_fd.values())

    def identify(self, routing_id: bytes, fd: int) -> Connection | None:
        """Record that the messages of ``routing_id`` come from the connection with file descriptor ``fd``.

        Returns:
            The connection, or None if it is gone.
        """
        connection = self._by_fd.get(fd)
        if connection is None and not _inode(fd):
            return None
        if connection is None or connection.routing_id is not None:
            # The events of this connection have not been read yet.
            self._forget(fd)
            connection = self._add(fd)
        connection.routing_id = routing_id
        self.by_routing_id[routing_id] = connection
        return connection

    def welcome(self, connection: Connection) -> None:
        """Record that a connection has said Hello."""
        connection.welcomed = True
        self.unwelcomed.pop(connection.fd, None)

    def close_one(self, connection: Connection) -> None:
        """Close a connection; what still comes from it is unknown from now on."""
        self.unwelcomed.pop(connection.fd, None)
        connection.closed = True
        connection.welcomed = False
        connection.close()

    def close(self) -> None:
        """Stop watching."""
        self._listener.disable_monitor()
        self._monitor.close()


def _inode(fd: int) -> int:
    """Return the inode of a file descriptor, or 0 if it is closed; its event follows."""
    try:
        return os.fstat(fd).st_ino
    except OSError:
        return 0


def _received(fd: int) -> int | None:
    """Return how many bytes a TCP connection has received; None if the system does not tell.

    All connections are looked at often, and a `socket` for each look would take more than twice as long.
    """
    if _getsockopt is None:
        return None
    _info_bytes.value = _TCP_INFO_BYTES
    failed = _getsockopt(fd, _TCP, _TCP_INFO, _info, ctypes.byref(_info_bytes))
    return None if failed or _info_bytes.value < _TCP_INFO_BYTES else _bytes_received.value
