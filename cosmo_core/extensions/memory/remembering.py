"""What a Dendrite offers to those who keep memory, and those who use it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Generator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import attrs

from cosmo_core.contracts.engram import Cause, EngramBinding
from cosmo_core.dendrite.running import not_running
from cosmo_core.protocol.signal import check_event_id, check_trace_id

if TYPE_CHECKING:
    import contextlib

    from cosmo_core.contracts.engram import Engram, ImprintReceipt, RecallMode, RecallResult
    from cosmo_core.dendrite.discovery.announcer import Presence
    from cosmo_core.dendrite.discovery.directory import View
    from cosmo_core.dendrite.hosting.host import Host
    from cosmo_core.extensions.memory.engrams import Engrams
    from cosmo_core.extensions.memory.memory import Memory

# The same few Engrams are asked again and again.
_binding = lru_cache(maxsize=1024)(EngramBinding)


@attrs.frozen
class EngramRecord:
    """One Engram as one Dendrite hosts it.

    Attributes:
        engram_id: Its address.
        kind: What it keeps.
        dendrite: Which Dendrite hosts it.
    """

    engram_id: str
    kind: str
    dendrite: str


class Remembering:
    """The part of a Dendrite that hosts and asks Engrams."""

    _engrams: Engrams
    _engram_view: View
    _host: Host
    _lifetime: contextlib.AsyncExitStack | None
    _memory: Memory
    _presence: Presence
    _running: bool
    _stopping: bool
    _arriving: set[asyncio.Task[None]]

    # --- hosting ------------------------------------------------------------------------------------

    def attach_engram(self, engram: Engram) -> Awaitable[None]:
        """Serve ``engram`` from the start on, or from now on if the Dendrite runs.

        It belongs to this Dendrite from then on: it is opened, announced, and closed in the end.

        Returns:
            While the Dendrite runs, await it to know that the Engram is served, or why it is not:
            an EngramError if it does not open. Before the start there is nothing to wait for.

        Raises:
            LifecycleError: The Dendrite was started, and does not run.
            MalformedSignalError: Its id or its kind is no token.
            TypeError: It is no Engram.
            ValueError: An Engram of this id is attached already.
        """
        if self._lifetime is None:
            self._engrams.attach(engram)
            return _Done()
        if not self._running or self._stopping:
            raise not_running()
        self._engrams.attach(engram)
        arrival = asyncio.create_task(self._serve_engram(engram))
        self._arriving.add(arrival)
        arrival.add_done_callback(self._arriving.discard)
        return arrival

    async def _serve_engram(self, engram: Engram) -> None:
        await self._host.attend()
        await self._engrams.serve(engram.engram_id)
        await self._presence.introduce(self._engrams.resident(engram))

    async def detach_engram(self, engram_id: str, reason: str | None = None) -> None:
        """Let an Engram answer what it was asked, close it, and deregister it, while the Dendrite runs on.

        Raises:
            LifecycleError: The Dendrite does not run.
            KeyError: No Engram of this id is served.
        """
        if not self._running or self._stopping:
            raise not_running()
        resident = next(each for each in self._engrams.residents() if each.id == engram_id)
        await self._presence.retire(resident)
        try:
            await self._engrams.detach(engram_id)
        finally:
            await self._presence.dismiss(resident, reason)

    @property
    def engrams(self) -> list[Engram]:
        """The Engrams attached here."""
        return self._engrams.attached()

    def find_engrams(self, kind: str | None = None) -> list[EngramRecord]:
        """Return the live Engrams of the namespace, or those of a kind."""
        return [
            EngramRecord(
                record.neuron_id, record.capabilities[0] if record.capabilities else "", record.dendrite
            )
            for record in self._engram_view.records(kind)
        ]

    # --- asking -------------------------------------------------------------------------------------

    async def recall(
        self,
        engram: str | None,
        query: Mapping[str, Any],
        *,
        kind: str | None = None,
        mode: RecallMode = "first",
        timeout_s: float = 5.0,
        trace_id: str | None = None,
        parent_id: str | None = None,
    ) -> RecallResult:
        """Return what an Engram, or those of a kind, know.

        Args:
            engram: The id of the Engram; None to ask all of a ``kind``.
            query: What to look for: an object with any of ``id``, ``merge_key``, ``tags``, ``text`` (with
                ``match``, ``"all"`` or ``"any"`` of its words), ``vector`` and ``limit``. All must fit.
            kind: Ask every Engram of this kind.
            mode: Of several answers: the ``first`` that comes, all in one ranking (``merge``), or ``all``
                one after the other. Who failed is in the result.
            timeout_s: For how many seconds to wait.
            trace_id: The trace it belongs to; a new one by default.
            parent_id: The id of the Signal that causes it.

        Raises:
            LifecycleError: The Dendrite does not run.
            EngramTimeout: No answer in time.
            EngramError: No such Engram, or none could answer; its ``code`` says why.
            MalformedSignalError: The id of the Engram, the trace or the parent is none.
            RejectedError: A middleware of this Dendrite dropped the RECALL.
            UnencodableError: JSON cannot carry the query.
            SynapseError: The Synapse could not take it.
        """
        binding = self._bound(engram, kind)
        cause = _cause(trace_id, parent_id)
        return await self._memory.recall(binding, query, mode, timeout_s, cause)

    async def imprint(
        self,
        engram: str,
        *,
        op: str,
        entry: Mapping[str, Any] | None = None,
        merge_key: str | None = None,
        imprint_id: str | None = None,
        timeout_s: float = 5.0,
        trace_id: str | None = None,
        parent_id: str | None = None,
    ) -> ImprintReceipt:
        """Write an entry to an Engram, as `Engram.imprint` says.

        Args:
            engram: The id of the Engram.
            op: ``add``, ``append``, ``merge``, ``upsert`` or ``delete``.
            entry: What to write; ``id``, ``tags`` and ``embedding`` in it have a meaning.
            merge_key: The key of the entry.
            imprint_id: The id of the write: one that comes again is written once. A new one by default.
            timeout_s: For how many seconds to wait.
            trace_id: The trace it can be undone with; a new one by default.
            parent_id: The id of the Signal that causes it.

        Raises:
            LifecycleError: The Dendrite does not run.
            EngramTimeout: No answer in time; whether it was written is not known. Trying again with the
                same ``imprint_id`` is safe.
            EngramError: It was not written; its ``code`` says why.
            MalformedSignalError: The id of the Engram, the trace or the parent is none.
            RejectedError: A middleware of this Dendrite dropped the IMPRINT.
            UnencodableError: JSON cannot carry the entry.
            SynapseError: The Synapse could not take it.
        """
        binding = self._bound(engram, None)
        cause = _cause(trace_id, parent_id)
        return await self._memory.imprint(binding, op, entry, merge_key, imprint_id, timeout_s, cause)

    def _bound(self, engram: str | None, kind: str | None) -> EngramBinding:
        if not self._running:
            raise not_running()
        if (engram is None) == (kind is None):
            raise TypeError("say which Engram is meant, or of which kind all are: one of the two")
        return _binding(engram or kind or "", engram, directed_type=kind)


def _cause(trace_id: str | None, parent_id: str | None) -> Cause:
    if trace_id is not None:
        check_trace_id(trace_id)
    if parent_id is not None:
        check_event_id("parent_id", parent_id)
    return Cause(trace_id, parent_id)


class _Done:
    """Awaited, it is over at once."""

    def __await__(self) -> Generator[None, None, None]:
        yield from ()
