"""A worker thread that does calls from an event loop in batches.

While the thread works, new calls wait in a queue; when it is done, all of them go to it as one batch. The
more load there is, the less each call costs, because a batch needs one round trip between loop and thread.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from threading import Event
from typing import Any, Final, NamedTuple, Protocol

from cosmo_core.errors import EngramError

MAX_BATCH: Final = 64
"""Most calls in one batch."""

MAX_WAITING: Final = 2_048
"""Most calls in the queue; further calls are refused."""

LOOP_WAIT_S: Final = 0.005
"""Longest time in seconds that the event loop blocks, so that a short batch can end at once.

A thread that makes many short SQLite calls releases the GIL for each of them. While the event loop is busy
with other work, the thread gets the GIL back only after 5 ms (`sys.getswitchinterval`), each time. Without
this wait, a batch of 1 ms was measured to take a second. A longer batch goes on without blocking the loop.
"""


class Call(NamedTuple):
    """A queued call of ``work(session, argument)``, and the future for its result."""

    future: asyncio.Future[Any]
    work: Callable[[Any, Any], Any]
    argument: Any


class Session(Protocol):
    """The object that does the calls. It is created, used and closed in the worker thread."""

    def run(self, calls: Sequence[Call], release_loop: Callable[[], None]) -> Sequence[object]:
        """Do a batch of calls; return for each its result, or the error to raise at its caller.

        Args:
            calls: The calls.
            release_loop: Ends the wait of the event loop. To be called before waiting for the disk.
        """
        ...

    def interrupt(self, call: Call) -> None:
        """End a call whose caller was cancelled. In contrast to the other methods, any thread may call it."""
        ...

    def close(self) -> None:
        """Release every resource. No method is called afterwards."""
        ...


class _Batch:
    """Calls that the worker thread is doing."""

    __slots__ = ("calls", "loop_released", "outcomes")

    def __init__(self, calls: list[Call]) -> None:
        self.calls = calls
        self.outcomes: Sequence[object] | None = None
        # Set when the event loop no longer gains from waiting.
        self.loop_released = Event()


class WorkerThread:
    """A thread, its session, and the queue of calls for it. `open` makes one.

    Args:
        name: The name of the Engram in error messages.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._loop = asyncio.get_running_loop()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="cosmo-sqlite")
        self._session: Session | None = None
        self._waiting: deque[Call] = deque()
        self._busy = False
        self._idle = asyncio.Event()
        self._ending: Future[None] | None = None

    @classmethod
    async def open(cls, name: str, make_session: Callable[[], Session]) -> WorkerThread:
        """Start a thread, and make its session with ``make_session`` there.

        If that fails, or is cancelled, the thread ends.
        """
        worker = cls(name)
        try:
            await worker._loop.run_in_executor(worker._executor, worker._start, make_session)
        except asyncio.CancelledError:
            # The session may take a while to open. The thread ends by itself afterwards.
            worker._submit_end()
            raise
        except BaseException:
            await worker.close()
            raise
        return worker

    async def close(self) -> None:
        """Do the queued calls, close the session and end the thread. No call is possible afterwards."""
        while self._busy:
            self._idle.clear()
            await self._idle.wait()
        # Shielded, so that after a cancelled `close` a second one can complete it.
        await asyncio.shield(asyncio.wrap_future(self._submit_end()))
        self._executor.shutdown()

    async def call(self, work: Callable[[Any, Any], Any], argument: object) -> Any:
        """Return the result of ``work(session, argument)``, which runs in the thread.

        A call that is cancelled while it is queued is not done. A search that has begun is interrupted.

        Raises:
            EngramError: ``ENGRAM_OVERLOADED``: the queue is full; or an error that the session returned.
        """
        if len(self._waiting) >= MAX_WAITING:
            self._drop_cancelled()
        future = self._loop.create_future()
        call = Call(future, work, argument)
        self._waiting.append(call)
        if not self._busy:
            # Deferred, so that other calls of the same loop iteration join the batch.
            self._busy = True
            self._loop.call_soon(self._submit_batch)
        try:
            return await future
        except asyncio.CancelledError:
            if self._session is not None:
                self._session.interrupt(call)
            raise

    # --- in the event loop --------------------------------------------------------------------------

    def _submit_end(self) -> Future[None]:
        if self._ending is None:
            self._ending = self._executor.submit(self._end)
            self._executor.shutdown(wait=False)
        return self._ending

    def _drop_cancelled(self) -> None:
        self._waiting = deque(call for call in self._waiting if not call.future.done())
        if len(self._waiting) >= MAX_WAITING:
            raise EngramError(
                f"{self._name} has {MAX_WAITING} calls waiting: try again later",
                code="ENGRAM_OVERLOADED",
                recoverable=True,
            )

    def _submit_batch(self) -> None:
        calls: list[Call] = []
        while self._waiting and len(calls) < MAX_BATCH:
            call = self._waiting.popleft()
            if not call.future.done():
                calls.append(call)
        if not calls:
            self._busy = False
            self._idle.set()
            return
        batch = _Batch(calls)
        done = self._executor.submit(self._run, batch)
        batch.loop_released.wait(LOOP_WAIT_S)
        if batch.outcomes is not None:
            self._resolve(calls, batch.outcomes)
        else:
            done.add_done_callback(partial(self._resolve_from_thread, batch))

    def _resolve(self, calls: list[Call], outcomes: Sequence[object]) -> None:
        for (future, _, _), outcome in zip(calls, outcomes, strict=True):
            if future.done():
                continue
            if isinstance(outcome, BaseException):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)
        # Deferred, so that the next calls of these callers join the next batch.
        self._loop.call_soon(self._submit_batch)

    # --- in the thread ------------------------------------------------------------------------------

    def _start(self, make_session: Callable[[], Session]) -> None:
        self._session = make_session()

    def _run(self, batch: _Batch) -> None:
        try:
            if self._session is None:
                raise RuntimeError("this worker thread has ended")
            batch.outcomes = self._session.run(batch.calls, batch.loop_released.set)
        finally:
            batch.loop_released.set()

    def _end(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None

    def _resolve_from_thread(self, batch: _Batch, done: Future[None]) -> None:
        outcomes = batch.outcomes or [done.exception()] * len(batch.calls)
        try:
            self._loop.call_soon_threadsafe(self._resolve, batch.calls, outcomes)
        except RuntimeError:
            # The event loop is closed, so there is no caller left.
            return
