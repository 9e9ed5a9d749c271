"""The registry of a Dendrite's open Pathways: delivers Signals to them, and ends them with the Dendrite."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from itertools import takewhile
from operator import is_not
from typing import Any, Final

from cosmo_core.contracts.boundary import logger
from cosmo_core.contracts.eager_tasks import eager_tasks
from cosmo_core.contracts.pathway import Pathway
from cosmo_core.contracts.task_context import outside_task
from cosmo_core.dendrite.dispatch.deadlines import Deadlines
from cosmo_core.dendrite.life_cycle import StopTime, foreign_loop
from cosmo_core.dendrite.transport.link import Link
from cosmo_core.errors import CosmoError, LifecycleError
from cosmo_core.protocol.signal import Signal, address, new_unvalidated
from cosmo_core.protocol.signal_type import ANSWER_TYPES, AXON_TYPES, SignalType

BACKGROUND_GRACE_S: Final = 1.0
"""Seconds that the handlers of a Pathway may take to finish after their Dendrite stopped."""

# In the registry under a key that is not a trace id.
_MARK: Final[dict[str, weakref.ref[Pathway]]] = {}

Receive = Callable[[Signal], None]
Refuse = Callable[[Signal, str], Awaitable[None]]


class PathwayRegistry:
    """Delivers every Signal of the inbox to its Pathways, and owns their background tasks.

    Signals that no Axon sends as an answer, such as BID or HEARTBEAT, also go to the receiver of their type.

    Args:
        link: The link to the Synapse, for STOPs.

    Attributes:
        deadlines: The deadlines of all waits in this Dendrite.
        time_limit: Returns a context that raises TimeoutError after a number of seconds.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self.deadlines = Deadlines()
        self.time_limit = self.deadlines.time_limit
        self._receivers: dict[SignalType, Receive] = {}
        self._refusals: dict[SignalType, Refuse] = {}
        # By trace. A trace has a dict by TASK only when several Pathways are open on it, which is rare.
        # The references are weak, so that an unreferenced Pathway is collected.
        self._open: dict[str, weakref.ref[Pathway] | dict[str, weakref.ref[Pathway]]] = {}
        # By TASK, the Pathways on traces that have several, while `opened` has not returned them.
        self._joined: dict[str, weakref.ref[Pathway]] = {}
        self._background: set[asyncio.Task[Any]] = set()
        self._closed = False

    def add_receiver(self, type: SignalType, receive: Receive, refuse: Refuse | None = None) -> None:
        """Call ``receive`` with every Signal of a type, and ``refuse`` with those that a middleware drops.

        Raises:
            ValueError: The type has a receiver already.
        """
        if type in AXON_TYPES:
            raise ValueError(f"{type.value} answers a TASK: only its Pathway receives it")
        if type in self._receivers:
            raise ValueError(f"{type.value} has a receiver already: {self._receivers[type]!r}")
        self._receivers[type] = receive
        if refuse is not None:
            self._refusals[type] = refuse

    def pathways(self) -> list[Pathway]:
        """Return the open Pathways."""
        return [pathway for trace_id in list(self._open) for pathway in self._on_trace(trace_id)]

    def opened(self) -> list[weakref.ref[Pathway]]:
        """Return the Pathways that were opened since the last call, and maybe some that were opened before.

        Its cost does not depend on the others, and a TASK that is answered before the call pays nothing.
        """
        # A dict keeps the order of insertion, and the last call inserted the mark. In one step: the garbage
        # collector may remove a Pathway at any other time, also in another thread.
        newest = list(takewhile(partial(is_not, _MARK), reversed(self._open.values())))
        found = [
            *self._joined.values(),
            *(entry for entry in reversed(newest) if not isinstance(entry, dict)),
        ]
        self._joined.clear()
        self._open.pop("", None)
        if self._open:
            self._open[""] = _MARK
        return found

    async def close(self, time: StopTime) -> None:
        """Close every Pathway, let handlers read what is buffered, and end the background tasks."""
        for pathway in self.pathways():
            pathway.end_with_dendrite()
        self._open.pop("", None)
        # Callers that wait for an answer end here, and drop their deadlines.
        await asyncio.sleep(0)
        self.deadlines.close()
        self._closed = True
        # A handler may stop the Dendrite; it must not wait for itself.
        if others := self._background - {asyncio.current_task()}:
            try:
                await asyncio.wait(others, timeout=min(BACKGROUND_GRACE_S, time.left()))
            finally:
                await _cancel([work for work in others if not work.done()], time)

    def add(self, pathway: Pathway) -> None:
        """Deliver to ``pathway`` from now on."""
        ref = weakref.ref(pathway)
        entry = self._open.setdefault(pathway.trace_id, ref)
        if entry is ref:
            return
        if isinstance(entry, dict):
            entry[pathway.task_id] = ref
        else:
            other = entry()
            others = {} if other is None else {other.task_id: entry}
            self._open[pathway.trace_id] = {**others, pathway.task_id: ref}
            self._joined.update(dict.fromkeys(others, entry))
        self._joined[pathway.task_id] = ref

    def remove(self, pathway: Pathway) -> None:
        """Deliver nothing more to ``pathway``."""
        entry = self._open.pop(pathway.trace_id, None)
        # Not isinstance: it takes twice as long, for every TASK.
        if type(entry) is dict:
            entry.pop(pathway.task_id, None)
            self._joined.pop(pathway.task_id, None)
            if entry:
                self._open[pathway.trace_id] = entry

    def change_task(self, pathway: Pathway, task_id: str) -> None:
        """Let ``pathway`` follow another TASK of its trace from now on."""
        self.remove(pathway)
        pathway.task_id = task_id
        self.add(pathway)

    def find(self, trace_id: str, task_id: str) -> Pathway | None:
        """Return the open Pathway that follows a TASK."""
        entry = self._open.get(trace_id)
        ref = entry.get(task_id) if isinstance(entry, dict) else entry
        pathway = ref() if ref is not None else None
        return pathway if pathway is not None and pathway.task_id == task_id else None

    # --- received Signals ---------------------------------------------------------------------------

    def expects(self, signal: Signal) -> bool:
        """Tell whether `receive` would deliver a Signal."""
        return signal.trace_id in self._open or signal.type in self._receivers

    def receive(self, signal: Signal) -> None:
        """Handle a Signal from the inbox, or one that this Dendrite emitted to all."""
        if signal.type not in AXON_TYPES:
            try:
                if (receive := self._receivers.get(signal.type)) is not None:
                    receive(signal)
            finally:
                self._deliver_to_trace(signal)
            return
        # An Axon's Signal goes to the Pathway of its TASK; any other to all Pathways of the trace.
        entry = self._open.get(signal.trace_id)
        ref = entry.get(signal.parent_id or "") if isinstance(entry, dict) else entry
        pathway = ref() if ref is not None else None
        if pathway is not None and pathway.task_id == signal.parent_id:
            pathway.deliver(signal)

    async def refuse(self, signal: Signal, reason: str) -> None:
        """Handle a Signal that a middleware dropped on its way in.

        A Pathway that would wait for it in vain gets ERROR ``REJECTED`` in its place.
        """
        if (refuse := self._refusals.get(signal.type)) is not None:
            await refuse(signal, reason)
        for pathway in self._on_trace(signal.trace_id):
            if signal.type is SignalType.FINAL:
                missed = pathway.finalized
            else:
                answers = signal.type in ANSWER_TYPES and signal.parent_id == pathway.task_id
                missed = answers and pathway.answer is None
            if missed:
                message = f"a middleware of this Dendrite dropped {signal.type.value} {signal.id}: {reason}"
                error = pathway.local_error("REJECTED", message, recoverable=False)
                if (waiting := pathway.receive(error)) is not None:
                    await waiting

    def _deliver_to_trace(self, signal: Signal) -> None:
        for pathway in self._on_trace(signal.trace_id):
            pathway.deliver(signal)

    def _on_trace(self, trace_id: str) -> list[Pathway]:
        entry = self._open.get(trace_id)
        if entry is None:
            return []
        refs = entry.values() if isinstance(entry, dict) else (entry,)
        return [pathway for ref in refs if (pathway := ref()) is not None]

    # --- stopping -----------------------------------------------------------------------------------

    def stop_task(self, pathway: Pathway, reason: str) -> None:
        """Send STOP for a Pathway's TASK to its Neuron, in the background."""
        stop = new_unvalidated(
            SignalType.STOP,
            {"rollback": False, "reason": reason},
            trace_id=pathway.trace_id,
            parent_id=pathway.task_id,
            directed=address(pathway.neuron),
        )
        self.spawn(self._send_stop(self._link.subjects.neuron(SignalType.STOP, pathway.neuron), stop))

    async def _send_stop(self, subject: str, stop: Signal) -> None:
        try:
            await self._link.send_or_raise(subject, stop)
        except CosmoError as error:
            logger.warning("STOP of TASK %s could not be sent: %s", stop.parent_id, error)

    # --- in the event loop of the Dendrite ----------------------------------------------------------

    def _loop(self) -> asyncio.AbstractEventLoop:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise foreign_loop() from None
        if loop is not (self.deadlines.loop or loop):
            raise foreign_loop()
        return loop

    def future(self) -> asyncio.Future[Any]:
        """Return a new future.

        Raises:
            LifecycleError: The caller runs in another event loop.
        """
        return self._loop().create_future()

    def spawn(self, work: Coroutine[Any, Any, None], *, at_once: bool = False) -> None:
        """Run ``work`` in the background, at most until the Dendrite stops; after that it is not begun.

        It does not belong to the TASK that the caller runs for. A failure is logged.

        Args:
            work: The work.
            at_once: Whether its first step runs before this returns, within the limits of `EagerTasks`.

        Raises:
            LifecycleError: The caller runs in another event loop.
        """
        if self._closed:
            work.close()
            return
        try:
            loop = self._loop()
            task = outside_task(eager_tasks().start if at_once else loop.create_task, work)
        except LifecycleError:
            work.close()
            raise
        self._background.add(task)
        task.add_done_callback(self._remove_background)

    def _remove_background(self, task: asyncio.Task[None]) -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a background task of the Dendrite failed: %s", error, exc_info=error)


async def _cancel(stuck: Sequence[asyncio.Task[Any]], time: StopTime) -> None:
    for work in stuck:
        work.cancel()
    if stuck:
        logger.warning("%d handlers did not finish in time and are cancelled", len(stuck))
        await asyncio.wait(stuck, timeout=min(BACKGROUND_GRACE_S, time.left()))
