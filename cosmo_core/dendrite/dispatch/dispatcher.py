"""The dispatcher: sends TASKs, opens the Pathways that follow them, and stops TASKs and traces."""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import Awaitable, Callable
from functools import partial
from threading import get_ident
from typing import TYPE_CHECKING, Any, Final

from cosmo_core.arguments import MAX_SECONDS, check_options, check_wait
from cosmo_core.contracts.boundary import logger
from cosmo_core.contracts.eager_tasks import EagerTasks, eager_tasks, one_turn
from cosmo_core.contracts.options import RetryStrategy, TaskOptions, check_work, work_payload
from cosmo_core.contracts.pathway import CANCELLED, BackpressuredPathway, Pathway, TerminalPathway
from cosmo_core.contracts.task_context import running_task, with_cause, within_task
from cosmo_core.dendrite.discovery.directory import Directory
from cosmo_core.dendrite.discovery.resolver import Resolver
from cosmo_core.dendrite.dispatch.deadlines import Deadline
from cosmo_core.dendrite.dispatch.pathway_registry import PathwayRegistry
from cosmo_core.dendrite.life_cycle import LifeCycle, StopTime, foreign_loop, not_running
from cosmo_core.dendrite.transport.link import Link, rejected
from cosmo_core.errors import AnswerTimeoutError, PathwayClosedError
from cosmo_core.protocol.ids import check_token, new_trace_id, new_ulid
from cosmo_core.protocol.payloads import without_none
from cosmo_core.protocol.signal import (
    Signal,
    address,
    check_signal,
    deadline_ms,
    decode,
    encode,
    new_unvalidated,
)
from cosmo_core.protocol.signal_type import TERMINAL_TYPES, SignalType

if TYPE_CHECKING:
    from cosmo_core.plugins import Dropped

# Named once: up to Python 3.11, looking up an enum's member costs as much as a call.
_TASK: Final = SignalType.TASK


class Dispatcher:
    """Sends the TASKs of one Dendrite and follows them.

    Args:
        link: The link to the Synapse.
        directory: The known Neurons.
        resolver: Resolves a Neuron that is not in the directory.
        pathways: The open Pathways.
        life_cycle: The state of the Dendrite.
        dendrites: Returns the ids of the Dendrites that host Neurons or Engrams.
        inbox: The inbox for answers.
        buffer: The number of Signals that a Pathway buffers.
        discovery_s: Seconds to wait for the acknowledgements of a STOP when no such Dendrite is known.
    """

    _eager: EagerTasks

    def __init__(
        self,
        link: Link,
        directory: Directory,
        resolver: Resolver,
        pathways: PathwayRegistry,
        life_cycle: LifeCycle,
        dendrites: Callable[[], set[str]],
        inbox: str,
        buffer: int,
        discovery_s: float,
    ) -> None:
        self._link = link
        self._directory = directory
        self._resolver = resolver
        self._pathways = pathways
        self._life_cycle = life_cycle
        self._dendrites = dendrites
        self._inbox = inbox
        self._buffer = buffer
        self._discovery_s = discovery_s
        # By the id of the STOP of a trace.
        self._collectors: dict[str, Callable[[Signal], None]] = {}
        self._running = False
        # The thread that may dispatch: that of the event loop. It is 0 where none may.
        self._thread = 0

    async def start(self) -> None:
        """Subscribe to the inbox for answers."""
        pathways = self._pathways
        await self._link.listen(
            self._link.subjects.inbox_pattern(self._inbox),
            pathways.receive,
            refuse=pathways.refuse,
            answers=True,
        )
        self._running = True
        self._eager = eager_tasks()
        if self._link.allows(_TASK):
            self._thread = self._life_cycle.thread

    async def close(self, time: StopTime) -> None:
        """Close every Pathway."""
        self._running, self._thread = False, 0
        await self._pathways.close(time)

    def check_running(self) -> None:
        """Refuse an action that needs a running Dendrite.

        Raises:
            LifecycleError: The Dendrite is not running, or runs in another event loop.
        """
        if not self._running:
            raise not_running()
        self._life_cycle.check_thread()

    # --- sending ------------------------------------------------------------------------------------

    async def emit(self, signal: Signal) -> None:
        """Send a Signal to its Neuron, or to all listeners. Raises as `Dendrite.emit` does."""
        check_signal("signal", signal)
        self.check_running()
        subjects, neuron = self._link.subjects, signal.directed.id if signal.directed is not None else None
        if neuron is not None and signal.type is _TASK:
            await self._publish_task(neuron, signal)
        elif neuron is not None and signal.type is SignalType.STOP:
            await self._link.send_or_raise(subjects.neuron(signal.type, neuron), signal)
        else:
            await self._link.send_or_raise(subjects.broadcast(signal.type), signal)
        if self._pathways.expects(signal):
            # It arrives in no inbox, so the Pathways of this Dendrite on its trace get it here, decoded.
            self._pathways.receive(decode(encode(signal)))

    async def send_task(self, options: TaskOptions) -> Signal:
        """Send a TASK and return it. Raises as `Dendrite.dispatch` does."""
        neuron = self._known_neuron(options) or await self._resolve(options)
        options, deadline_s = with_cause(options), within_task(options.get("deadline_s"))
        task = self._checked_task(neuron, options, deadline_s, self._inbox)
        await self._publish_task(neuron, task)
        return task

    async def dispatch(self, options: TaskOptions, deadline_s: float | None = None) -> Pathway:
        """Send a TASK and return the Pathway that follows it. Raises as `Dendrite.dispatch` does."""
        pathway, task = self._open_plain(options, deadline_s) or await self._open_checked(options, deadline_s)
        sending = self._begin_send(pathway, task)
        if sending is not None:
            await self._finish_send(pathway, task, sending)
        return pathway

    def _begin_send(self, pathway: Pathway, task: Signal) -> Awaitable[Dropped | None] | None:
        """Send the TASK of a Pathway; None if that is done, and otherwise what `_finish_send` awaits."""
        if not self._eager.loop.is_running():
            pathway.end()
            raise foreign_loop()
        try:
            return self._link.begin_send_shared(self._link.tasks + pathway.neuron, task)
        except BaseException:
            pathway.end()
            raise

    async def _finish_send(self, pathway: Pathway, task: Signal, sending: Awaitable[Dropped | None]) -> None:
        try:
            dropped = await sending
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError):
                # The TASK may have been published already.
                pathway.stop(CANCELLED)
            pathway.end()
            raise
        if dropped is not None:
            pathway.end()
            raise rejected(task, dropped)

    async def ask(self, options: TaskOptions, timeout_s: float | None) -> Signal:
        """Send a TASK and return its answer. Raises as `Dendrite.dispatch_and_wait` does."""
        if type(timeout_s) is not float or not timeout_s <= MAX_SECONDS:
            check_wait(timeout_s)
        if running_task() is not None:
            timeout_s = within_task(timeout_s)
        deadline: Deadline | None = None
        try:
            opened, sending = self._open_plain(options, timeout_s), None
            if opened is not None:
                sending = self._begin_send(*opened)
                if sending is None and (answer := opened[0].find(TERMINAL_TYPES)) is not None:
                    # A Neuron in this process that awaits nothing.
                    opened[0].end()
                    if self._eager.is_share_used:
                        await one_turn()
                    return answer
            deadline = Deadline(self._pathways.deadlines, timeout_s)
            with deadline:
                if opened is None:
                    pathway = await self.dispatch(options, timeout_s)
                else:
                    pathway = opened[0]
                    if sending is not None:
                        await self._finish_send(*opened, sending)
                try:
                    return await pathway.wait()
                finally:
                    pathway.end()
        except TypeError:
            # Its caller may also have meant an option of `dispatch_and_wait`.
            check_options("dispatch_and_wait", options, {*TaskOptions.__annotations__, "timeout_s", "retry"})
            raise
        except TimeoutError:
            if deadline is None or not deadline.expired:
                raise
            neuron, capabilities = options.get("neuron"), options.get("capabilities") or ()
            wanted = (
                f"Neuron {neuron!r}" if neuron else f"a Neuron with {' and '.join(map(repr, capabilities))}"
            )
            reason = f"no answer from {wanted} within {timeout_s:g} s; timeout_s sets another limit"
            raise AnswerTimeoutError(reason) from None

    async def ask_with_retries(self, options: TaskOptions, retry: RetryStrategy) -> Signal:
        """Return the first answer that the strategy accepts, or the outcome of the last attempt.

        Raises:
            TimeoutError: The last attempt exceeded its time limit.
            PathwayClosedError: The Pathway of the last attempt closed.
        """
        attempt = 1
        options = with_cause(options)
        if not retry.new_trace and options.get("trace_id") is None:
            options = {**options, "trace_id": new_trace_id()}
        while True:
            try:
                answer = await self.ask(options, retry.timeout_s)
            except (TimeoutError, PathwayClosedError) as error:
                if attempt >= retry.max_attempts or not retry.retry_on(error):
                    raise
            else:
                if attempt >= retry.max_attempts or not retry.retry_on(answer):
                    return answer
            await asyncio.sleep(retry.delay_s(attempt))
            attempt += 1
            logger.debug("attempt %d of a TASK for Neuron %r", attempt, options.get("neuron"))
            if retry.new_trace:
                options = {**options, "trace_id": new_trace_id()}

    def _known_neuron(self, options: TaskOptions) -> str | None:
        if self._thread != get_ident():
            self._link.check_role(_TASK)
            self.check_running()
        neuron = options.get("neuron")
        return neuron if self._directory.knows(neuron) and not options.get("capabilities") else None

    async def _resolve(self, options: TaskOptions) -> str:
        check_work("a TASK", options, TaskOptions)
        neuron, capabilities = options.get("neuron"), options.get("capabilities")
        if neuron is not None:
            check_token("neuron", neuron)
        elif not capabilities:
            raise TypeError("a TASK needs a neuron, or the capabilities to look for")
        found = await self._resolver.resolve(neuron, capabilities or ())
        self.check_running()
        return found

    def _open_plain(self, options: TaskOptions, deadline_s: float | None) -> tuple[Pathway, Signal] | None:
        """Make a TASK and open its Pathway, if no option needs a check and the directory knows the Neuron."""
        neuron, input = options.get("neuron"), options.get("input")
        plain = len(options) == 2 and isinstance(input, dict)
        if (
            not plain
            or neuron is None
            or self._thread != get_ident()
            or not self._directory.knows(neuron)
            or running_task() is not None
        ):
            return None
        payload: dict[str, Any] = {"input": input}
        if deadline_s is not None:
            payload["deadline_ms"] = deadline_ms(deadline_s)
        task = new_unvalidated(_TASK, payload, directed=address(neuron), meta={"reply_to": self._inbox})
        pathway = Pathway(self._pathways, task.trace_id, task.id, neuron, self._buffer)
        self._pathways.add(pathway)
        return pathway, task

    async def _open_checked(self, options: TaskOptions, deadline_s: float | None) -> tuple[Pathway, Signal]:
        """Make a TASK with any options and open its Pathway; resolve its Neuron, and check the options."""
        neuron = self._known_neuron(options) or await self._resolve(options)
        options, deadline_s = with_cause(options), within_task(options.get("deadline_s", deadline_s))
        if options.get("backpressure"):
            pathway, task = await self._open_backpressured(neuron, options, deadline_s)
        else:
            task = self._checked_task(neuron, options, deadline_s, self._inbox)
            kind = TerminalPathway if options.get("scope") == "terminal" else Pathway
            pathway = kind(self._pathways, task.trace_id, task.id, neuron, self._buffer)
        pathway.finalized = "finalize" in task.payload
        self._pathways.add(pathway)
        if "capabilities" in options:
            self._directory.count_dispatch(pathway)
        return pathway, task

    async def _open_backpressured(
        self, neuron: str, options: TaskOptions, deadline_s: float | None
    ) -> tuple[Pathway, Signal]:
        """Make a Pathway with an inbox of its own, so that its back-pressure slows down no other answers."""
        inbox = new_ulid()
        task = self._checked_task(neuron, options, deadline_s, inbox)
        ref: weakref.ref[BackpressuredPathway] | None = None

        def receive(signal: Signal) -> Awaitable[None] | None:
            receiver = None if ref is None else ref()
            return None if receiver is None else receiver.receive(signal)

        # A queue group of one member: a publisher waits while its member is at the in-flight limit.
        subscription = await self._link.listen(
            self._link.subjects.inbox_pattern(inbox),
            receive,
            queue_group=inbox,
            refuse=self._pathways.refuse,
            answers=True,
        )
        self.check_running()
        pathway = BackpressuredPathway(self._pathways, task.trace_id, task.id, neuron, self._buffer)
        ref = weakref.ref(pathway)
        pathway.when_closed(partial(self._link.unsubscribe, subscription))
        return pathway, task

    def _checked_task(
        self, neuron: str, options: TaskOptions, deadline_s: float | None, inbox: str
    ) -> Signal:
        """Make a TASK from any options, and check it."""
        check_work("a TASK", options, TaskOptions)
        payload = work_payload(options)
        if deadline_s is not None:
            payload["deadline_ms"] = deadline_ms(deadline_s)
        if capabilities := options.get("capabilities"):
            payload["capabilities"] = list(capabilities)
        meta = {**(options.get("meta") or {}), "reply_to": inbox}
        if inbox != self._inbox:
            # Work heartbeats must not wait behind answers that are held back.
            meta["pulse_to"] = self._inbox
        return Signal.new(
            _TASK,
            payload,
            trace_id=options.get("trace_id"),
            parent_id=options.get("parent_id"),
            directed=address(neuron),
            meta=meta,
        )

    async def _publish_task(self, neuron: str, task: Signal) -> None:
        self._link.check_role(_TASK)
        dropped = await self._link.send_shared(self._link.tasks + neuron, task)
        if dropped is not None:
            raise rejected(task, dropped)

    # --- stopping -----------------------------------------------------------------------------------

    async def stop_trace(
        self, trace_id: str, *, reason: str | None, rollback: bool, timeout_s: float
    ) -> list[Signal]:
        """Stop a trace in every Dendrite; see `Dendrite.stop_trace`."""
        self.check_running()
        payload = without_none(rollback=rollback, reason=reason)
        stop = Signal.new(SignalType.STOP, payload, trace_id=trace_id, meta={"reply_to": self._inbox})
        acknowledged: dict[str, Signal] = {}
        expected = self._dendrites()
        if not expected:
            timeout_s = min(timeout_s, self._discovery_s)
        done = asyncio.Event()

        def collect(stopped: Signal) -> None:
            host = str(stopped.meta.get("dendrite", stopped.id))
            acknowledged[host] = stopped
            expected.discard(host)
            if not expected:
                done.set()

        self._collectors[stop.id] = collect
        try:
            await self._link.send_or_raise(self._link.subjects.broadcast(SignalType.STOP), stop)
            # A Dendrite that does not answer in time is missing from the result.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await done.wait()
        finally:
            del self._collectors[stop.id]
        return list(acknowledged.values())

    def receive_stopped(self, stopped: Signal) -> None:
        """Handle a STOPPED from the inbox."""
        collect = self._collectors.get(stopped.parent_id or "")
        if collect is not None:
            collect(stopped)
