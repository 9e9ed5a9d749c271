"""The runner of one hosted Axon: its running and waiting TASKs, its limits and its refusals."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from itertools import chain
from operator import itemgetter
from time import monotonic
from typing import Any

from cosmo_core.contracts.axon import Axon, error_reply
from cosmo_core.contracts.boundary import must_pass
from cosmo_core.contracts.eager_tasks import EagerTasks, eager_tasks
from cosmo_core.contracts.neuron import NeuronFn
from cosmo_core.dendrite.hosting.reply_sender import ReplySender
from cosmo_core.dendrite.hosting.stopped_work import StoppedWork
from cosmo_core.dendrite.transport import task_log
from cosmo_core.errors import SynapseError
from cosmo_core.protocol.ids import SeenIds
from cosmo_core.protocol.signal import Signal
from cosmo_core.protocol.signal_type import SignalType

TaskFilter = Callable[[Signal], bool]
"""Tells whether a TASK is selected."""


class NeuronRunner:
    """Runs the TASKs of one Axon, within its limits, each once.

    Attributes:
        axon: The Axon that serves the TASKs; its Neuron may be wrapped.
        neuron: The Neuron without wrappers, which is closed in the end.
    """

    def __init__(
        self, axon: Axon, neuron: NeuronFn, replies: ReplySender, seen: SeenIds, stopped: StoppedWork
    ) -> None:
        self.axon = axon
        self.neuron = neuron
        self._replies = replies
        self._seen = seen
        self._stopped = stopped
        self._logs = task_log.is_enabled()
        self._max_running = axon.max_concurrency
        self._max_waiting = axon.max_backlog
        self._eager: EagerTasks | None = None
        self._running: dict[str, tuple[asyncio.Task[None], Signal]] = {}
        self._replying: set[str] = set()
        # By id, each waiting TASK with its deadline, in monotonic seconds.
        self._backlog: OrderedDict[str, tuple[Signal, float | None]] = OrderedDict()
        # By TASK. There may be several: a Synapse delivers a TASK again when a delivery takes too long.
        self._unacknowledged: dict[str, list[asyncio.Future[None]]] = {}

    @property
    def load(self) -> int:
        """The number of TASKs that run or wait."""
        return len(self._running) + len(self._backlog)

    def running(self, own: str | None = None) -> list[asyncio.Task[None]]:
        """Return the asyncio tasks that run TASKs, without that of the TASK ``own``."""
        return [work for id, (work, _) in self._running.items() if id != own]

    def runs_task(self, task_id: str) -> bool:
        """Tell whether a TASK runs."""
        return task_id in self._running

    @property
    def tasks(self) -> Iterator[Signal]:
        """The TASKs that run or wait now. Thread-safe."""
        # Copied in one step each: the event loop may change them at any time.
        running, waiting = list(self._running.values()), list(self._backlog.values())
        return chain(map(itemgetter(1), running), map(itemgetter(0), waiting))

    def _is_pending(self, task_id: str) -> bool:
        """Tell whether a TASK runs or waits."""
        return task_id in self._running or task_id in self._backlog

    def runs_in(self, work: asyncio.Task[Any]) -> bool:
        """Tell whether an asyncio task runs this Neuron. Thread-safe."""
        return any(work is each for each, _ in list(self._running.values()))

    # --- accepting and running ----------------------------------------------------------------------

    def accept(self, task: Signal) -> Awaitable[None] | None:
        """Run a TASK at once, or queue it. Refuse it if it is late, was stopped, or exceeds the limits.

        The returned awaitable sends the refusal. The Synapse awaits it, so its in-flight limit slows down a
        flood of TASKs.
        """
        if not self._seen.add(task.id):
            return None
        if self._stopped.any:
            if self._stopped.names(task):
                return None
            if self._stopped.covers(task):
                return self._replies.send(task, cancelled_error(task, self.axon))
        deadline: float | None = None
        left_ms = task.payload.get("deadline_ms")
        if left_ms is not None:
            if not left_ms:
                return self._replies.send(task, self._deadline_error(task))
            deadline = monotonic() + left_ms / 1000
        if len(self._running) < self._max_running:
            self._start(task, deadline)
            return None
        if len(self._backlog) < self._max_waiting:
            self._backlog[task.id] = (task, deadline)
            if self._logs:
                task_log.log_step("queued", task)
            return None
        return self._replies.send(task, self._overloaded_error(task))

    def accept_acknowledged(self, task: Signal) -> Awaitable[None] | None:
        """Accept a TASK as `accept` does; the awaitable completes once the TASK was answered (P-5.17).

        It is used on a Synapse that gives the TASKs of a lost worker to another one. A repeated delivery
        completes together with the first one while the TASK runs or waits; after the answer it completes
        once the answer was sent again (P-5.6).
        """
        # A future, not a coroutine: a Synapse would wrap a coroutine in an asyncio task, for every TASK.
        answered: asyncio.Future[None] = self._eager_tasks().loop.create_future()
        deliveries = self._unacknowledged.setdefault(task.id, [])
        deliveries.append(answered)
        repeated = self._seen.repeated
        refusal = self.accept(task)
        if answered.done() and answered.exception() is None:
            # It was answered in its first step.
            return None
        if refusal is not None or not (answered.done() or self._is_pending(task.id)):
            self._unacknowledged.pop(task.id, None)
            return refusal if self._seen.repeated == repeated else self._replies.repeat(task.id)
        return answered

    def _eager_tasks(self) -> EagerTasks:
        # Cached: up to Python 3.11 every lookup of the running loop is a system call.
        self._eager = self._eager or eager_tasks()
        return self._eager

    def _acknowledge(self, task_id: str, answered: bool, error: BaseException | None) -> None:
        """Acknowledge a TASK that was answered; leave any other to the Synapse, which delivers it again."""
        for delivery in self._unacknowledged.pop(task_id, ()):
            if delivery.done():
                continue
            if answered:
                delivery.set_result(None)
            else:
                unanswered = SynapseError(f"TASK {task_id} ended without an answer")
                delivery.set_exception(unanswered if error is None else error)

    def _start(self, task: Signal, deadline: float | None) -> None:
        eager = self._eager or self._eager_tasks()
        work = eager.start(self._run(task, deadline, eager), self.axon.neuron_id)
        if not work.done():
            self._running[task.id] = (work, task)

    async def _run(self, task: Signal, deadline: float | None, eager: EagerTasks) -> None:
        # During its first step, which may be eager, `_start` has not registered it yet.
        work: Any = eager.current_task()
        self._running[task.id] = (work, task)
        ending: BaseException | None = None
        answered, unsent = False, None
        began = task_log.log_step("started", task) if self._logs else None
        try:
            try:
                answer = await self.axon.answer(task, self._replies, deadline)
            except asyncio.CancelledError:
                # The cancellation ends here: the TASK is answered with ERROR.
                answer = cancelled_error(task, self.axon)
            except BaseException as error:  # noqa: BLE001 - raised below
                if must_pass(error):
                    # SystemExit or KeyboardInterrupt: it ends the process, once the TASK is answered.
                    ending = error
                answer = task.reply(SignalType.ERROR, self._replies.error_payload(error, task))
            if self._logs:
                task_log.log_step("finished", task, answer, began)
            sending = self._replies.begin_send(task, answer)
            if sending is not None:
                self._replying.add(task.id)
                await sending
            answered = True
        except SynapseError as failure:
            # It is logged already, and the answer is sent again when the TASK is delivered again.
            unsent = failure
        finally:
            if ending is not None:
                # In the event loop itself, which raises it; an asyncio task would log it as well.
                eager.loop.call_soon(_raise, ending)
            self._replying.discard(task.id)
            del self._running[task.id]
            if self._unacknowledged:
                self._acknowledge(task.id, answered, unsent)
            if self._backlog:
                self._start_next()

    def _start_next(self) -> None:
        _, (task, deadline) = self._backlog.popitem(last=False)
        while deadline is not None and monotonic() >= deadline:
            self._reply_in_background(task, self._deadline_error(task))
            if not self._backlog:
                return
            _, (task, deadline) = self._backlog.popitem(last=False)
        self._start(task, deadline)

    def _reply_in_background(self, task: Signal, answer: Signal) -> asyncio.Task[None]:
        """Answer a TASK from the backlog in the background."""
        sending = self._replies.spawn(self._replies.send(task, answer))

        def acknowledge(sending: asyncio.Task[None]) -> None:
            error = None if sending.cancelled() else sending.exception()
            self._acknowledge(task.id, not sending.cancelled() and error is None, error)

        sending.add_done_callback(acknowledge)
        return sending

    # --- stopping -----------------------------------------------------------------------------------

    def refuse_all(self) -> None:
        """Refuse every further TASK, also one that is in a middleware now."""
        self._max_running = self._max_waiting = 0

    def stop(self, selects: TaskFilter, *, cancel_replies: bool = False) -> list[asyncio.Task[None]]:
        """Cancel the selected TASKs that run, and answer those that wait; return what is still ending.

        A reply that is being sent is finished, unless ``cancel_replies``.
        """
        selected = [task.id for task in self.tasks if selects(task)]
        ending = (self.stop_task(task_id, cancel_replies=cancel_replies) for task_id in selected)
        return [work for work in ending if work is not None]

    def stop_task(self, task_id: str, *, cancel_replies: bool = False) -> asyncio.Task[None] | None:
        """Stop one TASK as `stop` does; return what is still ending, or None if it neither runs nor waits."""
        if (running := self._running.get(task_id)) is not None:
            work = running[0]
            # Later: an asyncio task that is cancelled before its first step never runs its clean-up.
            work.get_loop().call_soon(self._cancel, work, task_id, cancel_replies)
            return work
        if (waiting := self._backlog.pop(task_id, None)) is not None:
            # In the background: a Synapse that awaited these replies would delay the next STOP.
            return self._reply_in_background(waiting[0], cancelled_error(waiting[0], self.axon))
        return None

    def _cancel(self, work: asyncio.Task[None], task_id: str, cancel_replies: bool) -> None:
        if cancel_replies or task_id not in self._replying:
            work.cancel()

    # --- refusals -----------------------------------------------------------------------------------

    def _overloaded_error(self, task: Signal) -> Signal:
        axon = self.axon
        if not self._max_running:
            return shutting_down_error(task, axon.neuron_id)
        message = (
            f"Neuron {axon.neuron_id!r} is full: {axon.max_concurrency} TASKs run, {axon.max_backlog} wait;"
            " try again later, add hosts, or raise max_concurrency or max_backlog"
        )
        return error_reply(task, "OVERLOADED", message, recoverable=True)

    def _deadline_error(self, task: Signal) -> Signal:
        message = f"the deadline passed before Neuron {self.axon.neuron_id!r} could start; allow more time"
        return error_reply(task, "DEADLINE", message, recoverable=True)


def _raise(error: BaseException) -> None:
    raise error


def shutting_down_error(task: Signal, neuron_id: str) -> Signal:
    """Make the ERROR for a TASK that reached a Neuron which is shutting down."""
    message = f"Neuron {neuron_id!r} is shutting down and accepts no new TASKs"
    return error_reply(task, "OVERLOADED", message, recoverable=True)


def cancelled_error(task: Signal, axon: Axon) -> Signal:
    """Make the ERROR for a TASK that was stopped."""
    message = f"Neuron {axon.neuron_id!r} was stopped before it answered"
    return error_reply(task, "CANCELLED", message, recoverable=True)
