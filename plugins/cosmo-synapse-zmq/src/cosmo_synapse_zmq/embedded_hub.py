"""An embedded hub: the first process on a machine runs the hub, and the next one takes over when it ends."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final
from weakref import WeakValueDictionary

from cosmo_core import SynapseError
from cosmo_synapse_zmq import wire
from cosmo_synapse_zmq.address import Address
from cosmo_synapse_zmq.hub import Hub


class EmbeddedHub:
    """A hub in this process, shared by all Synapses of one event loop.

    The process that holds a lock file runs the hub. The system releases the lock however the process ends.
    """

    def __init__(self, address: Address, path: Path, lease_s: float) -> None:
        self._hub = Hub(address, lease_s=lease_s)
        self._path = path
        self._lock: int | None = None
        self._serving: asyncio.Task[None] | None = None
        self._listening: asyncio.Future[Address] = asyncio.get_running_loop().create_future()
        self._users = 0

    async def acquire(self) -> bool:
        """Start the hub unless another process runs one; return whether this process runs it.

        Each call that returns True needs one call of `release`.

        Raises:
            SynapseError: The path cannot be used.
        """
        if self._serving is None and not self._acquire_lock():
            return False
        self._users += 1
        if self._serving is None:
            loop = asyncio.get_running_loop()
            self._listening = loop.create_future()
            self._serving = loop.create_task(self._hub.serve(self._listening))
        try:
            # Several Synapses may wait here, and all of them need the result.
            await asyncio.wait((self._listening, self._serving), return_when=asyncio.FIRST_COMPLETED)
            if self._serving.done():
                self._serving.result()
        except BaseException:
            await self.release()
            raise
        return True

    def _acquire_lock(self) -> bool:
        try:
            lock = os.open(f"{self._path}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise SynapseError(f"cannot run an embedded hub at {self._path}: {error}") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return False
        self._lock = lock
        return True

    def connect(self, receive: Callable[[wire.Message], None]) -> LocalConnection:
        """Return a connection to the hub without a socket."""
        return LocalConnection(self, self._hub, receive)

    async def release(self) -> None:
        """Stop the hub if no other Synapse of this process uses it."""
        self._users -= 1
        if not self._users:
            await self._stop()

    async def _stop(self) -> None:
        serving, self._serving = self._serving, None
        try:
            if serving is not None:
                serving.cancel()
                await asyncio.wait((serving,))
                if not serving.cancelled():
                    serving.result()
        finally:
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None


class LocalConnection:
    """The connection of a peer to the hub in its own event loop."""

    def __init__(self, embedded: EmbeddedHub, hub: Hub, receive: Callable[[wire.Message], None]) -> None:
        self._embedded = embedded
        self._hub = hub
        self._loop = asyncio.get_running_loop()
        self._receive = receive
        self._inbox: deque[wire.Message] = deque()
        # Whether `_receive_all` will be called, or goes on.
        self._is_due = False
        self._routing_id = hub.add_local_peer(self._receive_soon)

    def _receive_soon(self, message: wire.Message) -> None:
        # Not at once: the message may answer the one that is being sent, and the hub may be sending others.
        self._inbox.append(message)
        if not self._is_due:
            self._is_due = True
            self._hub.call_after_pass(self._receive_all)

    def _receive_all(self) -> None:
        inbox = self._inbox
        try:
            # Not those that come meanwhile: peers that answer each other must not keep the event loop.
            for _ in range(len(inbox)):
                self._receive(inbox.popleft())
        finally:
            self._is_due = bool(inbox)
            if inbox:
                self._loop.call_soon(self._receive_all)

    def send(self, message: wire.Message) -> bool:
        """Pass a message to the hub."""
        self._hub.handle_local(self._routing_id, message)
        return True

    async def close(self) -> None:
        """Disconnect from the hub. The hub stops with its last connection."""
        self._hub.remove_local_peer(self._routing_id)
        await self._embedded.release()


_embedded: Final[WeakValueDictionary[tuple[int, Path], EmbeddedHub]] = WeakValueDictionary()


async def acquire_embedded_hub(address: Address, lease_s: float) -> EmbeddedHub | None:
    """Return the hub at ``address`` if this process runs it or can start it; None if another process runs it.

    Raises:
        SynapseError: The path cannot be used.
    """
    if address.path is None:
        return None
    key = (id(asyncio.get_running_loop()), address.path.absolute())
    embedded = _embedded.get(key)
    if embedded is None:
        embedded = _embedded[key] = EmbeddedHub(address, key[1], lease_s)
    return embedded if await embedded.acquire() else None
