"""Runs the TASKs of one hosted Axon: those that run, and those that wait."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

from cosmo_core.contracts.axon import Axon, error_reply
from cosmo_core.contracts.neuron import NeuronFn
from cosmo_core.dendrite.hosting.reply_sender import ReplySender
from cosmo_core.dendrite.hosting.stopped_traces import StoppedTraces
from cosmo_core.protocol.ids import SeenIds
from cosmo_core.protocol.signal import Signal

Concerns = Callable[[Signal], bool]


class NeuronRunner:
    """Runs the TASKs of one Axon, within its limits, each once.

    Attributes:
        axon: Serves the TASKs; its Neuron may be inside wrappers.
        neuron: The Neuron itself: the one to close.
    """

    __slots__ = (
        "_answering",
        "_backlog",
        "_loop",
        "_most_running",
        "_most_waiting",
        "_replies",
        "_running",
        "_seen",
        "_stopped",
        "_unanswered",
        "axon",
        "neuron",
    )

    def __init__(
        self, axon: Axon, neuron: NeuronFn, replies: ReplySender, seen: SeenIds, stopped: StoppedTraces
    ) -> None:
        self.axon = axon
        self.neuron = neuron
        self._replies = replies
        self._seen = seen
        self._stopped = stopped
        self._most_running = axon.max_concurrency
        self._most_waiting = axon.max_backlog
        self._loop: asyncio.AbstractEventLoop | None = None
        self._running: dict[str, tuple[asyncio.Task[None], Signal]] = {}
        self._answering: set[str] = set()
        # Each with its deadline, in monotonic seconds.
        self._backlog: deque[tuple[Signal, float | None]] = deque()
        # The unacknowledged deliveries by TASK: the Synapse may give up on one, and wait for another.
        self._unanswered: dict[str, list[asyncio.Future[None]]] = {}

    @property
    def load(self) -> int:
        """How many TASKs run or wait."""
        return len(self._running) + len(self._backlog)

    @property
    def works(self) -> list[asyncio.Task[None]]:
        """What runs."""
        return [work for work, _ in self._running.values()]

    @property
    def tasks(self) -> list[Signal]:
        """The TASKs that run or wait. Any thread may ask."""
        # Copied in one step each: the event loop may go on meanwhile.
        running, waiting = list(self._running.values()), list(self._backlog)
        return [task for _, task in running] + [task for task, _ in waiting]

    def _holds(self, task_id: str) -> bool:
        """Tell whether a TASK runs or waits."""
        return task_id in self._running or any(task.id == task_id for task, _ in reversed(self._backlog))

    def runs_as(self, work: asyncio.Task[Any]) -> bool:
        """Tell whether an asyncio task runs the Neuron. Any thread may ask."""
        return any(work is each for each, _ in list(self._running.values()))

    # --- a TASK arrives -----------------------------------------------------------------------------

    def accept(self, task: Signal) -> Awaitable[None] | None:
        """Run a TASK now or when there is room; refuse one that is late, stopped or one too many.

        What a TASK is refused with is awaited by the Synapse, so that a flood is held back by its in-flight
        limit.
        """
        if not self._seen.add(task.id):
            return None
        if self._stopped and self._stopped.covers(task):
            return self._replies.send(task, cancelled(task, self.axon))
        deadline: float | None = None
        left_ms = task.payload.get("deadline_ms")
        if left_ms is not None:
            if not left_ms:
                return self._replies.send(task, self._late(task))
            deadline = monotonic() + left_ms / 1000
        if len(self._running) < self._most_running:
            self._begin(task, deadline)
            return None
        if len(self._backlog) < self._most_waiting:
            self._backlog.append((task, deadline))
            return None
        return self._replies.send(task, self._overloaded(task))

    def accept_acknowledged(self, task: Signal) -> Awaitable[None] | None:
        """Take a TASK as `accept` does; the awaitable completes once the TASK was answered (P-5.17).

        It is for a Synapse that gives the TASKs of a lost worker to another one. A delivery that is repeated
        while the TASK runs or waits completes with the first; one that is repeated after the answer completes
        once the answer was sent again (P-5.6).
        """
        refusal = self.accept(task)
        if refusal is not None:
            return refusal
        deliveries = self._unanswered.get(task.id)
        if deliveries is None:
            if not self._holds(task.id):
                return self._replies.repeat(task.id)
            deliveries = self._unanswered[task.id] = []
        # Not a coroutine: a Synapse would make an asyncio task of it, for every TASK.
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        deliveries.append(answered)
        return answered

    def _acknowledge(self, task_id: str) -> None:
        for answered in self._unanswered.pop(task_id, ()):
            if not answered.done():
                answered.set_result(None)

    def _begin(self, task: Signal, deadline: float | None) -> None:
        loop = self._loop
        if loop is None:
            # Asked for once: up to Python 3.11 every question is a system call.
            loop = self._loop = asyncio.get_running_loop()
        work = loop.create_task(self._run(task, deadline), name=self.axon.neuron_id)
        self._running[task.id] = (work, task)

    async def _run(self, task: Signal, deadline: float | None) -> None:
        try:
            try:
                answer = await self.axon.answer(task, self._replies, deadline)
            except asyncio.CancelledError:
                # The TASK ends here, and so does its cancellation: whoever watches is told.
                answer = cancelled(task, self.axon)
            self._answering.add(task.id)
            await self._replies.send(task, answer)
        finally:
            self._answering.discard(task.id)
            del self._running[task.id]
            if self._unanswered:
                self._acknowledge(task.id)
            if self._backlog:
                self._next()

    def _next(self) -> None:
        task, deadline = self._backlog.popleft()
        while deadline is not None and monotonic() >= deadline:
            self._dismiss(task, self._late(task))
            if not self._backlog:
                return
            task, deadline = self._backlog.popleft()
        self._begin(task, deadline)

    def _dismiss(self, task: Signal, answer: Signal) -> asyncio.Task[None]:
        """Answer a TASK that waited, in the background."""
        sending = self._replies.spawn(self._replies.send(task, answer))
        sending.add_done_callback(lambda _: self._acknowledge(task.id))
        return sending

    # --- it has to end ------------------------------------------------------------------------------

    def refuse_all(self) -> None:
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
        waiting = [entry for entry in self._backlog if concerns(entry[0])]
        for entry in waiting:
            self._backlog.remove(entry)
            # Not awaited by the Synapse: held back behind answers, the next STOP would come too late.
            ending.append(self._dismiss(entry[0], cancelled(entry[0], self.axon)))
        return ending

    def _cancel(self, work: asyncio.Task[None], task_id: str, answers_too: bool) -> None:
        if answers_too or task_id not in self._answering:
            work.cancel()

    # --- refusals -----------------------------------------------------------------------------------

    def _overloaded(self, task: Signal) -> Signal:
        axon = self.axon
        if not self._most_running:
            return shutting_down(task, axon.neuron_id)
        message = (
            f"Neuron {axon.neuron_id!r} runs {axon.max_concurrency} TASKs and has {axon.max_backlog} waiting;"
            " try again later, host it more often, or raise its limits"
        )
        return error_reply(task, "OVERLOADED", message, recoverable=True)

    def _late(self, task: Signal) -> Signal:
        message = f"the deadline passed before Neuron {self.axon.neuron_id!r} could begin; allow more time"
        return error_reply(task, "DEADLINE", message, recoverable=True)


def shutting_down(task: Signal, neuron_id: str) -> Signal:
    """Make the ERROR for a TASK that reached a Neuron which is shutting down."""
    message = f"Neuron {neuron_id!r} is shutting down and accepts no new TASKs"
    return error_reply(task, "OVERLOADED", message, recoverable=True)


def cancelled(task: Signal, axon: Axon) -> Signal:
    """Return the ERROR that says a TASK was stopped."""
    message = f"Neuron {axon.neuron_id!r} was stopped before it answered"
    return error_reply(task, "CANCELLED", message, recoverable=True)
