"""Running frame handlers: how every Synapse calls a subscription's handler and waits for it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from cosmo_core.contracts.delivery import DONE, FrameHandler, failed

OnDone = Callable[[int, BaseException | None], None]
"""Called when a handler has finished with a frame: with the frame's number, and with what the handler raised
or None."""

logger = logging.getLogger("cosmo_core.routing")


class HandlerRunner:
    """Calls one handler, and owns the tasks that it starts.

    Exceptions of the handler are logged, and never raised.

    Args:
        name: The subscription's pattern, for the log.
        handler: The handler.
        on_done: Called for each frame that the handler did not finish at once, when it has finished.
    """

    __slots__ = ("_handler", "_loop", "_name", "_on_done", "_tasks")

    def __init__(self, name: str, handler: FrameHandler, on_done: OnDone) -> None:
        self._name = name
        self._handler = handler
        self._on_done = on_done
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Future[None]] = set()

    @property
    def in_flight(self) -> int:
        """How many frames the handler is working on."""
        return len(self._tasks)

    def run(self, frame: bytes, number: int = 0, published_at: float = 0.0) -> bool:
        """Call the handler; return True if it has finished with the frame. This is a `Send` for a `Consumer`.

        If it has not finished, ``on_done`` is called later from the event loop, once, with ``number``.
        """
        try:
            result = self._handler(frame)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001 - logged in `_finished`
            # Also a CancelledError: one from the handler's own calls must not cancel the publisher.
            result = failed(error)
        if result is None or result is DONE:
            return True
        task = result if isinstance(result, asyncio.Future) else self._start(result)
        self._tasks.add(task)
        task.add_done_callback(lambda task: self._finished(task, number))
        return False

    def _start(self, result: Awaitable[None]) -> asyncio.Future[None]:
        loop = self._loop
        if loop is None:
            # Cached: up to Python 3.11, get_running_loop() makes a system call each time.
            loop = self._loop = asyncio.get_running_loop()
        return loop.create_task(_await(result))

    def _finished(self, task: asyncio.Future[None], number: int) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            self._on_done(number, asyncio.CancelledError("the handler was cancelled"))
            return
        error = task.exception()
        if error is not None:
            logger.error("the handler of %s failed", self._name, exc_info=error)
        self._on_done(number, error)

    async def drain(self) -> None:
        """Wait until the handler has finished with all frames in flight."""
        while tasks := self._other_tasks():
            await asyncio.wait(tasks)

    async def close(self) -> None:
        """Cancel the handler's tasks, and wait until they have ended."""
        # Tasks that were created just now start first: a task that never started cannot clean up.
        await asyncio.sleep(0)
        tasks = self._other_tasks()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _other_tasks(self) -> set[asyncio.Future[None]]:
        # A handler may close its own Synapse: it must not wait for itself.
        return self._tasks - {asyncio.current_task()}


async def _await(result: Awaitable[None]) -> None:
    await result
