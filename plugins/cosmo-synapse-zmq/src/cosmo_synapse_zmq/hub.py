"""The hub: the core's routing behind one ROUTER socket, with a session for each peer."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Final

import msgspec
import zmq

from cosmo_core import SynapseError, Undelivered
from cosmo_core.contracts.delivery import DEFAULT_MAX_FRAME
from cosmo_core.routing import Consumer, Delivery, Leases, Router
from cosmo_synapse_zmq import wire
from cosmo_synapse_zmq.address import Address, check_lease
from cosmo_synapse_zmq.keys import HubKeys, KeyAuthenticator
from cosmo_synapse_zmq.sockets import DrainedSocket, cannot_open
from cosmo_synapse_zmq.stream import ReliableStream, Send

MAX_FRAME: Final = 64 * 1024 * 1024
"""Bytes in the largest frame that a hub may be configured for."""

HEARTBEAT_S: Final = 0.25
"""Seconds between two heartbeats to every peer."""

RECONNECT_S: Final = 1.0
"""For how many seconds a new hub keeps frames of reconnecting peers: their subscribers may reconnect
later."""

MAX_EARLY: Final = 10_000
"""How many frames it keeps meanwhile."""

MAX_SESSIONS: Final = 10_000
"""How many peers may be connected."""

MAX_SUBSCRIPTIONS: Final = 10_000
"""How many subscriptions one peer may have."""

MAX_UNACKNOWLEDGED: Final = 10_000
"""How many commands a peer may leave unacknowledged. Beyond that, frames outside of queue groups are
dropped."""

MAX_BYTES: Final = 64 * 1024 * 1024
"""How many bytes of frames these commands may have."""

# RecursionError: a message may be nested too deeply.
_MALFORMED: Final = (msgspec.DecodeError, UnicodeDecodeError, SynapseError, RecursionError)

logger = logging.getLogger("cosmo_synapse_zmq")


class Session:
    """The hub's state of one peer: its subscriptions, and the stream of commands to it.

    Args:
        hub: The hub.
        router: The hub's router.
        send: Sends a message to the peer.

    Attributes:
        stream: The commands to the peer.
        paused: The subjects on which the peer must not publish now.
        reconnecting: Whether another hub knew the peer before.
    """

    def __init__(self, hub: Hub, router: Router, send: Send) -> None:
        self.stream = ReliableStream(wire.HubData, send, self._schedule_flush)
        self.paused: set[str] = set()
        self.reconnecting = False
        self._hub = hub
        self._router = router
        self._consumers: dict[int, Consumer] = {}
        self._dropped: dict[int, int] = {}
        self._reported: dict[int, int] = {}
        self._callbacks: dict[int, Callable[[bytes, Undelivered], None]] = {}

    def _schedule_flush(self) -> None:
        self._hub.flush_later(self)

    # --- commands of the peer -----------------------------------------------------------------------

    def execute(self, command: wire.PeerCommand) -> None:
        """Execute a command of the peer.

        Raises:
            SynapseError: The command is invalid.
        """
        match command:
            case wire.Publish():
                self._hub.publish(self, command)
            case wire.Subscribe():
                self._subscribe(command)
            case wire.GetDeadLetters():
                self._send_dead_letters(command.request)
            case wire.Leave():
                self._hub.end_session(self)
            case _ if (consumer := self._consumers.get(command.sub)) is not None:
                self._execute_for(consumer, command)
            case _:
                # The subscription has ended meanwhile.
                pass

    def _execute_for(
        self,
        consumer: Consumer,
        command: wire.Ack | wire.Unsubscribe | wire.Nack | wire.Requeue,
    ) -> None:
        match command:
            case wire.Ack():
                for number in command.numbers:
                    self._router.ack(consumer, number)
            case wire.Nack():
                self._router.nack(consumer, command.number, command.reason)
            case wire.Requeue():
                self._router.requeue(consumer, command.number)
            case wire.Unsubscribe():
                self._router.remove_consumer(consumer)
                self.stream.write(wire.Unsubscribed(command.sub))
        if consumer.closed and not consumer.unacked:
            # A closed consumer is kept until its deliveries are acknowledged.
            self._consumers.pop(command.sub, None)
            self._dropped.pop(command.sub, None)
            self._reported.pop(command.sub, None)

    def _subscribe(self, request: wire.Subscribe) -> None:
        if (
            request.sub in self._consumers
            or len(self._consumers) >= MAX_SUBSCRIPTIONS
            or request.prefetch < 1
        ):
            reason = (
                f"at most {MAX_SUBSCRIPTIONS} subscriptions are allowed,"
                " each with its own number and a prefetch of at least 1"
            )
            self.stream.write(wire.SubscribeRejected(request.sub, reason))
            return
        consumer = Consumer(
            request.pattern,
            self._sender(request.sub),
            queue_group=request.queue_group,
            prefetch=request.prefetch,
            max_pending=0,
        )
        try:
            # Confirmed before the first frame is delivered.
            self.stream.write(wire.Subscribed(request.sub))
            self._consumers[request.sub] = consumer
            self._router.add_consumer(consumer)
        except SynapseError as error:
            del self._consumers[request.sub]
            self.stream.write(wire.SubscribeRejected(request.sub, str(error)))
        else:
            if request.again:
                self._hub.retry_early()

    def _sender(self, sub: int) -> Callable[[bytes, int, float], bool]:
        stream, dropped = self.stream, self._dropped

        def send(frame: bytes, number: int, published_at: float) -> bool:
            if number:
                held_ms = int((time.monotonic() - published_at) * 1000)
                stream.write(wire.Deliver(sub, frame, number, held_ms), len(frame))
                return False
            if stream.unacknowledged < MAX_UNACKNOWLEDGED and stream.unacknowledged_bytes < MAX_BYTES:
                stream.write(wire.Deliver(sub, frame, 0, 0), len(frame))
            else:
                dropped[sub] = dropped.get(sub, 0) + 1
            return True

        return send

    def _send_dead_letters(self, request: int) -> None:
        for dead in self._router.dead_letters:
            item = wire.DeadLetterItem(request, dead.subject, dead.frame, dead.deliveries, dead.reason)
            self.stream.write(item, len(dead.frame))
        self.stream.write(wire.DeadLetterItem(request, None, b"", 0, ""))

    # --- commands to the peer -----------------------------------------------------------------------

    def callback(self, number: int) -> Callable[[bytes, Undelivered], None] | None:
        """Return the function that reports an undeliverable frame to the peer's callback; None for 0."""
        if not number:
            return None
        callback = self._callbacks.get(number)
        if callback is None:
            if len(self._callbacks) >= MAX_SUBSCRIPTIONS:
                self._callbacks.clear()
            callback = self._callbacks[number] = self._make_callback(number)
        return callback

    def _make_callback(self, number: int) -> Callable[[bytes, Undelivered], None]:
        def report(frame: bytes, cause: Undelivered) -> None:
            self.stream.write(wire.Undeliverable(number, frame, cause), len(frame))

        return report

    def pause(self, subject: str) -> None:
        """Make the peer stop publishing on a subject."""
        if subject not in self.paused:
            self.paused.add(subject)
            self.stream.write(wire.PauseSubject(subject))

    def resume(self, subject: str) -> None:
        """Let the peer publish on a subject again."""
        self.paused.discard(subject)
        self.stream.write(wire.ResumeSubject(subject))

    def send_heartbeat(self) -> None:
        """Send a heartbeat, and the numbers of dropped frames that have changed."""
        for sub, total in self._dropped.items():
            if total != self._reported.get(sub):
                self._reported[sub] = total
                self.stream.write(wire.Dropped(sub, total))
        self.stream.send_heartbeat()

    def end(self, reason: str) -> None:
        """Redeliver the peer's unacknowledged deliveries to others, and send it nothing more."""
        self.stream.connected = False
        # All are removed first, so that no delivery goes from one to another of them.
        for consumer in self._consumers.values():
            self._router.remove_consumer(consumer)
        for consumer in self._consumers.values():
            self._router.remove_lost_consumer(consumer, reason)
        self._consumers.clear()


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

    Raises:
        SynapseError: The address is not on loopback, and there are no keys.
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
        if not 0 < max_frame <= MAX_FRAME or max_waiting < 1 or max_deliveries < 1:
            raise ValueError(
                f"max_frame must be from 1 to {MAX_FRAME}, and max_waiting and max_deliveries at least 1"
            )
        check_lease(lease_s)
        address.check_keys(keys is not None, insecure)
        self.rejected = 0
        self._address = address
        self._keys = keys
        self._max_frame = max_frame
        self._half_full = max_waiting // 2
        # Half of the lease is for ZeroMQ to detect a dead connection, and half for the peer to reconnect.
        self._detect_s = lease_s / 2
        self._leases: Leases[bytes] = Leases(lease_s / 2)
        self._router = Router(
            max_waiting=max_waiting, max_deliveries=max_deliveries, on_dequeued=self._resume_publishers
        )
        # By subject: the sessions that must not publish on it now.
        self._paused: dict[str, list[Session]] = {}
        # A session keeps its id when the peer's connection, and with it the routing id, changes.
        self._sessions: dict[bytes, Session] = {}
        self._session_ids: dict[bytes, bytes] = {}
        self._routing_ids: dict[bytes, bytes] = {}
        self._local_peers: dict[bytes, Callable[[wire.Message], None]] = {}
        self._local_numbers = count()
        self._to_flush: list[Session] = []
        # Frames of reconnecting peers without a subscriber yet; None once the hub has run for `RECONNECT_S`.
        self._early: deque[tuple[Session, wire.Publish]] | None = deque()

    # --- life cycle ---------------------------------------------------------------------------------

    async def serve(self, listening: asyncio.Future[Address]) -> None:
        """Listen, set ``listening`` to the address, and carry frames until cancelled.

        Raises:
            SynapseError: The address is in use or cannot be bound.
        """
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
            self._address.check_path()
            try:
                socket.bind(self._address.endpoint)
            except zmq.ZMQError as error:
                raise SynapseError(f"cannot start a hub at {self._address}: {error.strerror}") from None
            self._socket = DrainedSocket(socket, self._receive, self.flush)
            stack.callback(self._socket.close)
            listening.set_result(self._address.with_endpoint(socket.getsockopt_string(zmq.LAST_ENDPOINT)))
            await self._supervise()

    def _configure(self, socket: zmq.Socket[bytes]) -> None:
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.IPV6, self._address.is_ipv6)
        # Sending to a peer that cannot be reached is an error, and no peer can take the id of another.
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        socket.setsockopt(zmq.MAXMSGSIZE, self._max_frame + wire.OVERHEAD)
        # No limit in ZeroMQ: the sessions limit what is unacknowledged.
        socket.setsockopt(zmq.SNDHWM, 0)
        socket.setsockopt(zmq.RCVHWM, 0)
        # ZeroMQ's own thread answers heartbeats, so a peer with a blocked event loop keeps its lease.
        socket.setsockopt(zmq.HEARTBEAT_IVL, int(self._detect_s * 1000 / 3))
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, int(self._detect_s * 1000))
        if self._keys is not None:
            self._keys.apply(socket)

    async def _supervise(self) -> None:
        """Send heartbeats, and end sessions whose lease has expired."""
        started = before = time.monotonic()
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            now = time.monotonic()
            if now - before > 2 * HEARTBEAT_S:
                # This process was stopped or blocked and received nothing: the peers are not at fault.
                for session_id in self._sessions:
                    self._leases.renew(session_id, now)
            before = now
            if self._early is not None and now - started >= RECONNECT_S:
                self._discard_early()
            self._send_heartbeats(now)
            for session_id in self._leases.expire(now):
                self._remove_session(session_id, "its process is gone or unreachable")

    def _send_heartbeats(self, now: float) -> None:
        for session_id, session in list(self._sessions.items()):
            session.send_heartbeat()
            if session.stream.connected:
                self._leases.renew(session_id, now)

    # --- sessions -----------------------------------------------------------------------------------

    def _open_session(self, routing_id: bytes, hello: wire.Hello) -> None:
        reason = self._rejection(hello)
        if reason is not None:
            self._send(routing_id, wire.Rejection(reason))
            return
        session_id, session = hello.session, self._sessions.get(hello.session)
        previous = self._session_ids.get(routing_id, session_id)
        if previous != session_id:
            self._leases.end(previous)
            self._remove_session(previous, "its peer began another session")
        resumed = session is not None
        if session is None:
            session = self._sessions[session_id] = Session(self, self._router, self._sender(session_id))
            session.reconnecting = hello.reconnecting
        else:
            self._session_ids.pop(self._routing_ids[session_id], None)
        self._routing_ids[session_id] = routing_id
        self._session_ids[routing_id] = session_id
        self._leases.renew(session_id, time.monotonic())
        self._send(routing_id, wire.Welcome(resumed, session.stream.received, self._max_frame))
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
        session_id = next(name for name, each in self._sessions.items() if each is session)
        self._leases.end(session_id)
        self._remove_session(session_id, "its peer left")

    def _remove_session(self, session_id: bytes, reason: str) -> None:
        session = self._sessions.pop(session_id)
        self._session_ids.pop(self._routing_ids.pop(session_id), None)
        for sessions in self._paused.values():
            if session in sessions:
                sessions.remove(session)
        session.end(reason)

    # --- receiving ----------------------------------------------------------------------------------

    def _receive(self, parts: list[bytes]) -> None:
        routing_id = parts[0]
        try:
            message = wire.decode_for_hub(parts[1] if len(parts) == 2 else b"")
            self.handle(routing_id, message)
        except _MALFORMED as error:
            self._reject(error)

    def add_local_peer(self, receive: Callable[[wire.Message], None]) -> bytes:
        """Add a peer in this process, which gets its messages without encoding; return its routing id."""
        # No conflict with ZeroMQ's own routing ids: these have five bytes.
        routing_id = f"local-{next(self._local_numbers)}".encode()
        self._local_peers[routing_id] = receive
        return routing_id

    def remove_local_peer(self, routing_id: bytes) -> None:
        """Send nothing more to a peer in this process."""
        self._local_peers.pop(routing_id, None)

    def handle(self, routing_id: bytes, message: wire.Message) -> None:
        """Handle a message of a peer.

        Raises:
            SynapseError: The message is invalid.
        """
        if isinstance(message, wire.Hello):
            self._open_session(routing_id, message)
            return
        if isinstance(message, wire.Datagram):
            self.publish(None, wire.Publish(message.subject, message.frame, 0))
            return
        session_id = self._session_ids.get(routing_id)
        if session_id is None:
            self._send(routing_id, wire.UnknownSession())
            return
        session = self._sessions[session_id]
        if isinstance(message, wire.Heartbeat):
            session.stream.discard_acknowledged(message.received)
        elif isinstance(message, wire.PeerData) and session.stream.accept(message.number, message.received):
            for command in message.commands:
                try:
                    session.execute(command)
                except _MALFORMED as error:
                    self._reject(error)
                if isinstance(command, wire.Leave):
                    # The session has ended; commands after this one are ignored.
                    break

    def _reject(self, error: Exception) -> None:
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
            and not self._router.has_consumers(command.subject)
        ):
            early.append((session, command))
            return
        callback = None if session is None else session.callback(command.callback)
        blocked = self._router.publish(command.subject, command.frame, callback, time.monotonic())
        for delivery in blocked or ():
            self._router.enqueue(delivery)
            self._pause_publisher(session, delivery.subject)

    def retry_early(self) -> None:
        """Publish the early frames again, because a subscriber has reconnected."""
        early = self._early or deque()
        for _ in range(len(early)):
            # A frame that still has no subscriber is appended again, so the order stays.
            session, command = early.popleft()
            try:
                self.publish(session, command)
            except _MALFORMED as error:
                self._reject(error)

    def _discard_early(self) -> None:
        early, self._early = self._early, None
        for session, command in early or ():
            if (callback := session.callback(command.callback)) is not None:
                callback(command.frame, "no_consumers")

    def _pause_publisher(self, session: Session | None, subject: str) -> None:
        # A datagram has no session to pause. Its sender limits how many it sends: they are heartbeats.
        if session is not None and subject not in session.paused:
            session.pause(subject)
            self._paused.setdefault(subject, []).append(session)

    def _resume_publishers(self, delivery: Delivery) -> None:
        if delivery.subject in self._paused and self._router.queue_length(delivery) <= self._half_full:
            for session in self._paused.pop(delivery.subject):
                session.resume(delivery.subject)

    # --- sending ------------------------------------------------------------------------------------

    def flush_later(self, session: Session) -> None:
        """Flush a session's stream when all received messages are handled."""
        if not self._to_flush:
            # If no message is being handled, `DrainedSocket` does not call `flush`.
            asyncio.get_running_loop().call_soon(self.flush)
        self._to_flush.append(session)

    def flush(self) -> None:
        """Flush the streams of all sessions that have something to send."""
        to_flush, self._to_flush = self._to_flush, []
        for session in to_flush:
            session.stream.flush()

    def _sender(self, session_id: bytes) -> Send:
        def send(message: wire.Message) -> bool:
            return self._send(self._routing_ids[session_id], message)

        return send

    def _send(self, routing_id: bytes, message: wire.Message) -> bool:
        if (local := self._local_peers.get(routing_id)) is not None:
            local(message)
            return True
        try:
            self._socket.send([routing_id, wire.encode(message)])
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
    loop = asyncio.get_running_loop()
    listening: asyncio.Future[Address] = loop.create_future()
    serving = loop.create_task(hub.serve(listening))
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, serving.cancel)
    listening.add_done_callback(lambda listening: announce(listening.result()))
    with contextlib.suppress(asyncio.CancelledError):
        await serving
