"""A hub that one of its peers carries: the first process on a machine, and the next one when that is gone."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final
from weakref import WeakValueDictionary

from cosmo_core import SynapseError
from cosmo_synapse_zmq import wire
from cosmo_synapse_zmq.address import Address
from cosmo_synapse_zmq.hub import Hub


class CarriedHub:
    """A hub in this process, for all of its Synapses that are in one event loop.

    Whoever has the lock file carries it: the system gives the lock back however a process ends.
    """

    def __init__(self, address: Address, path: Path, lease_s: float) -> None:
        self._hub = Hub(address, lease_s=lease_s)
        self._path = path
        self._lock: int | None = None
        self._serving: asyncio.Task[None] | None = None
        self._listening: asyncio.Future[Address] = asyncio.get_running_loop().create_future()
        self._users = 0

    async def start(self) -> bool:
        """Carry the hub, if nobody else does; tell whether this process does now.

        Raises:
            SynapseError: The path cannot be used.
        """
        if self._serving is None and not self._take_lock():
            return False
        self._users += 1
        if self._serving is None:
            loop = asyncio.get_running_loop()
            self._listening = loop.create_future()
            self._serving = loop.create_task(self._hub.serve(self._listening))
        try:
            # Several may wait for it, and all are to know.
            await asyncio.wait((self._listening, self._serving), return_when=asyncio.FIRST_COMPLETED)
            if self._serving.done():
                self._serving.result()
        except BaseException:
            await self.leave()
            raise
        return True

    def _take_lock(self) -> bool:
        try:
            lock = os.open(f"{self._path}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SynapseError(f"no hub can be carried at {self._path}: {error}") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return False
        self._lock = lock
        return True

    def join(self, receive: Callable[[wire.Message], None]) -> LocalConnection:
        """Return a connection that needs no socket."""
        return LocalConnection(self, self._hub, receive)

    async def leave(self) -> None:
        """Put the hub down when the last Synapse that needs it is closed."""
        self._users -= 1
        if not self._users:
            await self._release()

    async def _release(self) -> None:
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
    """A peer in the process, and the event loop, that carries its hub."""

    def __init__(self, carried: CarriedHub, hub: Hub, receive: Callable[[wire.Message], None]) -> None:
        self._carried = carried
        self._hub = hub
        self._loop = asyncio.get_running_loop()
        self._receive = receive
        self._route = hub.join(self._bring)

    def _bring(self, message: wire.Message) -> None:
        # Not at once: it may be the answer to what is being sent.
        self._loop.call_soon(self._receive, message)

    def send(self, message: wire.Message) -> bool:
        """Hand a message to the hub."""
        self._hub.take(self._route, message)
        self._hub.speak()
        return True

    async def leave(self) -> None:
        """Leave the hub, which goes with the last one."""
        self._hub.part(self._route)
        await self._carried.leave()


_carried: Final[WeakValueDictionary[tuple[int, Path], CarriedHub]] = WeakValueDictionary()


async def carry(address: Address, lease_s: float) -> CarriedHub | None:
    """Return the hub at ``address`` if this process carries it, or can from now on.

    Raises:
        SynapseError: The path cannot be used.
    """
    if address.path is None:
        return None
    key = (id(asyncio.get_running_loop()), address.path.absolute())
    carried = _carried.get(key)
    if carried is None:
        carried = _carried[key] = CarriedHub(address, key[1], lease_s)
    return carried if await carried.start() else None
