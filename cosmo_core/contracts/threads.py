"""Threads for the calls of plain functions, and the calls that these make into the event loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import queue
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextvars import ContextVar, copy_context
from typing import Any, Final, TypeVar

from cosmo_core.contracts.boundary import as_exception
from cosmo_core.errors import LifecycleError

MAX_THREADS: Final = 256
"""The default for the number of threads."""

IDLE_S: Final = 10.0
"""Seconds after which a thread without a call ends."""

T = TypeVar("T")
RunInLoop = Callable[[Coroutine[Any, Any, T]], T]
"""Runs a coroutine in the event loop, and returns its result to the calling thread."""


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

        If the caller is cancelled, a call that has started runs to its end, but what it runs in the event
        loop is cancelled; one that waits does not start.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        context, works = copy_context(), Works()
        context.run(_works.set, works)

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
        try:
            return await future
        except asyncio.CancelledError:
            works.cancel()
            raise

    def _serve(self) -> None:
        while True:
            try:
                self._calls.get(timeout=IDLE_S)()
            except queue.Empty:
                with self._lock:
                    if self._calls.empty():
                        self._threads -= 1
                        return


# --- from a thread into the event loop --------------------------------------------------------------


class Works:
    """The coroutines that threads run in the event loop for one owner, so that they are cancelled with it."""

    def __init__(self) -> None:
        self._running: set[concurrent.futures.Future[Any]] = set()
        self._cancelled = False

    def add(self, work: concurrent.futures.Future[Any]) -> None:
        """Cancel ``work`` when the owner ends; at once if it has ended."""
        self._running.add(work)
        work.add_done_callback(self._running.discard)
        if self._cancelled:
            work.cancel()

    def cancel(self) -> None:
        """Cancel all of them, and those that are added from now on."""
        self._cancelled = True
        for work in list(self._running):
            work.cancel()


_works: Final[ContextVar[Works | None]] = ContextVar("cosmo_core_works", default=None)


def run_in_loop(
    work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop | None, works: Works | None = None
) -> T:
    """Run ``work`` in ``loop``, in the context of the calling thread, and return its result to it.

    Args:
        work: The coroutine.
        loop: The event loop.
        works: Cancels ``work``, as the end of the Neuron that the caller runs for does.

    Raises:
        RuntimeError: The caller is in the event loop, and would wait for itself; or the loop is closed.
        concurrent.futures.CancelledError: ``work`` was cancelled.
    """
    if loop is None or loop is _running_loop():
        work.close()
        raise RuntimeError(
            "a Neuron that is a plain function calls what it gets, such as recall or ask, from a thread only;"
            " make it `async def`, and await them"
        )
    try:
        future = asyncio.run_coroutine_threadsafe(work, loop)
    except RuntimeError:
        # The event loop is closed.
        work.close()
        raise
    for owner in (works, _works.get()):
        if owner is not None:
            owner.add(future)
    try:
        return future.result()
    finally:
        # It is done, unless the thread was interrupted.
        future.cancel()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class BlockingStream:
    """A `Stream` for a thread: an iterator of texts, which then has ``output``."""

    def __init__(self, stream: Any, run: RunInLoop[Any]) -> None:
        self._stream = stream
        self._run = run

    def __iter__(self) -> Iterator[str]:
        texts = aiter(self._stream)
        try:
            while (text := self._run(_next(texts))) is not None:
                yield text
            # It was closed by another thread if it has no output.
            _ = self.output
        finally:
            # If the event loop has ended, so has the TASK.
            with contextlib.suppress(LifecycleError, RuntimeError):
                self._run(self._stream.aclose())

    @property
    def output(self) -> Any:
        """The output; raises as `Stream.output` does."""
        return self._stream.output


async def _next(texts: AsyncIterator[str]) -> str | None:
    return await anext(texts, None)


def blocking(call: Callable[..., Any], run: RunInLoop[Any]) -> Callable[..., Any]:
    """Adapt a function that returns a coroutine or a `Stream` to a thread, which gets the result itself."""

    def call_and_wait(*args: Any, **options: Any) -> Any:
        result = call(*args, **options)
        return run(result) if asyncio.iscoroutine(result) else BlockingStream(result, run)

    return call_and_wait
