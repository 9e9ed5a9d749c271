"""A thread with a connection of its own: what has to be said while the event loop is blocked."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from nats import errors

from cosmo_core.errors import SynapseError
from cosmo_synapse_nats.connection import Connection
from cosmo_synapse_nats.troubles import Troubles

if TYPE_CHECKING:
    from cosmo_synapse_nats.options import Servers

MAX_WAITING: Final = 1000
"""Frames that may wait for the thread to send them; beyond those the oldest is given up."""

AGAIN_S: Final = 0.5
"""Seconds until a server that could not be reached is tried again."""

PROGRESS: Final = b"+WPI"


class Keeper:
    """Sends signs of life, and renews leases, from a thread that starts when there is something to say.

    Args:
        servers: Where to.
        renew_s: Seconds between two renewals.
    """

    def __init__(self, servers: Servers, renew_s: float) -> None:
        self._servers = servers
        self._renew_s = renew_s
        self._troubles = Troubles(str(servers))
        self._lock = threading.Lock()
        self._leases: set[str] = set()
        self._waiting: deque[tuple[str, bytes]] = deque(maxlen=MAX_WAITING)
        self._thread: threading.Thread | None = None
        self._nudge: Callable[[], object] | None = None
        self._ended: Callable[[], object] | None = None
        self._stopping = False

    # --- from any thread ----------------------------------------------------------------------------

    def publish(self, subject: str, frame: bytes) -> None:
        """Have the thread publish a frame, as soon as it can."""
        self._waiting.append((subject, frame))
        with self._lock:
            self._start()
            if self._nudge is not None:
                self._nudge()

    def keep(self, lease: str) -> None:
        """Renew a lease until it is let go of."""
        with self._lock:
            self._leases.add(lease)
            self._start()

    def let_go(self, lease: str) -> None:
        """Renew a lease no longer."""
        with self._lock:
            self._leases.discard(lease)

    def _start(self) -> None:
        if self._thread is None and not self._stopping:
            self._thread = threading.Thread(target=self._run, name="cosmo-nats-keeper", daemon=True)
            self._thread.start()

    async def close(self) -> None:
        """End the thread and its connection."""
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        with self._lock:
            self._stopping = True
            if self._thread is None:
                return
            self._ended = lambda: loop.call_soon_threadsafe(ended.set)
            if self._nudge is not None:
                self._nudge()
            alive = self._thread.is_alive()
        if alive:
            await ended.wait()
        self._thread.join()

    # --- in the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            asyncio.run(self._work())
        finally:
            with self._lock:
                if self._ended is not None:
                    self._ended()
                elif not self._stopping:
                    # The next one who has something to say starts another.
                    self._thread = None

    async def _work(self) -> None:
        loop, wake = asyncio.get_running_loop(), asyncio.Event()
        with self._lock:
            self._nudge = lambda: loop.call_soon_threadsafe(wake.set)
        try:
            while not self._stopping:
                connection = Connection(self._servers, "cosmo keeper")
                try:
                    await connection.open()
                    await self._serve(connection, wake)
                except SynapseError as error:
                    self._troubles.note("no signs of life can be sent", error)
                    await _pause(wake, loop.time() + AGAIN_S)
                finally:
                    await connection.close()
        finally:
            with self._lock:
                self._nudge = None

    async def _serve(self, connection: Connection, wake: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while not (self._stopping or connection.client.is_closed):
            while self._waiting:
                await self._send(connection, *self._waiting.popleft())
            if loop.time() >= due:
                due = loop.time() + self._renew_s
                with self._lock:
                    leases = list(self._leases)
                for lease in leases:
                    await self._send(connection, lease, PROGRESS)
            await _pause(wake, due)

    async def _send(self, connection: Connection, subject: str, frame: bytes) -> None:
        try:
            await connection.client.publish(subject, frame)
        except errors.Error as error:
            self._troubles.note("a sign of life could not be sent", error)


async def _pause(wake: asyncio.Event, until: float) -> None:
    try:
        async with asyncio.timeout_at(until):
            await wake.wait()
    except TimeoutError:
        return
    wake.clear()
