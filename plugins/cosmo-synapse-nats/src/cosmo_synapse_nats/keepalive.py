"""A thread with its own connection, which publishes and renews leases while the event loop is blocked."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from nats import errors

from cosmo_core.errors import SynapseError
from cosmo_synapse_nats.connection import CLOSE_S, Connection
from cosmo_synapse_nats.failures import ErrorLog
from cosmo_synapse_nats.options import Servers

MAX_WAITING: Final = 1000
"""Frames that may wait for the thread to send them. Beyond that the oldest is dropped."""

RETRY_S: Final = 0.5
"""Seconds until the thread tries again to reach a server."""

IN_PROGRESS: Final = b"+WPI"
"""JetStream's message that renews the acknowledgement deadline of a frame."""


class KeepaliveThread:
    """Publishes heartbeats and renews leases. The thread starts when there is something to send.

    Args:
        servers: The servers.
        renew_s: Seconds between two renewals.
    """

    def __init__(self, servers: Servers, renew_s: float) -> None:
        self._servers = servers
        self._renew_s = renew_s
        self._error_log = ErrorLog(str(servers))
        self._lock = threading.Lock()
        self._leases: set[str] = set()
        self._waiting: deque[tuple[str, bytes]] = deque(maxlen=MAX_WAITING)
        self._thread: threading.Thread | None = None
        self._wake: Callable[[], object] | None = None
        self._report_end: Callable[[], object] | None = None
        self._stopping = False

    # --- called from any thread ---------------------------------------------------------------------

    def publish(self, subject: str, frame: bytes) -> None:
        """Publish a frame from the thread, as soon as possible."""
        self._waiting.append((subject, frame))
        with self._lock:
            self._start()
            if self._wake is not None:
                self._wake()

    def add_lease(self, lease: str) -> None:
        """Renew a lease until `remove_lease`. A lease is a frame's acknowledgement subject."""
        with self._lock:
            self._leases.add(lease)
            self._start()

    def remove_lease(self, lease: str) -> None:
        """Stop renewing a lease."""
        with self._lock:
            self._leases.discard(lease)

    def _start(self) -> None:
        if self._thread is None and not self._stopping:
            self._thread = threading.Thread(target=self._run, name="cosmo-nats-keepalive", daemon=True)
            self._thread.start()

    async def close(self) -> None:
        """Stop the thread and close its connection. A thread that takes longer than `CLOSE_S` ends later."""
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        with self._lock:
            self._stopping = True
            if self._thread is None:
                return
            self._report_end = lambda: loop.call_soon_threadsafe(ended.set)
            if self._wake is not None:
                self._wake()
            alive = self._thread.is_alive()
        if alive:
            try:
                async with asyncio.timeout(CLOSE_S):
                    await ended.wait()
            except TimeoutError:
                with self._lock:
                    # The event loop may be closed by then.
                    self._report_end = _ignore
                self._error_log.record("the keepalive thread did not end in time", "it ends later")
                return
        self._thread.join()

    # --- called in the thread -----------------------------------------------------------------------

    def _run(self) -> None:
        try:
            asyncio.run(self._work())
        finally:
            with self._lock:
                if self._report_end is not None:
                    self._report_end()
                elif not self._stopping:
                    # The thread has failed: the next call starts another.
                    self._thread = None

    async def _work(self) -> None:
        loop, wake = asyncio.get_running_loop(), asyncio.Event()
        with self._lock:
            self._wake = lambda: loop.call_soon_threadsafe(wake.set)
        try:
            while not self._stopping:
                connection = Connection(self._servers, "cosmo keepalive")
                try:
                    await connection.open()
                    await self._serve(connection, wake)
                except SynapseError as error:
                    self._error_log.record("the keepalive thread cannot connect", error)
                    await _wait_until(wake, loop.time() + RETRY_S)
                finally:
                    await connection.close()
        finally:
            with self._lock:
                self._wake = None

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
                    await self._send(connection, lease, IN_PROGRESS)
            await _wait_until(wake, due)

    async def _send(self, connection: Connection, subject: str, frame: bytes) -> None:
        try:
            await connection.client.publish(subject, frame)
        except errors.Error as error:
            self._error_log.record("a heartbeat or a lease renewal could not be sent", error)


def _ignore() -> None:
    """Report nothing."""


async def _wait_until(wake: asyncio.Event, when: float) -> None:
    """Wait for ``wake``, at most until the loop time ``when``."""
    try:
        async with asyncio.timeout_at(when):
            await wake.wait()
    except TimeoutError:
        return
    wake.clear()
