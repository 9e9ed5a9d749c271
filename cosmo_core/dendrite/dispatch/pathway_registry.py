"""The open Pathways of a Dendrite, what arrives for them, and their deadlines."""

from __future__ import annotations

import asyncio
import logging
import math
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from types import TracebackType
from typing import Any, Final, Self

from cosmo_core.contracts.pathway import Pathway
from cosmo_core.protocol.signal import Signal
from cosmo_core.protocol.signal_type import AXON_TYPES, SignalType

BACKGROUND_GRACE_S: Final = 1.0
"""Seconds that the handlers of a Pathway may go on reading after their Dendrite stopped."""

Receive = Callable[[Signal], None]
Refuse = Callable[[Signal, str], Awaitable[None]]

logger = logging.getLogger("cosmo_core.dendrite")


class PathwayRegistry:
    """Delivers every Signal of the inbox to its Pathways, and owns their background tasks.

    Signals that no Axon sends as an answer, such as BID or HEARTBEAT, also go to the receiver of their type.

    Attributes:
        deadlines: The deadlines of everything that waits in this Dendrite.
        time_limit: Returns a context that raises TimeoutError after so many seconds.
    """

    def __init__(self) -> None:
        self.deadlines = Deadlines()
        self.time_limit = self.deadlines.time_limit
        self._receivers: dict[SignalType, Receive] = {}
        self._refusals: dict[SignalType, Refuse] = {}
        # By trace; a Pathway alone on its trace, as nearly all are, is stored without a dict of its own.
        # Weak, so that an unreferenced Pathway is collected.
        self._open: dict[str, weakref.ref[Pathway] | dict[str, weakref.ref[Pathway]]] = {}
        self._background: set[asyncio.Task[Any]] = set()

    def add_receiver(self, type: SignalType, receive: Receive, refuse: Refuse | None = None) -> None:
        """Call ``receive`` with every Signal of a type, and ``refuse`` with those that a middleware drops.

        Raises:
            ValueError: The type has a receiver already.
        """
        if type in self._receivers:
            raise ValueError(f"{type.value} has a receiver already: {self._receivers[type]!r}")
        self._receivers[type] = receive
        if refuse is not None:
            self._refusals[type] = refuse

    def pathways(self) -> list[Pathway]:
        """Return the open Pathways."""
        refs: list[weakref.ref[Pathway]] = []
        for entry in self._open.values():
            refs.extend(entry.values() if isinstance(entry, dict) else (entry,))
        return [pathway for ref in refs if (pathway := ref()) is not None]

    async def close(self) -> None:
        """Close every Pathway, let its handlers read the rest, and end the background tasks."""
        for pathway in self.pathways():
            pathway.close()
        # Callers that wait for an answer wake now and need no deadline any more.
        await asyncio.sleep(0)
        self.deadlines.close()
        # A handler may be the one that stops the Dendrite: it cannot wait for itself.
        if others := self._background - {asyncio.current_task()}:
            try:
                await asyncio.wait(others, timeout=BACKGROUND_GRACE_S)
            finally:
                await _cancel([work for work in others if not work.done()])

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

    def remove(self, pathway: Pathway) -> None:
        """Deliver nothing more to ``pathway``."""
        entry = self._open.pop(pathway.trace_id, None)
        if isinstance(entry, dict):
            entry.pop(pathway.task_id, None)
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

    # --- what arrives -------------------------------------------------------------------------------

    def receive(self, signal: Signal) -> None:
        """Handle a Signal from the inbox, or one that this Dendrite emitted to all."""
        if signal.type not in AXON_TYPES:
            if (receive := self._receivers.get(signal.type)) is not None:
                receive(signal)
            self._deliver_to_trace(signal)
            return
        # An Axon's Signal answers one TASK; every other Signal concerns the whole trace.
        entry = self._open.get(signal.trace_id)
        ref = entry.get(signal.parent_id or "") if isinstance(entry, dict) else entry
        pathway = ref() if ref is not None else None
        if pathway is not None and pathway.task_id == signal.parent_id:
            pathway.deliver(signal)

    async def refuse(self, signal: Signal, reason: str) -> None:
        """Handle a Signal that a middleware dropped on its way in."""
        if (refuse := self._refusals.get(signal.type)) is not None:
            await refuse(signal, reason)

    def _deliver_to_trace(self, signal: Signal) -> None:
        entry = self._open.get(signal.trace_id)
        if entry is None:
            return
        for ref in list(entry.values()) if isinstance(entry, dict) else (entry,):
            if (pathway := ref()) is not None:
                pathway.deliver(signal)

    # --- background tasks ---------------------------------------------------------------------------

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work`` in the background, until it ends or this Dendrite does. A failure is logged."""
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("background work of a Dendrite failed: %s", error, exc_info=error)


async def _cancel(stuck: Sequence[asyncio.Task[Any]]) -> None:
    for work in stuck:
        work.cancel()
    if stuck:
        logger.warning("%d handlers did not end and are cancelled", len(stuck))
        await asyncio.wait(stuck, timeout=BACKGROUND_GRACE_S)


# --- deadlines --------------------------------------------------------------------------------------

RESOLUTION_S: Final = 0.01
"""Seconds that a deadline may fire late; it never fires early."""


class Deadlines:
    """Ends what is not done in time.

    A timer of the event loop costs several times what waiting for an answer does, and nearly every one of
    them is cancelled. So one timer serves all deadlines: it is set for the earliest, and looks through those
    that are left when it goes off.

    Attributes:
        discard: Calls off a deadline, if it has not expired.
        loop: The event loop, once a deadline was set on it.
    """

    def __init__(self) -> None:
        self._open: set[Deadline] = set()
        # The set's own: a method around it would cost as much again, for every TASK.
        self.discard = self._open.discard
        self.loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._armed_for = math.inf

    def time_limit(self, timeout_s: float | None) -> Deadline:
        """Return a context that raises TimeoutError when it takes longer than ``timeout_s`` seconds."""
        return Deadline(self, timeout_s)

    def add(self, deadline: Deadline, loop: asyncio.AbstractEventLoop) -> None:
        """Let ``deadline`` expire when it is due, unless it is called off."""
        self._open.add(deadline)
        if deadline.due < self._armed_for:
            self._arm(deadline.due, loop)

    def _arm(self, due: float, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._armed_for = due
        # Later by the grain, so that those which are due soon after come in one go.
        self._timer = loop.call_at(due + RESOLUTION_S, self._fire, loop)

    def _fire(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        self._armed_for = math.inf
        now = loop.time()
        for deadline in [deadline for deadline in self._open if deadline.due <= now]:
            self._open.discard(deadline)
            deadline.expire()
        if self._open:
            self._arm(min(deadline.due for deadline in self._open), loop)

    def close(self) -> None:
        """Give up the timer, unless somebody is still to be interrupted in time."""
        if self._timer is not None and not self._open:
            self._timer.cancel()
            self._timer = None
            self._armed_for = math.inf


class Deadline:
    """A context that must be left in time: `asyncio.timeout`, on the shared timer.

    Attributes:
        due: When it expires, on the event loop's clock.
        expired: Whether the time was up before the context was left.
    """

    __slots__ = ("_cancelling", "_deadlines", "_task", "_timeout_s", "due", "expired")

    def __init__(self, deadlines: Deadlines, timeout_s: float | None) -> None:
        self.expired = False
        self.due = math.inf
        self._deadlines = deadlines
        self._timeout_s = timeout_s
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0

    def __enter__(self) -> Self:
        if self._timeout_s is None:
            return self
        loop = self._deadlines.loop
        if loop is None:
            # Asked for once: up to Python 3.11 every question is a system call.
            loop = self._deadlines.loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        if task is not None:
            self._task = task
            self._cancelling = task.cancelling()
            self.due = loop.time() + self._timeout_s
            self._deadlines.add(self, loop)
        return self

    def expire(self) -> None:
        """Interrupt whoever is inside."""
        if self._task is not None:
            self.expired = True
            self._task.cancel()

    def __exit__(
        self, type: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._task is None:
            return
        if not self.expired:
            self._deadlines.discard(self)
        # Only if nobody else cancelled the task too: that would have to be obeyed.
        elif self._task.uncancel() <= self._cancelling and type is asyncio.CancelledError:
            raise TimeoutError from error
