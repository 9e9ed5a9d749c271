"""The hub: the core's routing behind one ROUTER socket, with a session for each peer."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import logging
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import count
from typing import Final

import zmq

from cosmo_core import SynapseError
from cosmo_core.arguments import check_count
from cosmo_core.contracts.delivery import DEFAULT_MAX_FRAME
from cosmo_core.routing import Delivery, Router
from cosmo_synapse_zmq import wire
from cosmo_synapse_zmq.address import Address, check_lease
from cosmo_synapse_zmq.connections import Connection, Connections
from cosmo_synapse_zmq.keys import HubKeys, KeyAuthenticator
from cosmo_synapse_zmq.leases import Leases
from cosmo_synapse_zmq.limits import (
    FREE_LENT_BYTES,
    FREE_PATTERN_TOKENS,
    FREE_TRANSIT_BYTES,
    HELLO_S,
    MAX_BACKLOG_BYTES,
    MAX_BEFORE_HELLO,
    MAX_DATAGRAMS,
    MAX_DEAD_ANSWERS,
    MAX_DEAD_BYTES,
    MAX_EARLY,
    MAX_EARLY_BYTES,
    MAX_HELLOS,
    MAX_INBOX,
    MAX_INBOX_BYTES,
    MAX_LENT_BYTES,
    MAX_PATTERN_TOKENS,
    MAX_QUEUED_BYTES,
    MAX_REFUSED,
    MAX_SESSIONS,
    MAX_TOTAL_BYTES,
    MAX_TRANSIT_BYTES,
    MAX_UNWELCOMED,
    MAX_WAITING_SUBJECTS,
    MIN_BACKLOG_BYTES,
    QUEUE_BYTES,
    RECEIVE_BUFFER,
    WAITING_BYTES,
)
from cosmo_synapse_zmq.session import COSTLY_S, MALFORMED, Session
from cosmo_synapse_zmq.sockets import DrainedSocket, cannot_open, check_open_files
from cosmo_synapse_zmq.stream import Budget, Send
from cosmo_synapse_zmq.waiting import WaitingFrames

_NOBLOCK: Final = int(zmq.NOBLOCK)

MAX_FRAME: Final = 64 * 1024 * 1024
"""Bytes in the largest frame that a hub may be configured for."""

HEARTBEAT_S: Final = 0.25
"""Seconds between two heartbeats to every peer."""

RECONNECT_S: Final = 1.0
"""For how many seconds a new hub keeps frames of reconnecting peers: their subscribers may reconnect
later."""

DIRECT: Final = 4
"""How many messages that are available at once are executed as they come. The next ones wait for their turn,
unless they are short."""

QUANTUM: Final = 2
"""How many commands of one peer are executed in its turn while several peers wait."""

SHORT: Final = 2048
"""Bytes up to which a message with at most `QUANTUM` commands is short: it is executed as it comes, unless
other messages of its peer wait."""

RUN_S: Final = 0.002
"""For how many seconds turns are given before the hub receives again, and after how many what short messages
have caused is sent."""

READ_S: Final = 0.008
"""For how many seconds the hub receives before it gives turns, if more is available."""

SWEEP_S: Final = 0.02
"""Seconds between two looks at what waits in ZeroMQ, while the hub is busy."""

STALLED_BEATS: Final = 8
"""For how many heartbeats a peer may acknowledge nothing while others wait for what is on its way to it."""

MAX_LOGGED: Final = 20
"""How many closed peers are named in the log within one heartbeat; others are counted."""

LARGE_BLOCK: Final = 128 * 1024
"""Bytes from which a freed block of memory is returned to the system, if the process runs only a hub."""

COLLECTIONS: Final = 1000
"""How many garbage collections of newer objects there are for one of all, if the process runs only a hub.
The default is 10. With many peers, one of all takes longer than everything else that makes a frame wait, and
finds nothing: sessions that have ended are not part of cycles."""

# In `malloc.h` of glibc.
_M_MMAP_THRESHOLD: Final = -3

logger = logging.getLogger("cosmo_synapse_zmq")


class Hub:
    """Carries frames between the peers that connect to one address.

    Args:
        address: Where to listen; port 0 means any free port.
        keys: The hub's keys, and the folder with the keys of accepted peers. Required off loopback.
        insecure: Listen off loopback without keys.
        max_frame: Bytes in the largest frame.
        max_waiting: How many frames of one subject may wait for a queue group.
        max_deliveries: How many times a frame is delivered to members of a queue group.
        lease_s: Seconds after which a peer that is gone counts as lost, and its deliveries go to others.

    Attributes:
        rejected: How many malformed messages and commands were rejected.
        closed: How many peers were closed because they exceeded a limit.

    Raises:
        SynapseError: The address is not on loopback, and there are no keys.
        TypeError: A limit is not a number, or ``insecure`` is not True or False.
        ValueError: A limit is out of range.
    """

    def __init__(
        self,
        address: Address,
        *,
        keys: HubKeys | None = None,
        insecure: bool = False,
        max_frame: int = DEFAULT_MAX_FRAME,
        max_waiting: int = 1000,
        max_deliveries: int = 3,
        lease_s: float = 3.0,
    ) -> None:
        check_count("max_frame", max_frame, most=MAX_FRAME)
        check_count("max_waiting", max_waiting)
        check_count("max_deliveries", max_deliveries)
        check_lease(lease_s)
        address.check_keys(keys is not None, insecure)
        self.rejected = 0
        self.closed = 0
        self._address = address
        self._keys = keys
        self._max_frame = max_frame
        self._max_waiting = max_waiting
        # Half of the lease is for ZeroMQ to detect a dead connection, and half for the peer to reconnect.
        self._detect_s = lease_s / 2
        self._leases: Leases[bytes] = Leases(lease_s / 2)
        self._router = Router(
            # Each frame that has to wait comes to `_wait_or_discard`.
            max_waiting=0,
            max_deliveries=max_deliveries,
            max_dead_bytes=MAX_DEAD_BYTES,
            on_dequeued=self._dequeued,
        )
        self._waiting_frames = WaitingFrames()
        self._budget = Budget(FREE_TRANSIT_BYTES, MAX_TRANSIT_BYTES)
        # By subject: the sessions that must not publish on it until few frames wait on it.
        self._paused: dict[str, list[Session]] = {}
        # By session id: the subjects on which the session must not publish until fewer of its bytes wait.
        self._scarce: dict[bytes, list[str]] = {}
        # A session keeps its id when the peer's connection, and with it the routing id, changes.
        self._sessions: dict[bytes, Session] = {}
        self._by_routing_id: dict[bytes, Session] = {}
        self._routing_ids: dict[bytes, bytes] = {}
        self._local_peers: dict[bytes, Callable[[wire.Message], None]] = {}
        self._local_numbers = count()
        self._to_flush: list[Session] = []
        # Frames of reconnecting peers without a subscriber yet; None once the hub has run for `RECONNECT_S`.
        self._early: deque[tuple[Session, wire.Publish]] | None = deque()
        self._early_bytes = 0
        # How many more messages are executed as they come.
        self._direct = DIRECT
        # The sessions that wait for their turn: those that have not had one since they wait go first.
        self._new: deque[Session] = deque()
        self._waiting: deque[Session] = deque()
        # When turns were given, and how long short messages have taken since then.
        self._turns_at = 0.0
        self._short_s = 0.0
        # Since when there is something to flush.
        self._written_at = 0.0
        self._accepted = asyncio.Event()
        self._swept_at = 0.0
        # How much waited in ZeroMQ at the last look.
        self._backlog = 0
        self._is_drained = True
        self._tokens = 0
        self._dead_requests: deque[tuple[Session, int]] = deque()
        self._dead_answers = 0
        # What is left to do for sessions that have ended, and how long it took since the last `flush`.
        self._leaving: deque[Iterator[None]] = deque()
        self._leaving_s = 0.0
        self._is_flush_due = False
        # Whether messages of the socket or of a local peer are handled now; both end with `flush`.
        self._is_in_pass = False
        self._is_local = False
        # What is called at the end of the pass.
        self._after_pass: list[Callable[[], None]] = []
        self._closed_before = 0
        self._accept_failures = 0
        self._has_discarded = False

    # --- life cycle ---------------------------------------------------------------------------------

    async def serve(self, listening: asyncio.Future[Address]) -> None:
        """Listen, set ``listening`` to the address, and carry frames until cancelled.

        Raises:
            SynapseError: The address is in use or cannot be bound, or the process may open no more files.
        """
        check_open_files()
        self._loop = asyncio.get_running_loop()
        self._is_in_pass = False
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        with contextlib.ExitStack() as stack:
            stack.callback(context.destroy, 0)
            try:
                if self._keys is not None:
                    stack.callback(KeyAuthenticator(context, self._keys).close)
                socket = context.socket(zmq.ROUTER)
            except zmq.ZMQError as error:
                raise cannot_open(error) from None
            self._configure(socket)
            self._socket = DrainedSocket(socket, self._receive, self._drained, read=self._read)
            stack.callback(self._socket.close)
            self._connections = Connections(socket, time.monotonic, self._accepted.set, self._accept_failed)
            stack.callback(self._connections.close)
            self._address.check_path()
            try:
                socket.bind(self._address.endpoint)
            except zmq.ZMQError as error:
                raise SynapseError(f"cannot start a hub at {self._address}: {error.strerror}") from None
            listening.set_result(self._address.with_endpoint(socket.getsockopt_string(zmq.LAST_ENDPOINT)))
            await self._supervise()

    def _configure(self, socket: zmq.Socket[bytes]) -> None:
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.IPV6, self._address.is_ipv6)
        # Sending to a peer that cannot be reached is an error, and no peer can take the id of another.
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        socket.setsockopt(zmq.MAXMSGSIZE, self._max_frame + wire.OVERHEAD)
        # No limit in ZeroMQ: the budget of the streams limits what is on its way, and `_sweep` what comes.
        # With a limit, a peer could end the hub: ZeroMQ 4.3.5 fails an assertion if a connection breaks while
        # its input is stopped at the limit, and a ping is due.
        socket.setsockopt(zmq.SNDHWM, 0)
        socket.setsockopt(zmq.RCVHWM, 0)
        socket.setsockopt(zmq.RCVBUF, RECEIVE_BUFFER)
        # ZeroMQ's own thread answers heartbeats, so a peer with a blocked event loop keeps its lease.
        socket.setsockopt(zmq.HEARTBEAT_IVL, int(self._detect_s * 1000 / 3))
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, int(self._detect_s * 1000))
        if self._keys is not None:
            self._keys.apply(socket)

    async def _supervise(self) -> None:
        """Send heartbeats, and end sessions whose lease has expired."""
        started = before = time.monotonic()
        while True:
            await self._until_heartbeat(before + HEARTBEAT_S)
            now = time.monotonic()
            if now - before > 2 * HEARTBEAT_S:
                # This process was stopped or blocked and received nothing: the peers are not at fault.
                for session_id in self._sessions:
                    self._leases.renew(session_id, now)
                for connection in self._connections.unwelcomed.values():
                    connection.accepted_at = now
            before = now
            if self._early is not None and now - started >= RECONNECT_S:
                self._discard_early()
            self._answer_dead_letters()
            self._send_heartbeats(now)
            for session_id in self._leases.expire(now):
                self._remove_session(session_id, "its process is gone or unreachable")
            self._close_silent(now)
            self._sweep(now)
            self._log_closed()

    async def _until_heartbeat(self, until: float) -> None:
        """Wait; look meanwhile at what waits in ZeroMQ: incomplete messages do not wake the hub."""
        while (left := until - time.monotonic()) > 0:
            if self._connections.unwelcomed or self._backlog > MAX_BACKLOG_BYTES // 4:
                await asyncio.sleep(min(left, SWEEP_S))
                self._sweep(time.monotonic())
                continue
            self._accepted.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._accepted.wait()

    def _send_heartbeats(self, now: float) -> None:
        sessions = list(self._sessions.values())
        for session in sessions:
            session.send_heartbeat()
            session.open_gate()
            session.stream.transmit_held()
            if session.stream.connected:
                self._leases.renew(session.id, now)
        if any(session.stream.is_held for session in sessions):
            for session in sessions:
                if session.stalled_beats >= STALLED_BEATS and session.stream.unacknowledged_bytes > (
                    FREE_TRANSIT_BYTES
                ):
                    self.close_peer(session, f"it acknowledged nothing for {STALLED_BEATS * HEARTBEAT_S} s")
            self.flush()

    # --- sessions -----------------------------------------------------------------------------------

    def _open_session(self, routing_id: bytes, hello: wire.Hello) -> None:
        connection = self._connection(routing_id)
        if connection is not None:
            connection.hellos += 1
            connection.told = False
            if connection.hellos > MAX_HELLOS:
                self._close_connection(connection, f"it said Hello {connection.hellos} times")
                return
        reason = self._rejection(hello)
        if reason is not None:
            self._send(routing_id, wire.Rejection(reason))
            return
        if connection is not None:
            self._connections.welcome(connection)
        session_id, session = hello.session, self._sessions.get(hello.session)
        previous = self._by_routing_id.get(routing_id)
        if previous is not None and previous is not session:
            self._leases.end(previous.id)
            self._remove_session(previous.id, "its peer began another session")
        resumed = session is not None
        if session is None:
            send = self._sender(session_id)
            session = Session(session_id, self, self._router, send, self._budget)
            self._sessions[session_id] = session
            session.reconnecting = hello.reconnecting
        else:
            self._by_routing_id.pop(self._routing_ids[session_id], None)
        same_connection = self._routing_ids.get(session_id) == routing_id
        self._routing_ids[session_id] = routing_id
        self._by_routing_id[routing_id] = session
        self._leases.renew(session_id, time.monotonic())
        self._send(routing_id, wire.Welcome(resumed, session.stream.received, self._max_frame))
        if same_connection and session.stream.connected:
            # Nothing was lost on this connection.
            session.stream.discard_acknowledged(hello.received)
        else:
            session.stream.resume(hello.received if resumed else 0)

    def _rejection(self, hello: wire.Hello) -> str | None:
        if hello.version != wire.VERSION:
            return f"unsupported protocol version {hello.version}; this hub supports version {wire.VERSION}"
        if len(hello.session) != wire.SESSION_BYTES:
            return f"a session id must have {wire.SESSION_BYTES} bytes, so that it cannot be guessed"
        if hello.session not in self._sessions and len(self._sessions) >= MAX_SESSIONS:
            return f"{MAX_SESSIONS} peers are connected, which is the limit"
        return None

    def end_session(self, session: Session) -> None:
        """End the session of a peer that leaves."""
        self._leases.end(session.id)
        self._remove_session(session.id, "its peer left")

    def _remove_session(self, session_id: bytes, reason: str) -> None:
        session = self._sessions.pop(session_id)
        self._by_routing_id.pop(self._routing_ids.pop(session_id), None)
        self._scarce.pop(session_id, None)
        for subject in session.paused:
            sessions = self._paused.get(subject, [])
            if session in sessions:
                sessions.remove(session)
        session.end()
        self._leaving.append(session.leave(reason))
        self._run_leaving()

    def _run_leaving(self) -> None:
        """Finish what is left of ended sessions, but not for long: other peers wait."""
        while self._leaving and self._leaving_s < RUN_S:
            started = time.monotonic()
            if next(self._leaving[0], self._leaving) is self._leaving:
                self._leaving.popleft()
            self._leaving_s += time.monotonic() - started
        if self._leaving:
            self._flush_soon()

    # --- closing peers ------------------------------------------------------------------------------

    def close_peer(self, session: Session, reason: str) -> None:
        """End a session, and close the connection of its peer. Do nothing if it has ended."""
        if session.ended:
            return
        connection = self._connection(self._routing_ids[session.id])
        self._leases.end(session.id)
        self._remove_session(session.id, reason)
        self._log_close(connection, reason)
        if connection is not None:
            self._connections.close_one(connection)

    def _close_connection(self, connection: Connection, reason: str) -> None:
        session = self._by_routing_id.get(connection.routing_id or b"")
        if session is not None:
            self.close_peer(session, reason)
            return
        self._log_close(connection, reason)
        self._connections.close_one(connection)

    def _log_close(self, connection: Connection | None, reason: str) -> None:
        self.closed += 1
        if self.closed - self._closed_before <= MAX_LOGGED:
            logger.warning(
                "closed the connection of %s: %s",
                "a program of this process, or one that is gone" if connection is None else connection.name,
                reason,
            )

    def _log_closed(self) -> None:
        more = self.closed - self._closed_before - MAX_LOGGED
        if more > 0:
            logger.warning("closed the connections of %d more peers", more)
        self._closed_before = self.closed

    def _close_silent(self, now: float) -> None:
        """Close the connections that do not say Hello."""
        for connection in list(self._connections.unwelcomed.values()):
            if now - connection.accepted_at < HELLO_S:
                break
            self._close_connection(connection, f"it did not say Hello within {HELLO_S} s")

    def _accept_failed(self, reason: str) -> None:
        if not self._accept_failures:
            logger.warning(
                "cannot accept a connection: %s; if too many files are open, raise the limit of open files"
                " of the hub (ulimit -n)",
                reason,
            )
        self._accept_failures += 1
        self._close_oldest(f"no connection can be accepted: {reason}")

    def _close_oldest(self, reason: str) -> None:
        for connection in self._connections.unwelcomed.values():
            self._close_connection(connection, f"it has not said Hello, and {reason}")
            return

    # --- receiving ----------------------------------------------------------------------------------

    def _read(self, socket: zmq.Socket[bytes]) -> tuple[bytes, bytes | memoryview] | None:
        """Read a message; learn the connection of a peer from its first one.

        Returns:
            Its routing id and its content; None if the connection is closed.
        """
        routing_id = socket.recv(_NOBLOCK)
        self._is_in_pass = True
        connection = self._connections.by_routing_id.get(routing_id)
        # Not copied yet: it may have to be discarded faster than ZeroMQ receives. Also, a frame knows whether
        # another one follows, and asking the socket for that costs more than the frame.
        frame = socket.recv(_NOBLOCK, copy=False)
        is_single = not frame.more
        while not is_single and socket.recv(_NOBLOCK, copy=False).more:
            pass
        size = len(frame)
        if connection is None or not connection.welcomed:
            if connection is None:
                try:
                    connection = self._connections.identify(routing_id, int(frame.get(zmq.SRCFD)))
                except zmq.ZMQError:
                    # ZeroMQ's older protocols have no properties; it never says Hello, and is closed later.
                    size, is_single = 0, False
                if len(self._connections.unwelcomed) > MAX_UNWELCOMED:
                    self._close_oldest(f"{MAX_UNWELCOMED} more have not")
            is_excess = self._backlog > MAX_BACKLOG_BYTES and size > MIN_BACKLOG_BYTES
            if is_excess or (connection is not None and connection.closed):
                if connection is not None:
                    connection.read_messages += 1
                    connection.read_bytes += size
                    if not connection.closed:
                        self._close_connection(
                            connection, f"it sent {size} bytes before Hello while {self._backlog} bytes wait"
                        )
                else:
                    self._connections.orphaned = max(0, self._connections.orphaned - size)
                self._sweep_if_due()
                return None
        raw: bytes | memoryview = b""
        # A message of several parts is invalid.
        if is_single:
            raw = frame.buffer if size > RECEIVE_BUFFER else frame.bytes
        if connection is not None:
            connection.read_messages += 1
            connection.read_bytes += len(raw)
        if len(raw) > RECEIVE_BUFFER:
            self._sweep_if_due()
        return routing_id, raw

    def _connection(self, routing_id: bytes) -> Connection | None:
        """Return a peer's connection; None for a peer in this process."""
        return self._connections.by_routing_id.get(routing_id)

    def _receive(self, message: tuple[bytes, bytes | memoryview] | None) -> None:
        if message is None:
            return
        routing_id, raw = message
        if self._to_flush and time.monotonic() - self._written_at > RUN_S:
            self._flush_streams()
        try:
            if raw[:2] == wire.PEER_DATA:
                self._receive_data(routing_id, raw)
                return
            decoded = wire.decode_for_hub(raw)
            if isinstance(decoded, wire.PeerData):
                # Not in its usual encoding; so that it waits for its turn like others.
                self._receive_data(routing_id, wire.encode(decoded))
            elif (
                isinstance(decoded, wire.Hello)
                and (session := self._by_routing_id.get(routing_id)) is not None
                and session.has_waiting
            ):
                # After the messages that came before it.
                self._put(session, raw)
            else:
                self.handle(routing_id, decoded)
        except MALFORMED as error:
            self.reject(error)
            self._count_message(routing_id)

    def _receive_data(self, routing_id: bytes, raw: bytes | memoryview) -> None:
        session = self._by_routing_id.get(routing_id)
        if session is None:
            wire.decode_for_hub(raw)
            self._tell_unknown(routing_id)
        elif self._direct and not self._has_waiting:
            self._direct -= 1
            self._execute(session, raw)
        elif (
            not session.is_waiting
            and session.cost_s <= COSTLY_S
            and len(raw) <= SHORT
            and wire.count_commands(raw) <= QUANTUM
        ):
            started = time.thread_time()
            self._execute(session, raw)
            took = time.thread_time() - started
            session.count_cost(took)
            self._short_s += took
        else:
            self._put(session, raw)

    def _execute(self, session: Session, raw: bytes | memoryview) -> None:
        message = wire.decode_for_hub(raw)
        if isinstance(message, wire.PeerData):
            session.execute_all(message, len(raw))

    def _put(self, session: Session, raw: bytes | memoryview) -> None:
        """Let a message wait for its peer's turn."""
        session.put(raw)
        if not session.is_waiting:
            session.is_waiting = True
            self._new.append(session)
        if len(session.inbox) > MAX_INBOX:
            self.close_peer(session, f"it sent {MAX_INBOX} messages without waiting for acknowledgements")
        elif self._budget.waiting > MAX_INBOX_BYTES:
            largest = max((*self._new, *self._waiting), key=lambda each: each.inbox_bytes)
            self.close_peer(
                largest, f"it has {largest.inbox_bytes} of {self._budget.waiting} bytes of waiting messages"
            )
        elif self._budget.waiting > MAX_INBOX_BYTES // 2:
            self._run_waiting()

    @property
    def _has_waiting(self) -> bool:
        return bool(self._new or self._waiting)

    def _run_waiting(self) -> None:
        """Give the waiting peers their turns, for as long as short messages took since the last turns."""
        self._turns_at = time.monotonic() + max(RUN_S, self._short_s)
        self._short_s = 0.0
        started = time.thread_time()
        while queue := self._new or self._waiting:
            session = queue.popleft()
            most = QUANTUM if self._has_waiting else wire.MAX_COMMANDS
            session.run(1 if session.cost_s > COSTLY_S else most)
            ended = time.thread_time()
            session.count_cost(ended - started)
            started = ended
            if session.has_waiting:
                self._waiting.append(session)
            else:
                session.is_waiting = False
            if time.monotonic() > self._turns_at:
                return

    def _tell_unknown(self, routing_id: bytes) -> None:
        """Tell a peer once that it has no session here."""
        connection = self._connection(routing_id)
        if connection is None or not connection.told:
            self._send(routing_id, wire.UnknownSession())
        if connection is not None:
            connection.told = True
            self._count_message(routing_id)

    def _count_message(self, routing_id: bytes) -> None:
        """Count a message that is outside of a session, or invalid."""
        connection = self._connection(routing_id)
        if connection is not None:
            connection.messages += 1
            if connection.messages == MAX_BEFORE_HELLO:
                self._close_connection(
                    connection, f"it sent {MAX_BEFORE_HELLO} messages outside of a session or invalid ones"
                )

    def add_local_peer(self, receive: Callable[[wire.Message], None]) -> bytes:
        """Add a peer in this process, which gets its messages without encoding; return its routing id."""
        # No conflict with ZeroMQ's own routing ids: these have five bytes.
        routing_id = f"local-{next(self._local_numbers)}".encode()
        self._local_peers[routing_id] = receive
        return routing_id

    def remove_local_peer(self, routing_id: bytes) -> None:
        """Send nothing more to a peer in this process."""
        self._local_peers.pop(routing_id, None)

    def handle_local(self, routing_id: bytes, message: wire.Message) -> None:
        """Handle a message of a peer in this process, and send what it causes.

        Raises:
            SynapseError: The message is invalid.
        """
        self._is_local = True
        try:
            self.handle(routing_id, message)
            self.flush()
        finally:
            self._is_local = False
            self._flush_rest()

    def call_after_pass(self, call: Callable[[], None]) -> None:
        """Call a function when the messages that are being received are handled, or soon if there are none.

        At the end of a pass no turn of the event loop has to be waited for.
        """
        if self._is_in_pass:
            self._after_pass.append(call)
        else:
            self._loop.call_soon(call)

    def handle(self, routing_id: bytes, message: wire.Message) -> None:
        """Handle a message of a peer.

        Raises:
            SynapseError: The message is invalid.
        """
        if isinstance(message, wire.Hello):
            self._open_session(routing_id, message)
            return
        if isinstance(message, wire.Datagram):
            connection = self._connection(routing_id)
            if connection is not None:
                connection.datagrams += 1
                if connection.datagrams > MAX_DATAGRAMS:
                    self._close_connection(connection, f"it sent {connection.datagrams} datagrams")
                    return
            self.publish(None, wire.Publish(message.subject, message.frame, 0))
            return
        session = self._by_routing_id.get(routing_id)
        if session is None:
            self._tell_unknown(routing_id)
        elif isinstance(message, wire.Heartbeat):
            session.stream.discard_acknowledged(message.received)
        elif isinstance(message, wire.PeerData):
            session.execute_all(message)

    def reject(self, error: Exception) -> None:
        """Count a malformed message or command."""
        self.rejected += 1
        # Only the 1st, 10th, 100th, ... are logged: many malformed messages must not flood the log.
        if str(self.rejected).strip("0") == "1":
            logger.warning(
                "rejected a malformed message of a peer, %d so far; this one: %s", self.rejected, error
            )

    # --- publishing ---------------------------------------------------------------------------------

    def publish(self, session: Session | None, command: wire.Publish) -> None:
        """Route a frame that a peer publishes, in a session or outside of one.

        Raises:
            SynapseError: The frame is too large, or the subject is malformed.
        """
        if len(command.frame) > self._max_frame:
            raise SynapseError(
                f"a frame of {len(command.frame)} bytes exceeds the limit of {self._max_frame} bytes"
            )
        early = self._early
        if (
            early is not None
            and session is not None
            and session.reconnecting
            and len(early) < MAX_EARLY
            and self._early_bytes < MAX_EARLY_BYTES
            and not self._router.has_consumers(command.subject)
        ):
            early.append((session, command))
            self._early_bytes += len(command.frame)
            return
        callback = None if session is None else session.callback(command.callback)
        blocked = self._router.publish(command.subject, command.frame, callback, time.monotonic())
        for delivery in blocked or ():
            self._wait_or_discard(session, delivery)

    def _wait_or_discard(self, session: Session | None, delivery: Delivery) -> None:
        """Queue a delivery for which no member has capacity, and pause its publisher early; or discard it."""
        router, subject, frames = self._router, delivery.subject, self._waiting_frames
        if session is not None and subject in session.paused:
            session.paused[subject] += 1
            if session.paused[subject] > MAX_REFUSED:
                self.close_peer(session, f"it published {MAX_REFUSED} frames on {subject}, which is paused")
                return
        publisher = None if session is None or session.ended else session.id
        length = router.queue_length(delivery)
        size = len(delivery.frame) + (WAITING_BYTES if length else QUEUE_BYTES)
        is_long, is_scarce = length >= self._max_waiting, frames.is_scarce(publisher, size)
        max_subjects = MAX_WAITING_SUBJECTS * (2 if frames.is_free(publisher, size) else 1)
        if (
            not frames.has_space(publisher, size)
            or (not length and router.queue_count(delivery.group) >= max_subjects)
            # A datagram has no session to pause.
            or (publisher is None and (is_long or is_scarce))
        ):
            self._discard(delivery)
            return
        router.enqueue(delivery)
        frames.add(delivery, publisher, size)
        if session is not None and subject not in session.paused and (is_long or is_scarce):
            session.pause(subject)
            if is_long:
                self._paused.setdefault(subject, []).append(session)
            else:
                self._scarce.setdefault(session.id, []).append(subject)

    def _discard(self, delivery: Delivery) -> None:
        self._router.discarded += 1
        if not self._has_discarded:
            self._has_discarded = True
            logger.warning(
                "discarded a frame on %s: %d bytes of frames wait for queue groups, and no more of its"
                " publisher or of all may wait; others are discarded without a line in this log",
                delivery.subject,
                self._waiting_frames.total,
            )

    def retry_early(self) -> None:
        """Publish the early frames again, because a subscriber has reconnected."""
        early = self._early or deque()
        for _ in range(len(early)):
            # A frame that still has no subscriber is appended again, so the order stays.
            session, command = early.popleft()
            self._early_bytes -= len(command.frame)
            try:
                self.publish(session, command)
            except MALFORMED as error:
                self.reject(error)

    def _discard_early(self) -> None:
        early, self._early = self._early, None
        for session, command in early or ():
            if (callback := session.callback(command.callback)) is not None:
                callback(command.frame, "no_consumers")

    def _dequeued(self, delivery: Delivery) -> None:
        publisher = self._waiting_frames.remove(delivery)
        if publisher in self._scarce and not self._waiting_frames.is_scarce(publisher):
            for subject in self._scarce.pop(publisher):
                self._sessions[publisher].resume(subject)
        if delivery.subject in self._paused and self._router.queue_length(delivery) <= self._max_waiting // 2:
            for session in self._paused.pop(delivery.subject):
                session.resume(delivery.subject)

    # --- what sessions share ------------------------------------------------------------------------

    def handle_hello(self, session: Session, hello: wire.Hello) -> None:
        """Handle a Hello that has waited for the turn of its peer."""
        self.handle(self._routing_ids[session.id], hello)

    def reserve_tokens(self, session: Session, count: int) -> bool:
        """Reserve space for the tokens of a pattern, or return False; close the peer with the most then."""
        if count > 0 and self._tokens + count > MAX_PATTERN_TOKENS:
            largest = max(self._sessions.values(), key=lambda each: each.tokens)
            self.close_peer(
                largest, f"its subscriptions have {largest.tokens} of {self._tokens} tokens of all patterns"
            )
            if session.ended or session.tokens > FREE_PATTERN_TOKENS:
                return False
        self._tokens += count
        return True

    def request_dead_letters(self, session: Session, request: int) -> None:
        """Answer a request for the dead letters, or with the next heartbeat if there were many."""
        self._dead_requests.append((session, request))
        if self._dead_answers < MAX_DEAD_ANSWERS:
            self._answer_one()

    def _answer_dead_letters(self) -> None:
        self._dead_answers = 0
        while self._dead_requests and self._dead_answers < MAX_DEAD_ANSWERS:
            self._answer_one()

    def _answer_one(self) -> None:
        session, request = self._dead_requests.popleft()
        if self._sessions.get(session.id) is session:
            self._dead_answers += 1
            session.send_dead_letters(request)

    def _enforce_limits(self, flushed: list[Session]) -> None:
        """Close the peers that exceed a limit after some streams were flushed."""
        for session in flushed:
            if (excess := session.excess) is not None:
                self.close_peer(session, excess)
        while self._budget.lent > 2 * MAX_LENT_BYTES and self._sessions:
            most = max(self._sessions.values(), key=lambda each: each.lent)
            if most.lent <= FREE_LENT_BYTES:
                break
            self.close_peer(
                most, f"it works on {most.lent} of {self._budget.lent} bytes of frames of all peers"
            )
        if self._budget.owed > MAX_TOTAL_BYTES:
            for session in self._sessions.values():
                session.recount_owed()
        while self._budget.owed > MAX_TOTAL_BYTES and self._sessions:
            # An honest peer acknowledges with every heartbeat.
            worst = max(self._sessions.values(), key=lambda each: each.owed * (1 + each.stalled_beats))
            self.close_peer(
                worst, f"it leaves {worst.owed} of {self._budget.owed} bytes unacknowledged of all peers"
            )

    # --- sending ------------------------------------------------------------------------------------

    def flush_later(self, session: Session) -> None:
        """Flush a session's stream when all received messages are handled."""
        if not self._to_flush:
            self._written_at = time.monotonic()
        self._to_flush.append(session)
        self._flush_soon()

    def _flush_soon(self) -> None:
        if not (self._is_in_pass or self._is_local or self._is_flush_due):
            self._is_flush_due = True
            self._loop.call_soon(self.flush)

    def _flush_rest(self) -> None:
        """Flush soon what was written during a `flush`, and go on with sessions that have ended."""
        if self._to_flush or self._leaving:
            self._flush_soon()

    def _drained(self, more: bool) -> bool:
        """Handle the end of a pass; return whether peers still wait for their turns."""
        self._is_drained = not more
        if more:
            self._sweep_if_due()
        # If more is available, a short message may be among it.
        if self._has_waiting and not (more and time.monotonic() - self._turns_at < READ_S):
            self._run_waiting()
        self.flush()
        self._is_in_pass = False
        self._flush_rest()
        while self._after_pass:
            self._after_pass.pop(0)()
        return self._has_waiting

    def _sweep_if_due(self) -> None:
        now = time.monotonic()
        if now - self._swept_at >= SWEEP_S:
            self._is_drained = False
            self._sweep(now)

    def _sweep(self, now: float) -> None:
        """Close the connections that have sent the most, if more waits in ZeroMQ than may wait."""
        self._swept_at = now
        if self._is_drained:
            self._connections.orphaned = 0
        total, backlogs = self._connections.orphaned, []
        for connection in self._connections.all():
            backlog = connection.look(now, is_drained=self._is_drained)
            total += backlog
            if backlog > MIN_BACKLOG_BYTES:
                backlogs.append((backlog, connection))
        self._backlog = total
        backlogs.sort(key=lambda each: each[0])
        while total > MAX_BACKLOG_BYTES and backlogs:
            backlog, connection = backlogs.pop()
            total -= backlog
            self._close_connection(connection, f"messages of about {backlog} bytes wait for the hub")

    def flush(self) -> None:
        """Flush the streams that have something to send, and go on with sessions that have ended."""
        self._is_flush_due = False
        self._direct = DIRECT
        self._leaving_s = 0.0
        if self._leaving:
            self._run_leaving()
        while self._router.queued_bytes + WAITING_BYTES * self._router.queued > MAX_QUEUED_BYTES:
            self._router.discard_queued()
        self._flush_streams()

    def _flush_streams(self) -> None:
        to_flush, self._to_flush = self._to_flush, []
        for session in to_flush:
            session.stream.flush()
        if to_flush:
            self._enforce_limits(to_flush)

    def _sender(self, session_id: bytes) -> Send:
        routing_ids, send_to = self._routing_ids, self._send

        def send(message: wire.Message) -> bool:
            return send_to(routing_ids[session_id], message)

        return send

    def _send(self, routing_id: bytes, message: wire.Message) -> bool:
        if (local := self._local_peers.get(routing_id)) is not None:
            local(message)
            return True
        try:
            self._socket.send(wire.encode(message), routing_id)
        except zmq.ZMQError as error:
            if error.errno not in {zmq.EHOSTUNREACH, zmq.EAGAIN}:
                raise
            return False
        return True


async def serve_until_signal(hub: Hub, announce: Callable[[Address], None]) -> None:
    """Serve a hub until SIGTERM or SIGINT (Ctrl-C).

    Args:
        hub: The hub.
        announce: Called with the hub's address once it listens.

    Raises:
        SynapseError: The address is in use or cannot be bound.
    """
    _allow_open_files(2 * MAX_SESSIONS)
    _return_large_blocks()
    gc.freeze()
    gc.set_threshold(*gc.get_threshold()[:2], COLLECTIONS)
    loop = asyncio.get_running_loop()
    listening: asyncio.Future[Address] = loop.create_future()
    serving = loop.create_task(hub.serve(listening))
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, serving.cancel)
    listening.add_done_callback(lambda listening: announce(listening.result()))
    with contextlib.suppress(asyncio.CancelledError):
        await serving


def _return_large_blocks() -> None:
    """Let glibc return freed blocks of messages to the system at once; by default it keeps many of them."""
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, LARGE_BLOCK)


def _allow_open_files(count: int) -> None:
    """Raise the soft limit of open files of this process, as far as it may: a connection needs one."""
    try:
        import resource
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
