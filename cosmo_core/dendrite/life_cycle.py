"""The life cycle of a Dendrite, its clock, and the time that stopping may take."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from threading import get_ident
from typing import Any, Final, Protocol

import msgspec

from cosmo_core.contracts.boundary import logger
from cosmo_core.contracts.threads import run_in_loop
from cosmo_core.errors import LifecycleError

STOP_MARGIN_S: Final = 0.8
"""Seconds after the grace period in which a stop ends, whatever the bus, an extension or a hook does."""

STEP_SHARE: Final = 0.25
"""The share of the rest of the margin that one step of a stop may take; the others are for the next steps."""


class Clock(Protocol):
    """Monotonic time, and a way to wait for it to pass."""

    def now(self) -> float:
        """Return the time in seconds since an arbitrary start."""

    async def sleep(self, seconds: float) -> None:
        """Return after this many seconds."""


class SystemClock:
    """The system's monotonic time."""

    # The function itself: a method around it would double its cost, for every TASK.
    now = staticmethod(time.monotonic)

    async def sleep(self, seconds: float) -> None:
        """Return after this many seconds."""
        await asyncio.sleep(seconds)


class StopTime:
    """The time that a stop may take: the grace period, and `STOP_MARGIN_S`. It begins when this is made.

    Attributes:
        grace_s: The grace period, in seconds.
        grace_ends: The end of the grace period, in seconds of the event loop's clock.
    """

    def __init__(self, grace_s: float) -> None:
        self.grace_s = grace_s
        self._now = asyncio.get_running_loop().time
        self.grace_ends = self._now() + grace_s

    def left(self, share: float = STEP_SHARE) -> float:
        """Return the seconds for the next step: the rest of the grace period, or a share of the margin."""
        grace_s = self.grace_ends - self._now()
        return max(grace_s, (grace_s + STOP_MARGIN_S) * share)

    async def run(self, what: str, step: Callable[..., Coroutine[Any, Any, None]], *args: Any) -> None:
        """Run one step; when its time is over, cancel it, and abandon it if it does not end even then.

        Args:
            what: What the step ends, for the log.
            step: The step.
            *args: Its arguments.
        """
        work = asyncio.create_task(step(*args))
        # It may fail after it was abandoned.
        work.add_done_callback(lambda work: work.cancelled() or work.exception())
        try:
            await asyncio.wait([work], timeout=self.left())
        finally:
            if not work.done():
                logger.warning("stopping %s takes too long, and is abandoned", what)
                work.cancel()
                await asyncio.wait([work], timeout=self.left())
        if work.done() and not work.cancelled():
            work.result()


class LifeCycle(msgspec.Struct, eq=False):
    """The state of one Dendrite.

    Attributes:
        started: Whether `Dendrite.start` was called.
        running: Whether the start has completed, and the stop has not.
        stopping: Whether `Dendrite.stop` was called.
        stopper: The asyncio task that called it; nothing waits for that task.
        thread: The thread of the event loop that the Dendrite runs in.
        loop: The event loop.
    """

    started: bool = False
    running: bool = False
    stopping: bool = False
    stopper: asyncio.Task[Any] | None = None
    thread: int = 0
    loop: asyncio.AbstractEventLoop | None = None

    def run_from_thread(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run ``work`` in the event loop, and return its result to the calling thread, as of a Neuron."""
        return run_in_loop(work, self.loop)

    def check_running(self) -> None:
        """Refuse an action that needs a running Dendrite; one that is stopping still runs.

        Raises:
            LifecycleError: The Dendrite is not running.
        """
        if not self.running:
            raise not_running()
        self.check_thread()

    def check_thread(self) -> None:
        """Refuse a call from another thread, or after the event loop ended.

        Raises:
            LifecycleError: The thread is not that of the Dendrite's event loop, or the loop is closed.
        """
        if self.thread != get_ident() or (self.loop is not None and self.loop.is_closed()):
            raise foreign_loop()

    def check_stable(self) -> None:
        """Refuse an action that changes what a running Dendrite hosts.

        Raises:
            LifecycleError: The Dendrite is not running, or is stopping.
        """
        if self.stopping:
            raise not_running()
        self.check_running()


def foreign_loop() -> LifecycleError:
    """Make the error for using a Dendrite from another event loop."""
    return LifecycleError(
        "the Dendrite runs in another event loop than this call: use one `asyncio.run` for both, or"
        " asyncio.run_coroutine_threadsafe(…, loop) with the event loop that started it"
    )


def not_running() -> LifecycleError:
    """Make the error for using a Dendrite that is not running."""
    return LifecycleError("the Dendrite is not running: use it inside `async with`, or start it")
