"""Calls from an event loop to a thread of its own, in batches.

While the thread is at work, calls wait; whatever waits when it is done goes to it as one batch. So the more
there is to do, the less each call costs: one way there and one way back for all of them.
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
"""How many calls go to the thread at once."""

MAX_WAITING: Final = 2_048
"""How many calls wait for the thread; another is refused."""

PATIENCE_S: Final = 0.005
"""For how many seconds the event loop stands still at most, for a batch that could be done at once.

A thread that does many small things with SQLite gives up the GIL for each of them. While the event loop is
busy with something else, it gets the GIL back only after 5 ms (`sys.getswitchinterval`), each time: without
this, a batch that takes 1 ms was measured to take a second. What takes longer goes on without the loop.
"""


class Call(NamedTuple):
    """A call that somebody waits for: ``work(session, argument)``."""

    future: asyncio.Future[Any]
    work: Callable[[Any, Any], Any]
    argument: Any


class Session(Protocol):
    """What lives in the thread."""

    def run(self, calls: Sequence[Call], let_go: Callable[[], None]) -> Sequence[object]:
        """Do these calls; return what comes of each: its result, or the error to raise at its caller.

        Args:
            calls: The calls.
            let_go: To be called before waiting for something else than the processor.
        """
        ...

    def close(self) -> None:
        """Let go of everything. Nothing is called after it."""
        ...


class _Batch:
    """Calls on their way through the thread."""

    __slots__ = ("calls", "outcomes", "passed")

    def __init__(self, calls: list[Call]) -> None:
        self.calls = calls
        self.outcomes: Sequence[object] | None = None
        # Set when the event loop has nothing to gain from waiting any longer.
        self.passed = Event()


class Lane:
    """A thread, its session, and the calls that wait for it; made with `open`.

    Args:
        name: What to call it in errors.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._loop = asyncio.get_running_loop()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="cosmo-sqlite")
        self._session: Session | None = None
        self._waiting: deque[Call] = deque()
        self._at_work = False
        self._idle = asyncio.Event()
        self._ending: Future[None] | None = None

    @classmethod
    async def open(cls, name: str, make: Callable[[], Session]) -> Lane:
        """Return a lane whose session ``make`` made in its thread.

        If that fails, or is cancelled, the thread ends.
        """
        lane = cls(name)
        try:
            await lane._loop.run_in_executor(lane._executor, lane._start, make)
        except asyncio.CancelledError:
            # What it waits for may take a while: the thread ends by itself then.
            lane._submit_end()
            raise
        except BaseException:
            await lane.close()
            raise
        return lane

    async def close(self) -> None:
        """Have what was called done, close the session and end the thread. Nothing can be called after it."""
        while self._at_work:
            self._idle.clear()
            await self._idle.wait()
        # Shielded: whoever is cancelled here can close again.
        await asyncio.shield(asyncio.wrap_future(self._submit_end()))
        self._executor.shutdown()

    async def call(self, work: Callable[[Any, Any], Any], argument: object) -> Any:
        """Return what ``work(session, argument)`` returns in the thread. Who is cancelled first, is skipped.

        Raises:
            EngramError: ``ENGRAM_OVERLOADED``: too many calls wait already; or what the session gave.
        """
        if len(self._waiting) >= MAX_WAITING:
            self._make_room()
        future = self._loop.create_future()
        self._waiting.append(Call(future, work, argument))
        if not self._at_work:
            # Not at once: others may call before the event loop comes round.
            self._at_work = True
            self._loop.call_soon(self._hand_over)
        return await future

    # --- in the event loop --------------------------------------------------------------------------

    def _submit_end(self) -> Future[None]:
        if self._ending is None:
            self._ending = self._executor.submit(self._end)
            self._executor.shutdown(wait=False)
        return self._ending

    def _make_room(self) -> None:
        self._waiting = deque(call for call in self._waiting if not call.future.done())
        if len(self._waiting) >= MAX_WAITING:
            raise EngramError(
                f"{self._name} has {MAX_WAITING} calls waiting: try again when it has done some",
                code="ENGRAM_OVERLOADED",
                recoverable=True,
            )

    def _hand_over(self) -> None:
        calls: list[Call] = []
        while self._waiting and len(calls) < MAX_BATCH:
            call = self._waiting.popleft()
            if not call.future.done():
                calls.append(call)
        if not calls:
            self._at_work = False
            self._idle.set()
            return
        batch = _Batch(calls)
        ran = self._executor.submit(self._run, batch)
        batch.passed.wait(PATIENCE_S)
        if batch.outcomes is not None:
            self._settle(calls, batch.outcomes)
        else:
            ran.add_done_callback(partial(self._come_back, batch))

    def _settle(self, calls: list[Call], outcomes: Sequence[object]) -> None:
        for (future, _, _), outcome in zip(calls, outcomes, strict=True):
            if future.done():
                continue
            if isinstance(outcome, BaseException):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)
        # After those who were just answered: what they ask next goes along.
        self._loop.call_soon(self._hand_over)

    # --- in the thread ------------------------------------------------------------------------------

    def _start(self, make: Callable[[], Session]) -> None:
        self._session = make()

    def _run(self, batch: _Batch) -> None:
        try:
            if self._session is None:
                raise RuntimeError("this lane has ended")
            batch.outcomes = self._session.run(batch.calls, batch.passed.set)
        finally:
            batch.passed.set()

    def _end(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None

    def _come_back(self, batch: _Batch, ran: Future[None]) -> None:
        outcomes = batch.outcomes or [ran.exception()] * len(batch.calls)
        try:
            self._loop.call_soon_threadsafe(self._settle, batch.calls, outcomes)
        except RuntimeError:
            # The event loop was closed, and with it went whoever waited.
            return
