"""Sends TASKs and opens the Pathways that follow them."""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Awaitable
from functools import partial
from typing import Any, Final

from cosmo_core.contracts.options import TaskOptions, work_payload
from cosmo_core.contracts.pathway import BackpressuredPathway, Pathway, TerminalPathway
from cosmo_core.dendrite.discovery.directory import Directory
from cosmo_core.dendrite.discovery.resolver import Resolver
from cosmo_core.dendrite.dispatch.pathway_registry import Deadline, PathwayRegistry
from cosmo_core.dendrite.life_cycle import not_running
from cosmo_core.dendrite.transport.link import Link, rejected
from cosmo_core.errors import CosmoError
from cosmo_core.protocol.ids import check_token, new_ulid
from cosmo_core.protocol.signal import Signal, address, deadline_ms, new_unvalidated
from cosmo_core.protocol.signal_type import SignalType

logger = logging.getLogger("cosmo_core.dendrite")


# Named once: up to Python 3.11, looking up an enum's member costs as much as a call.
_TASK: Final = SignalType.TASK


class Dispatcher:
    """Sends the TASKs of one Dendrite and follows them.

    Args:
        link: The way to the bus.
        directory: The known Neurons.
        resolver: Finds a Neuron that is not in the directory.
        pathways: The open Pathways.
        inbox: The inbox for answers.
        buffer: The number of Signals that a Pathway buffers.
    """

    def __init__(
        self,
        link: Link,
        directory: Directory,
        resolver: Resolver,
        pathways: PathwayRegistry,
        *,
        inbox: str,
        buffer: int,
    ) -> None:
        self._link = link
        self._directory = directory
        self._resolver = resolver
        self._pathways = pathways
        self._inbox = inbox
        self._buffer = buffer
        self._running = False
        self._may_dispatch = False

    async def start(self) -> None:
        """Listen for answers."""
        pathways = self._pathways
        await self._link.listen(
            self._link.subjects.inbox_pattern(self._inbox), pathways.receive, refuse=pathways.refuse
        )
        self._running = True
        self._may_dispatch = self._link.allows(_TASK)

    async def close(self) -> None:
        """Close every Pathway."""
        self._running = self._may_dispatch = False
        await self._pathways.close()

    def check_running(self) -> None:
        """Refuse what needs a Dendrite that runs.

        Raises:
            LifecycleError: It does not.
        """
        if not self._running:
            raise not_running()

    # --- out ----------------------------------------------------------------------------------------

    async def emit(self, signal: Signal) -> None:
        """Send a Signal where its type and direction say. Raises what `Dendrite.emit` does."""
        self.check_running()
        subjects, neuron = self._link.subjects, signal.directed.id if signal.directed is not None else None
        if neuron is not None and signal.type is _TASK:
            await self._send_task(neuron, signal)
        elif neuron is not None and signal.type is SignalType.STOP:
            await self._link.send_or_raise(subjects.neuron(signal.type, neuron), signal)
        else:
            await self._link.send_or_raise(subjects.broadcast(signal.type), signal)
        # Nobody's inbox gets it, but the Pathways of this Dendrite follow the trace, too.
        self._pathways.receive(signal)

    async def send(self, options: TaskOptions) -> Signal:
        """Send a TASK and return it. Raises what `Dendrite.dispatch` does."""
        neuron = self._known(options) or await self._find(options)
        deadline_s = options.get("deadline_s")
        task = self._plain(neuron, options, deadline_s) or self._task(
            neuron, options, deadline_s, self._inbox
        )
        await self._send_task(neuron, task)
        return task

    async def dispatch(self, options: TaskOptions, deadline_s: float | None = None) -> Pathway:
        """Send a TASK and return the Pathway that follows it. Raises what `Dendrite.dispatch` does."""
        pathway, task = self._opened(options, deadline_s) or await self._prepared(options, deadline_s)
        try:
            dropped = await self._link.send_shared(self._link.tasks + pathway.neuron, task)
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError):
                # The TASK may have left already.
                self.stop_task(pathway, "the caller was cancelled")
            pathway.close()
            raise
        if dropped is not None:
            pathway.close()
            raise rejected(task, dropped)
        return pathway

    async def ask(self, options: TaskOptions, timeout_s: float | None) -> Signal:
        """Send a TASK and return what ends it. Raises what `Dendrite.dispatch_and_wait` does."""
        deadline = Deadline(self._pathways.deadlines, timeout_s)
        try:
            with deadline:
                pathway = await self.dispatch(options, timeout_s)
                try:
                    return await pathway.wait()
                except asyncio.CancelledError:
                    reason = "the caller's time is up" if deadline.expired else "the caller was cancelled"
                    self.stop_task(pathway, reason)
                    raise
                finally:
                    pathway.close()
        except TimeoutError:
            if not deadline.expired:
                raise
            neuron, capabilities = options.get("neuron"), options.get("capabilities") or ()
            wanted = (
                f"Neuron {neuron!r}" if neuron else f"a Neuron with {' and '.join(map(repr, capabilities))}"
            )
            raise TimeoutError(f"no answer from {wanted} within {timeout_s} s") from None

    def _known(self, options: TaskOptions) -> str | None:
        if not self._may_dispatch:
            self._link.check_role(_TASK)
            self.check_running()
        neuron = options.get("neuron")
        return neuron if self._directory.knows(neuron) and not options.get("capabilities") else None

    async def _find(self, options: TaskOptions) -> str:
        neuron, capabilities = options.get("neuron"), options.get("capabilities")
        if isinstance(capabilities, str):
            raise TypeError(f"capabilities is a list of names, not {capabilities!r}")
        if neuron is not None:
            check_token("neuron", neuron)
        elif not capabilities:
            raise TypeError("a TASK needs a neuron, or the capabilities to look for")
        found = await self._resolver.route(neuron, capabilities or ())
        self.check_running()
        return found

    def _opened(self, options: TaskOptions, deadline_s: float | None) -> tuple[Pathway, Signal] | None:
        """Make a TASK, and open its Pathway, if nothing has to be found or checked."""
        neuron = options.get("neuron")
        if neuron is None or not self._may_dispatch or not self._directory.knows(neuron):
            return None
        task = self._plain(neuron, options, deadline_s)
        if task is None:
            return None
        pathway = Pathway(self._pathways, task.trace_id, task.id, neuron, self._buffer)
        self._pathways.add(pathway)
        return pathway, task

    async def _prepared(self, options: TaskOptions, deadline_s: float | None) -> tuple[Pathway, Signal]:
        """Make a TASK, and open its Pathway, whatever it takes."""
        neuron = self._known(options) or await self._find(options)
        deadline_s = options.get("deadline_s", deadline_s)
        if options.get("backpressure"):
            pathway, task = await self._held(neuron, options, deadline_s)
        else:
            task = self._task(neuron, options, deadline_s, self._inbox)
            kind = TerminalPathway if options.get("scope") == "terminal" else Pathway
            pathway = kind(self._pathways, task.trace_id, task.id, neuron, self._buffer)
        pathway.finalized = "finalize" in task.payload
        self._pathways.add(pathway)
        if "capabilities" in options:
            self._directory.count(pathway)
        return pathway, task

    async def _held(
        self, neuron: str, options: TaskOptions, deadline_s: float | None
    ) -> tuple[Pathway, Signal]:
        """Make a Pathway with an inbox of its own, so that nobody else is held back with it."""
        inbox = new_ulid()
        task = self._task(neuron, options, deadline_s, inbox)
        held: weakref.ref[BackpressuredPathway] | None = None

        def receive(signal: Signal) -> Awaitable[None] | None:
            follower = None if held is None else held()
            return None if follower is None else follower.take(signal)

        # Of the members of a queue group one takes each frame, and the publisher waits if none has room.
        listening = await self._link.listen(
            self._link.subjects.inbox_pattern(inbox), receive, queue_group=inbox
        )
        self.check_running()
        pathway = BackpressuredPathway(self._pathways, task.trace_id, task.id, neuron, self._buffer)
        held = weakref.ref(pathway)
        pathway.when_closed(partial(self._link.end, listening))
        return pathway, task

    def _plain(self, neuron: str, options: TaskOptions, deadline_s: float | None) -> Signal | None:
        """Make a TASK of a Neuron and an input, as most are: nothing in it could be wrong."""
        input = options["input"]
        if len(options) != 2 or "neuron" not in options or not isinstance(input, dict):
            return None
        payload: dict[str, Any] = {"input": input}
        if deadline_s is not None:
            payload["deadline_ms"] = deadline_ms(deadline_s)
        return new_unvalidated(_TASK, payload, directed=address(neuron), meta={"reply_to": self._inbox})

    def _task(self, neuron: str, options: TaskOptions, deadline_s: float | None, inbox: str) -> Signal:
        """Make a TASK of whatever was said, and check it."""
        payload = work_payload(options)
        if deadline_s is not None:
            payload["deadline_ms"] = deadline_ms(deadline_s)
        if capabilities := options.get("capabilities"):
            payload["capabilities"] = list(capabilities)
        meta = {**(options.get("meta") or {}), "reply_to": inbox}
        if inbox != self._inbox:
            # Where answers are held back, no sign of life would come through.
            meta["pulse_to"] = self._inbox
        return Signal.new(
            _TASK,
            payload,
            trace_id=options.get("trace_id"),
            parent_id=options.get("parent_id"),
            directed=address(neuron),
            meta=meta,
        )

    async def _send_task(self, neuron: str, task: Signal) -> None:
        self._link.check_role(_TASK)
        dropped = await self._link.send_shared(self._link.tasks + neuron, task)
        if dropped is not None:
            raise rejected(task, dropped)

    def stop_task(self, pathway: Pathway, reason: str) -> None:
        """Tell whoever works on a Pathway's TASK to stop, in the background."""
        if not self._running:
            return
        stop = new_unvalidated(
            SignalType.STOP,
            {"rollback": False, "reason": reason},
            trace_id=pathway.trace_id,
            parent_id=pathway.task_id,
            directed=address(pathway.neuron),
        )
        self._pathways.spawn(
            self._send_stop(self._link.subjects.neuron(SignalType.STOP, pathway.neuron), stop)
        )

    async def _send_stop(self, subject: str, stop: Signal) -> None:
        try:
            await self._link.send_or_raise(subject, stop)
        except CosmoError as error:
            logger.warning("%s could not be stopped: %s", stop.parent_id, error)
