"""The extension ``memory``: hosts Engrams, and gives Dendrites and Neurons ``recall`` and ``imprint``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from cosmo_core.contracts.axon import Axon
from cosmo_core.contracts.delivery import Undelivered
from cosmo_core.contracts.engram import Engram, EngramBinding, ImprintReceipt, RecallMode, RecallResult
from cosmo_core.contracts.records import EngramRecord
from cosmo_core.dendrite.dispatch.pathway_registry import Receive, Refuse
from cosmo_core.dendrite.extension import EntityHost, Extension, Ports
from cosmo_core.extensions.memory.client import Cause, EngramClient, Requests
from cosmo_core.extensions.memory.host import EngramHost
from cosmo_core.extensions.memory.injection import with_memory
from cosmo_core.protocol.signal import Signal, check_event_id, check_trace_id
from cosmo_core.protocol.signal_type import SignalType

if TYPE_CHECKING:
    from cosmo_core.plugins import NeuronWrapper

# Programs ask the same few Engrams again and again.
_binding = lru_cache(maxsize=1024)(EngramBinding)


class Memory(Extension):
    """Shared memory of one Dendrite; `Dendrite.recall` and its neighbours are the manual of the methods."""

    name = "memory"

    def __init__(self, ports: Ports) -> None:
        super().__init__(ports)
        self._directory, self._resolver = ports.open_directory("engram")
        self._host = EngramHost(ports)
        self._requests = Requests(ports, self._directory, self._resolver)
        self._client = EngramClient(self._requests, self._directory, self._resolver)
        self._arriving: set[asyncio.Task[None]] = set()

    # --- what it takes ------------------------------------------------------------------------------

    def receivers(self) -> Mapping[SignalType, Receive]:
        """Answers to its requests."""
        return dict.fromkeys((SignalType.RECALLED, SignalType.IMPRINTED), self._requests.receive)

    def refusals(self) -> Mapping[SignalType, Refuse]:
        """Answers that a middleware dropped."""
        return dict.fromkeys((SignalType.RECALLED, SignalType.IMPRINTED), self._requests.refuse)

    def undeliverables(self) -> Mapping[SignalType, Callable[[Signal, Undelivered], None]]:
        """Its requests that reached no host."""
        return dict.fromkeys((SignalType.RECALL, SignalType.IMPRINT), self._requests.undeliverable)

    def entity_hosts(self) -> Sequence[EntityHost]:
        """The attached Engrams are announced."""
        return (self._host,)

    def neuron_wrappers(self, axon: Axon) -> Sequence[NeuronWrapper]:
        """A Neuron whose Axon binds Engrams gets the keywords that it declares."""
        if not axon.engrams:
            return ()
        return (partial(with_memory, bindings=axon.engrams, memory=self._client),)

    async def trace_stopped(self, stop: Signal) -> Mapping[str, Any]:
        """Roll back what the trace wrote, if the STOP asks for it."""
        return await self._host.roll_back(stop.trace_id) if stop.payload["rollback"] else {}

    # --- life ---------------------------------------------------------------------------------------

    async def connect(self) -> None:
        """Serve the Neurons' threads from now on."""
        self._client.connect()

    async def start(self) -> None:
        """Open the Engrams and serve them."""
        if self._host:
            await self.ports.neurons.listen_for_stops()
        await self._host.start()

    async def stop(self) -> None:
        """Let the Engrams finish their requests, and close them."""
        await self._host.close()

    def close(self) -> None:
        """End the requests that still wait."""
        self._requests.close()

    # --- hosting ------------------------------------------------------------------------------------

    def attach_engram(self, engram: Engram) -> Awaitable[None]:
        """See `Dendrite.attach_engram`."""
        if not self.ports.life_cycle.started:
            self._host.attach(engram)
            return _Done()
        self.ports.life_cycle.check_stable()
        self._host.attach(engram)
        arrival = asyncio.create_task(self._serve(engram))
        self._arriving.add(arrival)
        arrival.add_done_callback(self._arriving.discard)
        return arrival

    async def _serve(self, engram: Engram) -> None:
        await self.ports.neurons.listen_for_stops()
        await self._host.serve(engram.engram_id)
        await self.ports.register(self._host.entity(engram))

    async def detach_engram(self, engram_id: str, reason: str | None) -> None:
        """See `Dendrite.detach_engram`."""
        self.ports.life_cycle.check_stable()
        entity = self._host.entity(self._host.served(engram_id))
        await self.ports.withdraw(entity)
        try:
            await self._host.detach(engram_id)
        finally:
            await self.ports.deregister(entity, reason)

    @property
    def engrams(self) -> list[Engram]:
        """The attached Engrams."""
        return self._host.attached()

    def find_engrams(self, kind: str | None) -> list[EngramRecord]:
        """See `Dendrite.find_engrams`."""
        return [
            EngramRecord(
                record.neuron_id, record.capabilities[0] if record.capabilities else "", record.dendrite
            )
            for record in self._directory.records(kind)
        ]

    async def wait_until_ready(self, engram: str, timeout_s: float) -> None:
        """Return when a live Engram could answer; see `Dendrite.wait_until_ready`."""
        await self._resolver.wait_until_ready(engram, (), timeout_s)

    # --- asking -------------------------------------------------------------------------------------

    async def recall(
        self,
        engram: str | None,
        query: Mapping[str, Any],
        kind: str | None,
        mode: RecallMode,
        timeout_s: float,
        trace_id: str | None,
        parent_id: str | None,
    ) -> RecallResult:
        """See `Dendrite.recall`."""
        binding = self._bound(engram, kind)
        return await self._client.recall(binding, query, mode, timeout_s, _cause(trace_id, parent_id))

    async def imprint(
        self,
        engram: str,
        op: str,
        entry: Mapping[str, Any] | None,
        merge_key: str | None,
        imprint_id: str | None,
        timeout_s: float,
        trace_id: str | None,
        parent_id: str | None,
    ) -> ImprintReceipt:
        """See `Dendrite.imprint`."""
        binding, cause = self._bound(engram, None), _cause(trace_id, parent_id)
        return await self._client.imprint(binding, op, entry, merge_key, imprint_id, timeout_s, cause)

    def _bound(self, engram: str | None, kind: str | None) -> EngramBinding:
        self.ports.life_cycle.check_running()
        if (engram is None) == (kind is None):
            raise TypeError("pass the id of one Engram, or the kind of all that are asked: one of the two")
        return _binding(engram or kind or "", engram, directed_type=kind)


def _cause(trace_id: str | None, parent_id: str | None) -> Cause:
    if trace_id is not None:
        check_trace_id(trace_id)
    if parent_id is not None:
        check_event_id("parent_id", parent_id)
    return Cause(trace_id, parent_id)


class _Done:
    """An awaitable that has completed."""

    def __await__(self) -> Generator[None, None, None]:
        yield from ()
