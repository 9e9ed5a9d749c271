"""A bus for the checks: it carries frames inside one event loop, and keeps a copy of each."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from cosmo_core.contracts.axon import Axon
from cosmo_core.contracts.delivery import Guarantees
from cosmo_core.dendrite import Dendrite
from cosmo_core.plugins import PluginManager
from cosmo_core.routing import SubjectTable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cosmo_core.contracts.delivery import FrameHandler, UndeliveredHandler
    from cosmo_testing.sources.scenario import Scenario
    from cosmo_testing.sources.subject import SourceUnderTest

NEURON_ID = "under-test"
"""The id of the hosted Neuron."""


class _Member:
    dropped = 0

    def __init__(self, table: SubjectTable[_Member], pattern: str, handler: FrameHandler) -> None:
        self.handler = handler
        self._table = table
        self._pattern = pattern

    async def unsubscribe(self) -> None:
        self._table.remove(self._pattern, self)


class RecordingBus:
    """A Synapse without limits, for the few Signals of one check.

    Attributes:
        frames: Every frame that was published, oldest first.
    """

    guarantees = Guarantees()

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self._table: SubjectTable[_Member] = SubjectTable()
        self._working: set[asyncio.Future[None]] = set()

    async def connect(self) -> None:
        """There is nothing to connect."""

    async def close(self) -> None:
        """Wait for the handlers that still work."""
        await asyncio.gather(*self._working)

    async def publish(
        self,
        subject: str,
        frame: bytes,
        *,
        undelivered: UndeliveredHandler | None = None,
        message_id: str | None = None,
    ) -> None:
        """Keep the frame, and hand it to whoever subscribes to ``subject``."""
        self.frames.append(frame)
        route = self._table.route(subject)
        if undelivered is not None and not (route.groups or route.targets):
            undelivered(frame, "no_consumers")
        for member in (*route.targets, *(group.pick() for group in route.groups)):
            work = member.handler(frame)
            if work is not None:
                future = asyncio.ensure_future(work)
                self._working.add(future)
                future.add_done_callback(self._working.discard)

    async def subscribe(
        self, pattern: str, handler: FrameHandler, *, queue_group: str | None = None
    ) -> _Member:
        """Call ``handler`` with every frame that matches ``pattern``."""
        member = _Member(self._table, pattern, handler)
        self._table.add(pattern, member, queue_group)
        return member


@asynccontextmanager
async def hosted(
    source: SourceUnderTest, scenario: Scenario, options: dict[str, Any]
) -> AsyncIterator[tuple[Dendrite, RecordingBus]]:
    """Make a Neuron, host it as `NEURON_ID` in one Dendrite, and give another one to ask it from.

    No installed hook takes part. Its host closes the Neuron, when nobody is kept waiting any more.
    """
    bus = RecordingBus()
    worker = Dendrite(synapse=bus, role="worker", plugins=PluginManager(environ={}))
    worker.attach_axon(Axon(neuron_id=NEURON_ID, neuron_fn=source.neuron(**options)))
    orchestrator = Dendrite(synapse=bus, plugins=PluginManager(environ={}))
    async with worker, orchestrator:
        try:
            yield orchestrator, bus
        finally:
            scenario.end()
    await bus.close()
