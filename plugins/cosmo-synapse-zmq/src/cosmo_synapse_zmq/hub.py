"""The hub: routing behind one ROUTER socket."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Final

import msgspec
import zmq

from cosmo_core import SynapseError
from cosmo_core.contracts.delivery import DEFAULT_MAX_FRAME
from cosmo_core.routing import Delivery, Leases, Router
from cosmo_synapse_zmq import wire
from cosmo_synapse_zmq.address import Address
from cosmo_synapse_zmq.doorman import Doorman
from cosmo_synapse_zmq.draining import DrainedSocket
from cosmo_synapse_zmq.keys import HubKeys
from cosmo_synapse_zmq.session import Session
from cosmo_synapse_zmq.stream import Send

BEAT_S: Final = 0.25
"""Seconds between two looks at who is there."""

SETTLING_S: Final = 1.0
"""For how long a new hub keeps what peers that come back publish: those who subscribe may come back later."""

MAX_EARLY: Final = 10_000
"""How many frames it keeps then."""

MAX_SESSIONS: Final = 10_000
"""How many peers may be connected."""

# A message or a subject may also go too deep.
_NONSENSE: Final = (msgspec.DecodeError, UnicodeDecodeError, SynapseError, RecursionError)

logger = logging.getLogger("cosmo_synapse_zmq")


class Hub:
    """Carries frames between the peers that connect to one address.

    Args:
        address: Where to listen; port 0 takes a free one.
        keys: The hub's keys, and those of the peers it lets in. Required off loopback.
        insecure: Listen off loopback without keys.
        max_frame: Bytes in the largest frame.
        max_waiting: How many frames of one subject may wait for a queue group.
        max_deliveries: How many times a frame is given to members of a queue group.
        lease_s: Seconds after which a peer that is gone counts as lost, and others get its work.

    Attributes:
        rejected: How many messages were none that a peer may send.

    Raises:
        SynapseError: The address is not loopback, and there are no keys.
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
        address.check_keys(keys is not None, insecure)
        self.rejected = 0
        self._address = address
        self._keys = keys
        self._max_frame = max_frame
        self._half_full = max_waiting // 2
        # Half of the lease is for ZeroMQ to notice that a connection is dead, and half to come back.
        self._notice_s = lease_s / 2
        self._leases: Leases[bytes] = Leases(lease_s / 2)
        self._router = Router(
            max_waiting=max_waiting, max_deliveries=max_deliveries, on_dequeued=self._release
        )
        self._holders: dict[str, list[Session]] = {}
        self._sessions: dict[bytes, Session] = {}
        self._names: dict[bytes, bytes] = {}
        self._routes: dict[bytes, bytes] = {}
        self._local: dict[bytes, Callable[[wire.Message], None]] = {}
        self._joined = count()
        self._spoken_to: list[Session] = []
        self._early: deque[tuple[Session, wire.Publish]] | None = deque()

    # --- life ---------------------------------------------------------------------------------------

    async def serve(self, listening: asyncio.Future[Address]) -> None:
        """Listen, say where, and carry frames until cancelled.

        Raises:
            SynapseError: The address is in use, or cannot be had.
        """
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        with contextlib.ExitStack() as stack:
            stack.callback(context.destroy, 0)
            if self._keys is not None:
                stack.callback(Doorman(context, self._keys).close)
            socket = context.socket(zmq.ROUTER)
            self._configure(socket)
            try:
                socket.bind(self._address.endpoint)
            except zmq.ZMQError as error:
                raise SynapseError(f"no hub at {self._address}: {error.strerror}") from None
            self._socket = DrainedSocket(socket, self._receive, self.speak)
            stack.callback(self._socket.close)
            listening.set_result(self._address.bound(socket.getsockopt_string(zmq.LAST_ENDPOINT)))
            await self._look_after()

    def _configure(self, socket: zmq.Socket[bytes]) -> None:
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.IPV6, self._address.is_ipv6)
        # Whoever cannot be reached is noticed; nobody takes the place of another.
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        socket.setsockopt(zmq.MAXMSGSIZE, self._max_frame + wire.OVERHEAD)
        # Sessions bound what is under way.
        socket.setsockopt(zmq.SNDHWM, 0)
        socket.setsockopt(zmq.RCVHWM, 0)
        # Answered by ZeroMQ's own thread: a Neuron that blocks its event loop keeps its lease.
        socket.setsockopt(zmq.HEARTBEAT_IVL, int(self._notice_s * 1000 / 3))
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, int(self._notice_s * 1000))
        if self._keys is not None:
            self._keys.apply(socket)

    async def _look_after(self) -> None:
        started = before = time.monotonic()
        while True:
            await asyncio.sleep(BEAT_S)
            now = time.monotonic()
            if now - before > 2 * BEAT_S:
                # This process stood still, and heard nobody: that is not their fault.
                for name in self._sessions:
                    self._leases.renew(name, now)
            before = now
            if self._early is not None and now - started >= SETTLING_S:
                self._give_up_early()
            self._beat(now)
            for name in self._leases.expire(now):
                self._lose(name, "its process is gone, or out of reach")

    def _beat(self, now: float) -> None:
        for name, session in list(self._sessions.items()):
            session.beat()
            if session.out.up:
                self._leases.renew(name, now)

    def _lose(self, name: bytes, reason: str) -> None:
        session = self._sessions.pop(name)
        self._names.pop(self._routes.pop(name), None)
        for holders in self._holders.values():
            if session in holders:
                holders.remove(session)
        session.end(reason)

    # --- a message arrives --------------------------------------------------------------------------

    def _receive(self, parts: list[bytes]) -> None:
        route = parts[0]
        try:
            message = wire.decode_for_hub(parts[1] if len(parts) == 2 else b"")
            self.take(route, message)
        except _NONSENSE as error:
            self._reject(error)

    def join(self, receive: Callable[[wire.Message], None]) -> bytes:
        """Return the route of a peer in this process, which is sent its messages as they are."""
        # ZeroMQ's own routes are five bytes long.
        route = f"local-{next(self._joined)}".encode()
        self._local[route] = receive
        return route

    def part(self, route: bytes) -> None:
        """Send nothing more to a peer in this process."""
        self._local.pop(route, None)

    def take(self, route: bytes, message: wire.Message) -> None:
        """Take a message from a peer.

        Raises:
            SynapseError: It makes no sense.
        """
        if isinstance(message, wire.Hello):
            self._welcome(route, message)
            return
        if isinstance(message, wire.Shout):
            self.publish(None, wire.Publish(message.subject, message.frame, 0))
            return
        name = self._names.get(route)
        if name is None:
            self._send(route, wire.Lost())
            return
        session = self._sessions[name]
        if isinstance(message, wire.Beat):
            session.out.acknowledge(message.received)
        elif isinstance(message, wire.PeerData) and session.out.take(message.number, message.received):
            for command in message.commands:
                try:
                    session.obey(command)
                except _NONSENSE as error:
                    self._reject(error)
                if isinstance(command, wire.Leave):
                    # Nobody is there whom anything behind that could be for.
                    break

    def _reject(self, error: Exception) -> None:
        self.rejected += 1
        # The 1st, 10th, 100th, ...: a flood of garbage must not become a flood of log lines.
        if str(self.rejected).strip("0") == "1":
            logger.warning("a peer sent what makes no sense, %d so far; this one: %s", self.rejected, error)

    def _welcome(self, route: bytes, hello: wire.Hello) -> None:
        refusal = self._refusal(hello)
        if refusal is not None:
            self._send(route, wire.Refusal(refusal))
            return
        name, session = hello.session, self._sessions.get(hello.session)
        before = self._names.get(route, name)
        if before != name:
            self._leases.end(before)
            self._lose(before, "it began another session")
        resumed = session is not None
        if session is None:
            session = self._sessions[name] = Session(self._router, self, self._sender(name))
            session.returning = hello.again
        else:
            self._names.pop(self._routes[name], None)
        self._routes[name] = route
        self._names[route] = name
        self._leases.renew(name, time.monotonic())
        self._send(route, wire.Welcome(resumed, session.out.received, self._max_frame))
        session.out.resume(hello.received if resumed else 0)

    def _refusal(self, hello: wire.Hello) -> str | None:
        if hello.version != wire.VERSION:
            return f"this hub speaks version {wire.VERSION} of its protocol, the peer {hello.version}"
        if len(hello.session) != wire.SESSION_BYTES:
            return f"the name of a session has {wire.SESSION_BYTES} bytes, so that it cannot be guessed"
        if hello.session not in self._sessions and len(self._sessions) >= MAX_SESSIONS:
            return f"{MAX_SESSIONS} peers are connected, which is the most"
        return None

    # --- a frame is published -----------------------------------------------------------------------

    def publish(self, session: Session | None, command: wire.Publish) -> None:
        """Route a frame that a peer publishes, in a session or outside.

        Raises:
            SynapseError: It is too large, or its subject malformed.
        """
        if len(command.frame) > self._max_frame:
            raise SynapseError(f"a frame of {len(command.frame)} bytes, more than {self._max_frame}")
        early = self._early
        if (
            early is not None
            and session is not None
            and session.returning
            and len(early) < MAX_EARLY
            and not self._router.has_consumers(command.subject)
        ):
            early.append((session, command))
            return
        tell = None if session is None else session.teller(command.tell)
        crowded = self._router.publish(command.subject, command.frame, tell, time.monotonic())
        for letter in crowded or ():
            self._router.enqueue(letter)
            self._hold(session, letter)

    def leave(self, session: Session) -> None:
        """Forget a peer that went."""
        name = next(name for name, each in self._sessions.items() if each is session)
        self._leases.end(name)
        self._lose(name, "it left")

    def came_back(self) -> None:
        """Route what came before a subscription that there was before, and is again."""
        early = self._early or deque()
        for _ in range(len(early)):
            # What still reaches nobody is put back at the end, and so keeps its order.
            session, command = early.popleft()
            try:
                self.publish(session, command)
            except _NONSENSE as error:
                self._reject(error)

    def _give_up_early(self) -> None:
        early, self._early = self._early, None
        for session, command in early or ():
            if (tell := session.teller(command.tell)) is not None:
                tell(command.frame, "no_consumers")

    def _hold(self, session: Session | None, letter: Delivery) -> None:
        # Without a session nobody waits: it is a sign of life, and bounded by whoever gives it.
        if session is not None and letter.subject not in session.held:
            session.hold(letter)
            self._holders.setdefault(letter.subject, []).append(session)

    def _release(self, letter: Delivery) -> None:
        if letter.subject in self._holders and self._router.queue_length(letter) <= self._half_full:
            for session in self._holders.pop(letter.subject):
                session.release(letter.subject)

    # --- out ----------------------------------------------------------------------------------------

    def speak_later(self, session: Session) -> None:
        """Flush what a peer is told, when everything that came was read."""
        if not self._spoken_to:
            # In case nothing came: then it is not said for the sake of a message.
            asyncio.get_running_loop().call_soon(self.speak)
        self._spoken_to.append(session)

    def speak(self) -> None:
        """Flush what peers are told."""
        spoken_to, self._spoken_to = self._spoken_to, []
        for session in spoken_to:
            session.out.flush()

    def _sender(self, name: bytes) -> Send:
        def send(message: wire.Message) -> bool:
            return self._send(self._routes[name], message)

        return send

    def _send(self, route: bytes, message: wire.Message) -> bool:
        if (local := self._local.get(route)) is not None:
            local(message)
            return True
        try:
            self._socket.send([route, wire.encode(message)])
        except zmq.ZMQError as error:
            if error.errno not in {zmq.EHOSTUNREACH, zmq.EAGAIN}:
                raise
            return False
        return True
