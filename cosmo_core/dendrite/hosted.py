"""One Axon in its host: the TASKs that run on it, and those that wait."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from cosmo_core.axon import Axon, error_reply
from cosmo_core.signal import Signal

if TYPE_CHECKING:
    from cosmo_core.dendrite.answers import Answers
    from cosmo_core.dendrite.recent import RecentIds
    from cosmo_core.dendrite.stopped import StoppedTraces
    from cosmo_core.neuron import NeuronFn

Concerns = Callable[[Signal], bool]


class Hosted:
    """Runs the TASKs of one Axon, within its limits, each once.

    Attributes:
        axon: Serves the TASKs; its Neuron may be inside of wrappers.
        neuron: The Neuron itself: the one to close.
    """

    __slots__ = (
        "_answering",
        "_answers",
        "_backlog",
        "_loop",
        "_most_running",
        "_most_waiting",
        "_recent",
        "_running",
        "_stopped",
        "axon",
        "neuron",
    )

    def __init__(
        self, axon: Axon, neuron: NeuronFn, answers: Answers, recent: RecentIds, stopped: StoppedTraces
    ) -> None:
        self.axon = axon
        self.neuron = neuron
        self._answers = answers
        self._recent = recent
        self._stopped = stopped
        self._most_running = axon.max_concurrency
        self._most_waiting = axon.max_backlog
        self._loop: asyncio.AbstractEventLoop | None = None
        self._running: dict[str, tuple[asyncio.Task[None], Signal]] = {}
        self._answering: set[str] = set()
        self._backlog: deque[Signal] = deque()

    @property
    def load(self) -> int:
        """How many TASKs run or wait."""
        return len(self._running) + len(self._backlog)

    @property
    def works(self) -> list[asyncio.Task[None]]:
        """What runs."""
        return [work for work, _ in self._running.values()]

    # --- a TASK arrives -----------------------------------------------------------------------------

    def accept(self, task: Signal) -> Awaitable[None] | None:
        """Run a TASK now or when there is room; refuse one that is late, stopped or one too many.

        What a TASK is refused with is awaited by the Synapse, so that a flood is held back by its in-flight
        limit.
        """
        if not self._recent.add(task.id):
            return None
        if self._stopped and self._stopped.covers(task):
            return self._answers.send(task, cancelled(task, self.axon))
        deadline = task.payload.get("deadline")
        if deadline is not None and time.time() * 1000 > deadline:
            return self._answers.send(task, self._late(task))
        if len(self._running) < self._most_running:
            self._begin(task)
            return None
        if len(self._backlog) < self._most_waiting:
            self._backlog.append(task)
            return None
        return self._answers.send(task, self._overloaded(task))

    def _begin(self, task: Signal) -> None:
        loop = self._loop
        if loop is None:
            # Asked for once: up to Python 3.11 every question is a system call.
            loop = self._loop = asyncio.get_running_loop()
        work = loop.create_task(self._run(task), name=self.axon.neuron_id)
        self._running[task.id] = (work, task)

    async def _run(self, task: Signal) -> None:
        try:
            try:
                answer = await self.axon.answer(task, self._answers)
            except asyncio.CancelledError:
                # The TASK ends here, and so does its cancellation: whoever watches is told.
                answer = cancelled(task, self.axon)
            self._answering.add(task.id)
            await self._answers.send(task, answer)
        finally:
            self._answering.discard(task.id)
            del self._running[task.id]
            if self._backlog:
                self._next()

    def _next(self) -> None:
        task = self._backlog.popleft()
        while _is_late(task):
            self._answers.keep(self._answers.send(task, self._late(task)))
            if not self._backlog:
                return
            task = self._backlog.popleft()
        self._begin(task)

    # --- it has to end ------------------------------------------------------------------------------

    def leave(self) -> None:
        """Refuse every further TASK: one may still be on its way through a middleware."""
        self._most_running = self._most_waiting = 0

    def stop(self, concerns: Concerns, *, answers_too: bool = False) -> list[asyncio.Task[None]]:
        """Cancel the TASKs that are concerned, and answer those that wait; return what is still ending.

        An answer that is being sent goes out, so that the TASK has one, unless ``answers_too``.
        """
        ending = []
        for work, task in self._running.values():
            if concerns(task):
                ending.append(work)
                # Not at once: work that is cancelled before its first step never runs, not even to clean up.
                work.get_loop().call_soon(self._cancel, work, task.id, answers_too)
        waiting = [task for task in self._backlog if concerns(task)]
        for task in waiting:
            self._backlog.remove(task)
            # Not awaited by the Synapse: held back behind answers, the next STOP would come too late.
            ending.append(self._answers.keep(self._answers.send(task, cancelled(task, self.axon))))
        return ending

    def _cancel(self, work: asyncio.Task[None], task_id: str, answers_too: bool) -> None:
        if answers_too or task_id not in self._answering:
            work.cancel()

    # --- refusals -----------------------------------------------------------------------------------

    def _overloaded(self, task: Signal) -> Signal:
        axon = self.axon
        if not self._most_running:
            return leaving(task, axon.neuron_id)
        message = (
            f"Neuron {axon.neuron_id!r} runs {axon.max_concurrency} TASKs and has {axon.max_backlog} waiting;"
            " try again later, host it more often, or raise its limits"
        )
        return error_reply(task, "OVERLOADED", message, recoverable=True)

    def _late(self, task: Signal) -> Signal:
        message = f"the deadline passed before Neuron {self.axon.neuron_id!r} could begin; allow more time"
        return error_reply(task, "DEADLINE", message, recoverable=True)


def leaving(task: Signal, neuron_id: str) -> Signal:
    """Return the ERROR that says a Neuron takes no more work."""
    message = f"Neuron {neuron_id!r} takes no more work: it leaves"
    return error_reply(task, "OVERLOADED", message, recoverable=True)


def cancelled(task: Signal, axon: Axon) -> Signal:
    """Return the ERROR that says a TASK was stopped."""
    message = f"Neuron {axon.neuron_id!r} was stopped before it answered"
    return error_reply(task, "CANCELLED", message, recoverable=True)


def _is_late(task: Signal) -> bool:
    deadline = task.payload.get("deadline")
    return deadline is not None and time.time() * 1000 > deadline
