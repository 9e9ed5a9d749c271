"""Threads for the calls of plain functions, so that they block neither the event loop nor each other."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from contextvars import copy_context
from typing import Any, Final

from cosmo_core.contracts.boundary import as_exception

MAX_THREADS: Final = 256
"""The default for the number of threads."""

IDLE_S: Final = 10.0
"""Seconds after which a thread without a call ends."""


class Threads:
    """Runs calls in threads of its own, started on demand. The end of the process does not wait for them.

    Args:
        limit: The number of threads; further calls wait.
    """

    def __init__(self, limit: int = MAX_THREADS) -> None:
        self._limit = limit
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        # The calls that run or wait.
        self._unfinished = 0

    async def run(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call ``function`` in a thread, in the caller's context, and return its result.

        If the caller is cancelled, a call that has started runs to its end; one that waits does not start.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        context = copy_context()

        def call() -> None:
            settle, result = future.set_result, None
            try:
                if not future.cancelled():
                    result = context.run(function, *args)
            except (SystemExit, KeyboardInterrupt) as error:
                settle, result = future.set_exception, error
            except BaseException as error:  # noqa: BLE001 - raised to the caller
                settle, result = future.set_exception, as_exception(error)
            with self._lock:
                # Before the caller continues: its next call must not start another thread.
                self._unfinished -= 1
            # The event loop may have been closed meanwhile.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(lambda: future.done() or settle(result))

        with self._lock:
            if self._threads <= self._unfinished and self._threads < self._limit:
                threading.Thread(target=self._serve, name="cosmo-neuron", daemon=True).start()
                self._threads += 1
            self._calls.put(call)
            self._unfinished += 1
        return await future

    def _serve(self) -> None:
        while True:
            try:
                self._calls.get(timeout=IDLE_S)()
            except queue.Empty:
                with self._lock:
                    if self._calls.empty():
                        self._threads -= 1
                        return
