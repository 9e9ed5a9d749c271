"""Who is let in: answers what ZeroMQ asks about a peer's key, in the hub's event loop."""

from __future__ import annotations

import asyncio

import zmq
from zmq.auth import Authenticator

from cosmo_synapse_zmq.draining import DrainedSocket
from cosmo_synapse_zmq.keys import HubKeys


class Doorman:
    """Lets in those whose public keys are in the folder of the hub's keys when it starts.

    Args:
        context: The hub's.
        keys: The hub's.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], keys: HubKeys) -> None:
        self._authenticator = Authenticator(context)
        self._authenticator.start()
        self._authenticator.configure_curve(domain="*", location=str(keys.clients))
        self._answering: set[asyncio.Task[None]] = set()
        self._socket = DrainedSocket(self._authenticator.zap_socket, self._receive)

    def _receive(self, parts: list[bytes]) -> None:
        task = asyncio.get_running_loop().create_task(self._authenticator.handle_zap_message(parts))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    def close(self) -> None:
        """Let nobody in any more."""
        self._socket.close()
        self._authenticator.stop()
