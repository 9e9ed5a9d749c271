"""The threads of one Neuron: made on first use, bounded, gone with their host."""

from __future__ import annotations

import asyncio
import contextvars
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")


class Threads:
    """Runs functions in threads of its own, so that nobody else's work waits for a slow view.

    Args:
        most: How many threads at most; what comes beyond waits for one.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._executor: ThreadPoolExecutor | None = None
        self._running: set[Future[Any]] = set()

    def run(self, function: Callable[[], T]) -> Awaitable[T]:
        """Run a function, in the caller's context. Cancelling it while it waits for a thread drops it."""
        if self._executor is None:
            self._executor = ThreadPoolExecutor(self._most, thread_name_prefix="cosmo-wsgi")
        future = self._executor.submit(contextvars.copy_context().run, function)
        self._running.add(future)
        future.add_done_callback(self._running.discard)
        return asyncio.wrap_future(future)

    def close(self) -> None:
        """Let the threads end, each after what it has to do; the next call makes new ones."""
        executor, self._executor = self._executor, None
        if executor is not None:
            # Idle threads end at once; nobody is kept waiting for a view.
            executor.shutdown(wait=not self._running)
