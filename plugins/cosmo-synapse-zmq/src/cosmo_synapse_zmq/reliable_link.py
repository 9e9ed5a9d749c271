"""A peer's link to its hub: one session over connections that break and are made again."""

from __future__ import annotations

import asyncio
import logging
import secrets
from typing import Final, Protocol

import msgspec
import zmq
from zmq.utils.monitor import parse_monitor_message

from cosmo_core import SynapseAuthError, SynapseError
from cosmo_synapse_zmq import wire
from cosmo_synapse_zmq.address import Address
from cosmo_synapse_zmq.embedded_hub import LocalConnection, acquire_embedded_hub
from cosmo_synapse_zmq.keys import PeerKeys
from cosmo_synapse_zmq.sockets import (
    DrainedSocket,
    cannot_open,
    check_open_files,
    read_first,
    read_parts,
)
from cosmo_synapse_zmq.stream import ACK_BYTES, ReliableStream

RECONNECT_MS: Final = 50
"""Milliseconds between two attempts to reach a hub; later up to four times as many."""

MAX_FAILURES: Final = 3
"""How many handshakes in a row may fail without a reason before the peer counts as rejected."""

REJECTED_RETRY_S: Final = 0.5
"""Seconds after which a peer that was accepted before tries again at a hub that has rejected it."""

TAKEOVER_RETRY_S: Final = 0.1
"""Seconds between two attempts to run the embedded hub, when its process is gone."""

_REJECTED: Final = zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
_MONITORED: Final = (
    zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_DISCONNECTED | _REJECTED
)

logger = logging.getLogger("cosmo_synapse_zmq")


# --- the connection ---------------------------------------------------------------------------------


class ConnectionListener(Protocol):
    """The receiver of a connection's events and messages."""

    def connected(self) -> None:
        """The hub can be reached."""
        ...

    def disconnected(self) -> None:
        """The hub cannot be reached any more; ZeroMQ reconnects."""
        ...

    def rejected(self) -> None:
        """The hub, or another program at its address, does not accept this peer."""
        ...

    def receive(self, message: wire.Message) -> None:
        """A message has arrived."""
        ...

    def acknowledge(self) -> None:
        """Acknowledge what was received."""
        ...


class Connection:
    """A DEALER socket, and the monitor of its state.

    Args:
        address: The hub's address.
        keys: The peer's keys; None to connect without.
        listener: Receives events and messages.
        lease_s: Seconds within which either side notices that the other is gone.
    """

    def __init__(
        self, address: Address, keys: PeerKeys | None, listener: ConnectionListener, lease_s: float
    ) -> None:
        self._listener = listener
        self._failures = 0
        # Bytes that came since the last acknowledgement.
        self._unacknowledged = 0
        socket = make_dealer(address, keys)
        socket.setsockopt(zmq.HEARTBEAT_IVL, int(lease_s * 1000 / 6))
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, int(lease_s * 1000 / 2))
        # No limit in ZeroMQ: the Synapse limits what is unacknowledged.
        socket.setsockopt(zmq.SNDHWM, 0)
        socket.setsockopt(zmq.RCVHWM, 0)
        self._dealer = socket
        try:
            self._monitor = DrainedSocket(
                socket.get_monitor_socket(_MONITORED), self._observe, read=read_parts
            )
        except zmq.ZMQError as error:
            socket.close(0)
            raise cannot_open(error) from None
        self._socket = DrainedSocket(socket, self._receive, read=read_first)
        try:
            socket.connect(address.endpoint)
        except zmq.ZMQError as error:
            self.close(0)
            raise SynapseError(f"invalid address of a hub: {address}: {error.strerror}") from None

    def _observe(self, parts: list[bytes]) -> None:
        event = parse_monitor_message(parts)["event"]
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._failures = 0
            self._listener.connected()
        elif event == zmq.EVENT_DISCONNECTED:
            self._listener.disconnected()
        else:
            self._failures += 1
            # A failure without detail may also be a hub that died during the handshake.
            if event & _REJECTED or self._failures >= MAX_FAILURES:
                self._listener.rejected()

    def _receive(self, raw: bytes) -> None:
        try:
            message = wire.decode_for_peer(raw)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            logger.warning("the hub sent a malformed message: %s", error)
        else:
            self._listener.receive(message)
            # The hub limits how many bytes may be on their way.
            self._unacknowledged += len(raw)
            if self._unacknowledged >= ACK_BYTES:
                self._unacknowledged = 0
                self._listener.acknowledge()

    def send(self, message: wire.Message) -> bool:
        """Send a message; return whether it could be sent."""
        try:
            self._socket.send(wire.encode(message))
        except zmq.Again:
            return False
        return True

    def close(self, linger_ms: int) -> None:
        """Close; sent messages get ``linger_ms`` milliseconds to leave."""
        self._dealer.disable_monitor()
        self._monitor.close()
        self._socket.close(linger_ms)


def make_dealer(address: Address, keys: PeerKeys | None) -> zmq.Socket[bytes]:
    """Return a DEALER socket, configured for the hub at ``address`` and not yet connected.

    Raises:
        SynapseError: The process may open no more files.
    """
    check_open_files()
    try:
        # The process's shared context: sent messages can still leave after their socket is closed.
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
        socket = context.socket(zmq.DEALER)
    except zmq.ZMQError as error:
        raise cannot_open(error) from None
    socket.setsockopt(zmq.IPV6, address.is_ipv6)
    socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, 4 * RECONNECT_MS)
    if keys is not None:
        keys.apply(socket)
    return socket


# --- the link ---------------------------------------------------------------------------------------


class LinkListener(Protocol):
    """The receiver of a link's events and commands: the Synapse."""

    def execute(self, command: wire.HubCommand) -> None:
        """Execute a command of the hub."""
        ...

    def session_lost(self, unsent: list[wire.Publish]) -> None:
        """The hub does not know this peer: subscribe again, and publish ``unsent`` again."""
        ...

    def welcomed(self, max_frame: int) -> None:
        """The hub has accepted the peer, and carries frames of up to ``max_frame`` bytes."""
        ...

    def message_handled(self) -> None:
        """A message was handled; it may have acknowledged commands."""
        ...

    def rejected(self, error: SynapseError) -> None:
        """The hub does not accept the peer any more; the link goes on trying until `welcomed`."""
        ...


class ReliableLink:
    """A session with the hub.

    Args:
        address: The hub's address.
        keys: This peer's keys and the hub's public key; None to connect without.
        listener: The Synapse.
        timeout_s: For how many seconds `open` waits for a hub.
        lease_s: Seconds after which either side counts the other as gone.

    Attributes:
        stream: The commands to the hub.
        heard_at: When the hub's last heartbeat came, on the clock of the event loop.
    """

    def __init__(
        self,
        address: Address,
        keys: PeerKeys | None,
        listener: LinkListener,
        *,
        timeout_s: float,
        lease_s: float,
    ) -> None:
        self._address = address
        self._keys = keys
        self._listener = listener
        self._timeout_s = timeout_s
        self._lease_s = lease_s
        self._connection: Connection | LocalConnection | None = None
        self._takeover: asyncio.Task[None] | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._hello_sent = False
        self._was_welcomed = False
        self._is_rejected = False
        self._flush_scheduled = False
        # Whether the next command is sent at once, and whether the latest batch had several commands.
        self._sends_at_once = True
        self._is_busy = False
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self.heard_at = self._loop.time()
        self._session = secrets.token_bytes(wire.SESSION_BYTES)
        self.stream = ReliableStream(wire.PeerData, self._send, self._schedule_flush)

    # --- life cycle ---------------------------------------------------------------------------------

    async def open(self) -> None:
        """Connect to the hub.

        Raises:
            SynapseAuthError: The hub does not accept this peer.
            SynapseError: No hub can be reached.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                if not (self._address.embedded and await self._run_embedded_hub()):
                    self._connection = Connection(self._address, self._keys, self, self._lease_s)
                    self._start_takeover()
                await self._ready
        except BaseException as error:
            await self.close(0)
            if isinstance(error, TimeoutError):
                raise SynapseError(
                    f"no hub at {self._address} answered within {self._timeout_s} s;"
                    f" start one: python -m cosmo_synapse_zmq hub {self._address}"
                ) from None
            raise

    async def close(self, linger_ms: int) -> None:
        """Disconnect from the hub; sent messages get ``linger_ms`` milliseconds to leave."""
        if self._retry is not None:
            self._retry.cancel()
        if self._takeover is not None:
            self._takeover.cancel()
            await asyncio.wait((self._takeover,))
        self.stream.connected = False
        connection, self._connection = self._connection, None
        if isinstance(connection, LocalConnection):
            await connection.close()
        elif connection is not None:
            connection.close(linger_ms)

    async def _run_embedded_hub(self) -> bool:
        """Run the hub in this process, unless another process does; return whether this one does."""
        embedded = await acquire_embedded_hub(self._address, self._lease_s)
        if embedded is None:
            return False
        previous, self._connection = self._connection, embedded.connect(self.receive)
        if isinstance(previous, Connection):
            previous.close(0)
        self.connected()
        return True

    def _start_takeover(self) -> None:
        """Try to run the embedded hub until this process or another one does."""
        if self._address.embedded and self._takeover is None:
            self._takeover = self._loop.create_task(self._take_over())

    async def _take_over(self) -> None:
        try:
            while not self.stream.connected and not await self._run_embedded_hub():  # noqa: ASYNC110
                # The system sends no event when a lock is free again, so this polls.
                await asyncio.sleep(TAKEOVER_RETRY_S)
        except SynapseError as error:
            logger.error("%s", error)  # noqa: TRY400 - the traceback would add nothing
        finally:
            self._takeover = None

    # --- sending ------------------------------------------------------------------------------------

    def _schedule_flush(self) -> None:
        # The first command after a message was received is sent at once, for low latency. Commands that
        # follow it are batched until the event loop turns. While there are many, the first one is batched,
        # too: with a hundred round trips in flight that saves every third message and 3 % of the time.
        if self._sends_at_once:
            self._sends_at_once = False
            self.stream.flush()
        elif not self._flush_scheduled:
            self._flush_scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_scheduled = False
        # Without any, a full batch was sent meanwhile.
        self._is_busy = self.stream.batched != 1
        self._sends_at_once = not self._is_busy
        self.stream.flush()

    def _send(self, message: wire.Message) -> bool:
        return self._connection is not None and self._connection.send(message)

    # --- events of the connection -------------------------------------------------------------------

    def connected(self) -> None:
        """Open or resume the session."""
        self._hello_sent = True
        # Until the hub has answered, it does not know which session data belongs to.
        self.stream.connected = False
        self._send(wire.Hello(wire.VERSION, self._session, self.stream.received, self._was_welcomed))

    def disconnected(self) -> None:
        """Keep commands until the hub can be reached again."""
        if self.stream.connected:
            logger.warning("the hub at %s cannot be reached; reconnecting", self._address)
        self.stream.connected = False
        self._start_takeover()

    def rejected(self) -> None:
        """Fail, and connect again later if the hub had accepted this peer: its keys may be restored."""
        self._fail(
            SynapseAuthError(
                f"the hub at {self._address} does not accept this program; check its own key,"
                " the hub's public key, and that the hub has this program's public key"
            )
        )

    def _fail(self, error: SynapseError) -> None:
        if not self._ready.done():
            self._ready.set_exception(error)
        elif self._was_welcomed and self._retry is None:
            if not self._is_rejected:
                logger.error("%s; trying again", error)
            self._is_rejected = True
            self.stream.connected = False
            self._retry = self._loop.call_later(REJECTED_RETRY_S, self._try_again)
            self._listener.rejected(error)

    def _try_again(self) -> None:
        """Connect again: ZeroMQ does not reconnect to a hub that has rejected a peer."""
        self._retry = None
        connection = self._connection
        if isinstance(connection, LocalConnection):
            self.connected()
            return
        if connection is not None:
            connection.close(0)
        self._connection = None
        try:
            self._connection = Connection(self._address, self._keys, self, self._lease_s)
        except SynapseError as error:
            self._fail(error)

    def acknowledge(self) -> None:
        """Acknowledge what was received."""
        self.stream.send_heartbeat()

    def receive(self, message: wire.Message) -> None:
        """Handle a message of the hub."""
        self._sends_at_once = not self._is_busy
        match message:
            case wire.HubData():
                if self.stream.accept(message.number, message.received):
                    for command in message.commands:
                        self._listener.execute(command)
            case wire.Heartbeat():
                self.heard_at = self._loop.time()
                self.stream.discard_acknowledged(message.received)
                self.stream.send_heartbeat()
            case wire.Welcome():
                self._start_session(message)
            case wire.UnknownSession() if not self._hello_sent:
                self.connected()
            case wire.Rejection():
                self._fail(SynapseError(f"the hub at {self._address} rejects this peer: {message.reason}"))
        self._listener.message_handled()

    def _start_session(self, welcome: wire.Welcome) -> None:
        self.heard_at = self._loop.time()
        if self._is_rejected:
            self._is_rejected = False
            logger.warning("the hub at %s accepts this program again", self._address)
        self._listener.welcomed(welcome.max_frame)
        self._hello_sent = False
        if self._was_welcomed and not welcome.resumed:
            self._reset_session()
        self._was_welcomed = True
        self.stream.resume(welcome.received)
        if not self._ready.done():
            self._ready.set_result(None)

    def _reset_session(self) -> None:
        unsent = [command for command in self.stream.pending() if isinstance(command, wire.Publish)]
        self.stream = ReliableStream(wire.PeerData, self._send, self._schedule_flush)
        self._listener.session_lost(unsent)
