"""The Pathways of one Dendrite that are open, and what arrives for them."""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final

from cosmo_core.contracts.pathway import Pathway
from cosmo_core.dendrite.dispatch.deadlines import Deadlines
from cosmo_core.protocol.signal import Signal
from cosmo_core.protocol.signal_type import AXON_TYPES, SignalType

BACKGROUND_GRACE_S: Final = 1.0
"""For how long a Pathway's handlers may still read after their Dendrite stopped."""

logger = logging.getLogger("cosmo_core.dendrite")


class Followed:
    """Brings every Signal in the inbox to the Pathways it belongs to, and owns what they run.

    Attributes:
        deadlines: Of everything that waits here.
        within: Returns a context that raises TimeoutError when it takes longer than so many seconds.
        others: Who else takes what arrives, by type: Signals that are no answer of an Axon.
        refusals: Who is told, by type, when a middleware drops what arrived.
    """

    def __init__(self) -> None:
        self.deadlines = Deadlines()
        self.within = self.deadlines.within
        self.others: dict[SignalType, Callable[[Signal], None]] = {}
        self.refusals: dict[SignalType, Callable[[Signal, str], Awaitable[None]]] = {}
        # By trace; a Pathway alone on its trace, as nearly all are, is kept without a dict of its own.
        # Weak, so that a Pathway nobody holds is gone.
        self._open: dict[str, weakref.ref[Pathway] | dict[str, weakref.ref[Pathway]]] = {}
        self._background: set[asyncio.Task[Any]] = set()

    def pathways(self) -> list[Pathway]:
        """Return the Pathways that are open."""
        refs: list[weakref.ref[Pathway]] = []
        for entry in self._open.values():
            refs.extend(entry.values() if isinstance(entry, dict) else (entry,))
        return [pathway for ref in refs if (pathway := ref()) is not None]

    async def close(self) -> None:
        """Close every Pathway, let its handlers read what it has, and end what runs in the background."""
        for pathway in self.pathways():
            pathway.close()
        # Who waits for an answer hears of it now, and needs no deadline any more.
        await asyncio.sleep(0)
        self.deadlines.close()
        # A handler may be what stops the Dendrite: it cannot wait for itself.
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

    def rename(self, pathway: Pathway, task_id: str) -> None:
        """Have ``pathway`` follow another TASK of its trace from now on."""
        self.forget(pathway)
        pathway.task_id = task_id
        self.add(pathway)

    # --- in -----------------------------------------------------------------------------------------

    def receive(self, signal: Signal) -> None:
        """Take what arrived in the inbox, or left from here for everybody."""
        if signal.type not in AXON_TYPES:
            if (take := self.others.get(signal.type)) is not None:
                take(signal)
            self._deliver_to_trace(signal)
            return
        # What an Axon sends answers one TASK; everything else concerns the whole trace.
        entry = self._open.get(signal.trace_id)
        ref = entry.get(signal.parent_id or "") if isinstance(entry, dict) else entry
        pathway = ref() if ref is not None else None
        if pathway is not None and pathway.task_id == signal.parent_id:
            pathway.deliver(signal)

    def find(self, trace_id: str, task_id: str) -> Pathway | None:
        """Return the open Pathway that follows a TASK."""
        entry = self._open.get(trace_id)
        ref = entry.get(task_id) if isinstance(entry, dict) else entry
        pathway = ref() if ref is not None else None
        return pathway if pathway is not None and pathway.task_id == task_id else None

    async def refuse(self, signal: Signal, reason: str) -> None:
        """Tell who relies on a Signal that a middleware dropped it on its way in."""
        if (refuse := self.refusals.get(signal.type)) is not None:
            await refuse(signal, reason)

    def _deliver_to_trace(self, signal: Signal) -> None:
        entry = self._open.get(signal.trace_id)
        if entry is None:
            return
        for ref in list(entry.values()) if isinstance(entry, dict) else (entry,):
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


async def _cancel(stuck: Sequence[asyncio.Task[Any]]) -> None:
    for work in stuck:
        work.cancel()
    if stuck:
        logger.warning("%d handlers did not end and are cancelled", len(stuck))
        await asyncio.wait(stuck, timeout=BACKGROUND_GRACE_S)
