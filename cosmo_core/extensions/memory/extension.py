"""The extension ``memory``: hosts Engrams, and gives Dendrites and Neurons ``recall`` and ``imprint``."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from cosmo_core.contracts.axon import Axon
from cosmo_core.contracts.boundary import logged_failures
from cosmo_core.contracts.delivery import Undelivered
from cosmo_core.contracts.engram import Engram, EngramBinding, EngramRecord
from cosmo_core.dendrite.dispatch.pathway_registry import Receive, Refuse
from cosmo_core.dendrite.extension import EntityHost, Extension, Ports
from cosmo_core.extensions.memory.client import Cause, EngramClient, Requests, with_memory
from cosmo_core.extensions.memory.host import EngramHost
from cosmo_core.protocol.signal import Signal, check_event_id, check_trace_id
from cosmo_core.protocol.signal_type import SignalType

if TYPE_CHECKING:
    from cosmo_core.plugins import NeuronWrapper


# Cached: a program calls the same few Engrams many times.
_binding = lru_cache(maxsize=1024)(EngramBinding)


class Memory(Extension):
    """The shared memory of one Dendrite; `Dendrite` documents the methods that it delegates to."""

    name = "memory"

    def __init__(self, ports: Ports) -> None:
        super().__init__(ports)
        self._directory, self._resolver = ports.open_directory("engram")
        self._host = EngramHost(ports)
        self._requests = Requests(ports, self._directory, self._resolver)
        self._serving: set[asyncio.Task[None]] = set()

    # --- what it handles ----------------------------------------------------------------------------

    def receivers(self) -> Mapping[SignalType, Receive]:
        """Receive the answers to its requests."""
        return dict.fromkeys((SignalType.RECALLED, SignalType.IMPRINTED), self._requests.receive)

    def refusals(self) -> Mapping[SignalType, Refuse]:
        """Fail a request whose answer a middleware dropped."""
        return dict.fromkeys((SignalType.RECALLED, SignalType.IMPRINTED), self._requests.refuse)

    def undeliverables(self) -> Mapping[SignalType, Callable[[Signal, Undelivered], None]]:
        """Fail a request that could not be delivered."""
        return dict.fromkeys((SignalType.RECALL, SignalType.IMPRINT), self._requests.undeliverable)

    def entity_hosts(self) -> Sequence[EntityHost]:
        """Announce the attached Engrams."""
        return (self._host,)

    def neuron_wrappers(self, axon: Axon) -> Sequence[NeuronWrapper]:
        """Give a Neuron whose Axon binds Engrams the keywords that it declares."""
        if not axon.engrams:
            return ()
        run = self.ports.life_cycle.run_from_thread
        return (partial(with_memory, bindings=axon.engrams, requests=self._requests, run=run),)

    async def trace_stopped(self, stop: Signal) -> Mapping[str, Any]:
        """Roll back the writes of the trace, if the STOP asks for it."""
        return await self._host.roll_back(stop.trace_id) if stop.payload["rollback"] else {}

    # --- life ---------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the Engrams and serve them."""
        if self._host:
            await self.ports.neurons.listen_for_stops()
        await self._host.start()

    async def stop(self) -> None:
        """Let the Engrams finish their requests, and close them."""
        for serving in self._serving:
            serving.cancel()
        if self._serving:
            await asyncio.wait(self._serving)
        await self._host.close()

    def close(self) -> None:
        """Fail the requests that wait for an answer."""
        self._requests.close()

    # --- hosting ------------------------------------------------------------------------------------

    def attach_engram(self, engram: Engram) -> Awaitable[None]:
        """See `Dendrite.attach_engram`."""
        if not self.ports.life_cycle.started:
            self._host.attach(engram)
            return _Done()
        self.ports.life_cycle.check_stable()
        self._host.attach(engram)
        serving = asyncio.create_task(self._serve(engram))
        self._serving.add(serving)
        # A task that is cancelled before it begins runs no code of its own.
        serving.add_done_callback(lambda _: self._host.undo_attach(engram))
        serving.add_done_callback(self._serving.discard)
        return serving

    async def _serve(self, engram: Engram) -> None:
        await self.ports.neurons.listen_for_stops()
        await self._host.serve(engram.engram_id)
        try:
            await self.ports.register(self._host.entity(engram))
        except BaseException:
            await self._undo_attach(engram)
            raise

    async def _undo_attach(self, engram: Engram) -> None:
        with logged_failures("%r could not be announced, and not be detached cleanly", engram):
            # Otherwise it is closed already, by a stop or by `detach_engram`.
            if self._host.accepts(engram) and not self.ports.life_cycle.stopping:
                await self.detach_engram(engram.engram_id, "it could not be announced")

    async def detach_engram(self, engram_id: str, reason: str | None) -> None:
        """See `Dendrite.detach_engram`."""
        self.ports.life_cycle.check_stable()
        entity = self._host.entity(self._host.retire(engram_id))
        async with contextlib.AsyncExitStack() as stack:
            # Executed in reverse order, also when a step fails or the caller is cancelled.
            stack.push_async_callback(self.ports.deregister, entity, reason)
            stack.push_async_callback(self._host.detach, engram_id)
            await self.ports.withdraw(entity)

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
            for record in self._resolver.records(kind)
        ]

    async def wait_until_ready(self, engram: str, timeout_s: float | None) -> None:
        """Return when an Engram is live; see `Dendrite.wait_until_ready`."""
        await self._resolver.wait_until_ready(engram, (), timeout_s)

    # --- calling ------------------------------------------------------------------------------------

    def client(
        self, engram: str | None, kind: str | None, trace_id: str | None, parent_id: str | None
    ) -> EngramClient:
        """Return a client for one call to an Engram, or to all of a kind, by that name.

        Raises:
            LifecycleError: The Dendrite is not running.
            TypeError: Both an id and a kind are given, or neither.
            MalformedSignalError: The name, the trace or the parent is malformed.
        """
        self.ports.life_cycle.check_running()
        if (engram is None) == (kind is None):
            raise TypeError("pass either the id of one Engram, or a kind")
        binding = _binding(engram or kind or "", engram, directed_type=kind)
        if trace_id is not None:
            check_trace_id(trace_id)
        if parent_id is not None:
            check_event_id("parent_id", parent_id)
        cause = Cause(trace_id, parent_id)
        return EngramClient(self._requests, {binding.name: binding}, lambda: cause)


class _Done:
    """An awaitable that has completed."""

    def __await__(self) -> Generator[None, None, None]:
        yield from ()
