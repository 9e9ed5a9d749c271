"""A peer's connection to its hub: made, refused, broken, made again."""

from __future__ import annotations

import logging
from typing import Final, Protocol

import msgspec
import zmq
from zmq.utils.monitor import parse_monitor_message

from cosmo_core import SynapseError
from cosmo_synapse_zmq import wire
from cosmo_synapse_zmq.address import Address
from cosmo_synapse_zmq.draining import DrainedSocket
from cosmo_synapse_zmq.keys import PeerKeys

RECONNECT_MS: Final = 50
"""Milliseconds between two attempts to reach a hub; a few times as many after a while."""

MAX_FAILURES: Final = 3
"""How many attempts in a row fail without a reason before it counts as a refusal."""

_REFUSED: Final = zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
_WATCHED: Final = (
    zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_DISCONNECTED | _REFUSED
)


logger = logging.getLogger("cosmo_synapse_zmq")


class Peer(Protocol):
    """What a connection tells its peer."""

    def connected(self) -> None:
        """The hub can be reached."""
        ...

    def disconnected(self) -> None:
        """The hub cannot be reached any more; it is being tried again."""
        ...

    def refused(self) -> None:
        """The hub, or whatever listens there, does not let this peer in."""
        ...

    def receive(self, message: wire.Message) -> None:
        """A message came."""
        ...


class Connection:
    """One DEALER, and the monitor that says how it is.

    Args:
        address: The hub's.
        keys: The peer's; None to go without.
        peer: Who is told.
        lease_s: Seconds within which each side notices that the other one is gone.
    """

    def __init__(self, address: Address, keys: PeerKeys | None, peer: Peer, lease_s: float) -> None:
        self._peer = peer
        self._failures = 0
        socket = dealer(address, keys)
        socket.setsockopt(zmq.HEARTBEAT_IVL, int(lease_s * 1000 / 6))
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, int(lease_s * 1000 / 2))
        # A peer bounds by itself what is under way.
        socket.setsockopt(zmq.SNDHWM, 0)
        socket.setsockopt(zmq.RCVHWM, 0)
        self._monitor = DrainedSocket(socket.get_monitor_socket(_WATCHED), self._observe)
        self._socket = DrainedSocket(socket, self._receive)
        self._dealer = socket
        try:
            socket.connect(address.endpoint)
        except zmq.ZMQError as error:
            self.close(0)
            raise SynapseError(f"no hub can be at {address}: {error.strerror}") from None

    def _observe(self, parts: list[bytes]) -> None:
        event = parse_monitor_message(parts)["event"]
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._failures = 0
            self._peer.connected()
        elif event == zmq.EVENT_DISCONNECTED:
            self._peer.disconnected()
        else:
            self._failures += 1
            # Without detail it may also be a hub that died in the middle of it.
            if event & _REFUSED or self._failures >= MAX_FAILURES:
                self._peer.refused()

    def _receive(self, parts: list[bytes]) -> None:
        try:
            message = wire.decode_for_peer(parts[0])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            logger.warning("the hub sent what makes no sense: %s", error)
        else:
            self._peer.receive(message)

    def send(self, message: wire.Message) -> bool:
        """Send a message; tell whether that could be done."""
        try:
            self._socket.send([wire.encode(message)])
        except zmq.Again:
            return False
        return True

    def close(self, linger_ms: int) -> None:
        """Close; what was sent has ``linger_ms`` to leave."""
        self._dealer.disable_monitor()
        self._monitor.close()
        self._socket.close(linger_ms)


def dealer(address: Address, keys: PeerKeys | None) -> zmq.Socket[bytes]:
    """Return a socket that can be connected to the hub at ``address``."""
    # The process's own context: it lets what was sent leave after its socket was closed.
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
    socket = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.IPV6, address.is_ipv6)
    socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, 4 * RECONNECT_MS)
    if keys is not None:
        keys.apply(socket)
    return socket
