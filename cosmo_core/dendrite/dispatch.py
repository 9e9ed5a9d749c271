"""Dispatching: sends TASKs, opens Pathways for them, and brings every answer to the Pathway it belongs to."""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Final, Required, TypedDict

from cosmo_core.dendrite.deadlines import Deadlines
from cosmo_core.errors import CosmoError, LifecycleError, RejectedError
from cosmo_core.ids import check_token
from cosmo_core.pathway import Pathway
from cosmo_core.signal import Signal, address, mint
from cosmo_core.signal_type import AXON_TYPES, SignalType

if TYPE_CHECKING:
    from cosmo_core.dendrite.link import Link
    from cosmo_core.dendrite.presence import Presence
    from cosmo_core.dendrite.view import View
    from cosmo_core.plugin import Dropped

BACKGROUND_GRACE_S: Final = 1.0
"""For how long a Pathway's handlers may still read after their Dendrite stopped."""

logger = logging.getLogger("cosmo_core.dendrite")


# Named once: up to Python 3.11, looking up an enum's member costs as much as a call.
_TASK: Final = SignalType.TASK


class TaskOptions(TypedDict, total=False):
    """What every way to dispatch a TASK takes, by keyword.

    Attributes:
        input: The Neuron's input: an object that JSON can carry.
        neuron: The id of the Neuron that is meant.
        capabilities: What the Neuron must be able to do, all of it; without ``neuron``, any that can.
        trace_id: The trace to go on with; a new one by default.
        parent_id: The id of the Signal that causes this TASK.
        context_ref: Passed to the Axon's context fetcher.
        meta: Whatever else shall travel along.
    """

    input: Required[dict[str, Any]]
    neuron: str | None
    capabilities: Sequence[str] | None
    trace_id: str | None
    parent_id: str | None
    context_ref: str | None
    meta: dict[str, Any] | None


class Dispatcher:
    """Sends the TASKs of one Dendrite and follows them.

    Args:
        link: The way to the bus.
        view: Who is there.
        presence: Finds who is not in the view.
        inbox: Where answers come to.
        buffer: How many Signals a Pathway keeps.
    """

    def __init__(self, link: Link, view: View, presence: Presence, *, inbox: str, buffer: int) -> None:
        self._link = link
        self._view = view
        self._presence = presence
        self._inbox = inbox
        self._buffer = buffer
        self._deadlines = Deadlines()
        self.within = self._deadlines.within
        # By trace; a Pathway alone on its trace, as nearly all are, is kept without a dict of its own.
        # Weak, so that a Pathway nobody holds is gone.
        self._open: dict[str, weakref.ref[Pathway] | dict[str, weakref.ref[Pathway]]] = {}
        self._background: set[asyncio.Task[Any]] = set()
        self._running = False

    async def start(self) -> None:
        """Listen for answers."""
        await self._link.listen(self._link.subjects.whole_inbox(self._inbox), self._receive)
        self._running = True

    async def close(self) -> None:
        """Close every Pathway, let its handlers read what it has, and end what runs in the background."""
        for pathway in self.pathways():
            pathway.close()
        self._deadlines.close()
        self._running = False
        # A handler may be what stops the Dendrite: it cannot wait for itself.
        if others := self._background - {asyncio.current_task()}:
            _, stuck = await asyncio.wait(others, timeout=BACKGROUND_GRACE_S)
            for work in stuck:
                work.cancel()
            if stuck:
                logger.warning("%d handlers of Pathways did not end and are cancelled", len(stuck))
                await asyncio.wait(stuck, timeout=BACKGROUND_GRACE_S)

    def pathways(self) -> list[Pathway]:
        """Return the Pathways that are open."""
        refs: list[weakref.ref[Pathway]] = []
        for entry in self._open.values():
            refs.extend(entry.values() if isinstance(entry, dict) else (entry,))
        return [pathway for ref in refs if (pathway := ref()) is not None]

    # --- out ----------------------------------------------------------------------------------------

    async def emit(self, signal: Signal) -> None:
        """Send a Signal where its type and direction say. Raises what `Dendrite.emit` does."""
        self._check_running()
        subjects, neuron = self._link.subjects, signal.directed.id if signal.directed is not None else None
        if neuron is not None and signal.type in {_TASK, SignalType.STOP}:
            await self._send(subjects.neuron(signal.type, neuron), signal)
        else:
            await self._send(subjects.everyone(signal.type), signal)

    async def send(self, options: TaskOptions) -> Signal:
        """Send a TASK and return it. Raises what `Dendrite.dispatch` does."""
        neuron = self._known(options) or await self._find(options)
        task = self._task(neuron, options)
        await self._send(self._link.subjects.neuron(_TASK, neuron), task)
        return task

    async def dispatch(self, options: TaskOptions) -> Pathway:
        """Send a TASK and return the Pathway that follows it. Raises what `Dendrite.dispatch` does."""
        neuron = self._known(options) or await self._find(options)
        task = self._task(neuron, options)
        pathway = self._follow(neuron, task)
        try:
            dropped = await self._link.send(self._link.subjects.neuron(_TASK, neuron), task)
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError):
                # The TASK may have left already.
                self.stop_task(pathway, "the caller was cancelled")
            pathway.close()
            raise
        if dropped is not None:
            pathway.close()
            raise _rejected(task, dropped)
        return pathway

    async def ask(self, options: TaskOptions, timeout_s: float | None) -> Signal:
        """Send a TASK and return what ends it. Raises what `Dendrite.dispatch_and_wait` does."""
        deadline = self._deadlines.within(timeout_s)
        try:
            with deadline:
                pathway = await self.dispatch(options)
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
        self._link.check_role(_TASK)
        self._check_running()
        neuron = options.get("neuron")
        return neuron if neuron in self._view and not options.get("capabilities") else None

    async def _find(self, options: TaskOptions) -> str:
        neuron, capabilities = options.get("neuron"), options.get("capabilities")
        if isinstance(capabilities, str):
            raise TypeError(f"capabilities is a list of names, not {capabilities!r}")
        if neuron is not None:
            check_token("neuron", neuron)
        elif not capabilities:
            raise TypeError("a TASK needs a neuron, or the capabilities to look for")
        return await self._presence.route(neuron, capabilities or ())

    def _check_running(self) -> None:
        if not self._running:
            raise LifecycleError("the Dendrite does not run: use it inside `async with`, or start it")

    def _task(self, neuron: str, options: TaskOptions) -> Signal:
        payload: dict[str, Any] = {"input": options["input"]}
        if capabilities := options.get("capabilities"):
            payload["capabilities"] = list(capabilities)
        if (context_ref := options.get("context_ref")) is not None:
            payload["context_ref"] = context_ref
        trace_id, parent_id, meta = options.get("trace_id"), options.get("parent_id"), options.get("meta")
        # Most TASKs hold nothing that could be wrong; the rest is checked.
        safe = len(payload) == 1 and isinstance(payload["input"], dict) and trace_id is parent_id is None
        return (mint if safe else Signal.new)(
            _TASK,
            payload,
            trace_id=trace_id,
            parent_id=parent_id,
            directed=address(neuron),
            meta={"reply_to": self._inbox} if meta is None else {**meta, "reply_to": self._inbox},
        )

    async def _send(self, subject: str, signal: Signal) -> None:
        dropped = await self._link.send(subject, signal)
        if dropped is not None:
            raise _rejected(signal, dropped)

    def _follow(self, neuron: str, task: Signal) -> Pathway:
        pathway = Pathway(self, trace_id=task.trace_id, task_id=task.id, neuron=neuron, buffer=self._buffer)
        ref = weakref.ref(pathway)
        entry = self._open.setdefault(task.trace_id, ref)
        if isinstance(entry, dict):
            entry[task.id] = ref
        elif entry is not ref:
            other = entry()
            others = {} if other is None else {other.task_id: entry}
            self._open[task.trace_id] = {**others, task.id: ref}
        return pathway

    def stop_task(self, pathway: Pathway, reason: str) -> None:
        """Tell the worker, in the background, that nobody waits for the TASK of ``pathway`` any more."""
        stop = Signal.new(
            SignalType.STOP,
            {"rollback": False, "reason": reason},
            trace_id=pathway.trace_id,
            parent_id=pathway.task_id,
            directed=address(pathway.neuron),
        )
        self.keep(self._send_stop(self._link.subjects.neuron(SignalType.STOP, pathway.neuron), stop))

    async def _send_stop(self, subject: str, stop: Signal) -> None:
        try:
            await self._send(subject, stop)
        except CosmoError as error:
            logger.warning("%s could not be stopped: %s", stop.parent_id, error)

    # --- in -----------------------------------------------------------------------------------------

    def _receive(self, signal: Signal) -> None:
        entry = self._open.get(signal.trace_id)
        if entry is None:
            if signal.type is SignalType.REGISTER:
                self._view.take(signal)
        elif not isinstance(entry, dict):
            pathway = entry()
            # What an Axon sends answers one TASK; everything else concerns the whole trace.
            if pathway is not None and (signal.parent_id == pathway.task_id or signal.type not in AXON_TYPES):
                pathway.deliver(signal)
        elif signal.type in AXON_TYPES:
            ref = entry.get(signal.parent_id or "")
            if ref is not None and (pathway := ref()) is not None:
                pathway.deliver(signal)
        else:
            for ref in list(entry.values()):
                if (pathway := ref()) is not None:
                    pathway.deliver(signal)

    # --- what a Pathway asks of its owner -----------------------------------------------------------

    def forget(self, pathway: Pathway) -> None:
        """Deliver nothing more to ``pathway``."""
        entry = self._open.pop(pathway.trace_id, None)
        if isinstance(entry, dict):
            entry.pop(pathway.task_id, None)
            if entry:
                self._open[pathway.trace_id] = entry

    def keep(self, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work`` in the background, until it ends or this Dendrite does."""
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("background work of a Dendrite failed: %s", error, exc_info=error)


def _rejected(signal: Signal, dropped: Dropped) -> RejectedError:
    return RejectedError(f"a middleware dropped {signal.type.value} {signal.id}: {dropped.reason}")
