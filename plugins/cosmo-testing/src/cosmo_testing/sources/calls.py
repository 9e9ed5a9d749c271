"""How the checks make Neurons, call them, and host them on a Dendrite."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

from cosmo_core.contracts.axon import Axon
from cosmo_core.contracts.delivery import FrameHandler, Guarantees, UndeliveredHandler
from cosmo_core.contracts.neuron import NeuronFn, is_streaming
from cosmo_core.dendrite import Dendrite
from cosmo_core.errors import NeuronError, UnencodableError
from cosmo_core.plugins import PluginManager
from cosmo_core.protocol.signal import Signal, decode, encode
from cosmo_core.protocol.signal_type import SignalType
from cosmo_core.routing import SubjectTable
from cosmo_testing.conformance.steps import UnmetError, bounded, need
from cosmo_testing.sources.provider import Scenario
from cosmo_testing.sources.subject import SourceUnderTest


@asynccontextmanager
async def provided(
    source: SourceUnderTest, fault: str | None = None
) -> AsyncIterator[tuple[Scenario, dict[str, Any]]]:
    """Run the provider; yield it and the options of a Neuron that is connected to it."""
    scenario = Scenario(fault, words=f"it broke on {' '.join(source.secret_texts())}")
    async with source.provider(scenario) as connected:
        lost = sorted(connected.keys() & source.secrets.keys())
        need(not lost, f"provider() replaces the secrets in {', '.join(lost)}: put both values into secrets")
        try:
            yield scenario, {**source.options, **source.secrets, **connected}
        finally:
            scenario.end()


@asynccontextmanager
async def made(
    source: SourceUnderTest, scenario: Scenario, options: dict[str, Any]
) -> AsyncIterator[NeuronFn]:
    """Make a Neuron; at the end, release the provider's calls and close the Neuron."""
    neuron = source.neuron(**options)
    try:
        yield neuron
    finally:
        scenario.end()
        await close(neuron)


@asynccontextmanager
async def running(
    source: SourceUnderTest, fault: str | None = None
) -> AsyncIterator[tuple[NeuronFn, Scenario]]:
    """Run the provider with a Neuron that is connected to it."""
    async with provided(source, fault) as (scenario, options), made(source, scenario, options) as neuron:
        yield neuron, scenario


async def close(neuron: NeuronFn) -> None:
    """Close a Neuron, if it has `aclose`."""
    aclose = getattr(neuron, "aclose", None)
    if aclose is not None:
        await bounded("aclose()", aclose())


async def items_of(neuron: NeuronFn, input: dict[str, Any], context: list[Any] | None = None) -> list[Any]:
    """Call a Neuron; return all the items that it yields, or the one that it returns."""
    return await bounded("the call", _items(neuron, input, [] if context is None else context))


async def output_of(neuron: NeuronFn, input: dict[str, Any]) -> Any:
    """Call a Neuron; return its output.

    Raises:
        UnmetError: The stream was empty.
    """
    items = await items_of(neuron, input)
    need(bool(items), "the stream ended without an output")
    return items[-1]


async def _items(neuron: NeuronFn, input: dict[str, Any], context: list[Any]) -> list[Any]:
    if not is_streaming(neuron):
        return [await neuron(input, context)]
    async with aclosing(neuron(input, context)) as stream:
        return [item async for item in stream]


async def error_of(neuron: NeuronFn, input: dict[str, Any]) -> NeuronError:
    """Call a Neuron that must fail; return its error.

    Raises:
        UnmetError: The call did not fail, or raised another exception.
    """
    try:
        await items_of(neuron, input)
    except NeuronError as error:
        return error
    except UnmetError:
        raise
    except Exception as error:
        raise UnmetError(f"the call raised {type(error).__name__} and not NeuronError: {error}") from error
    raise UnmetError("the call returned an answer instead of failing")


def need_transportable(output: Any) -> None:
    """Check that an output arrives over the bus as it was returned.

    Raises:
        UnmetError: The output is not an object, or JSON changes it.
    """
    need(isinstance(output, dict), f"the output is a {type(output).__name__}, not an object")
    signal = Signal.new(SignalType.AGENT_OUTPUT, {"output": output})
    try:
        arrived = decode(encode(signal)).payload["output"]
    except UnencodableError as error:
        raise UnmetError(f"JSON cannot encode {output!r}") from error
    need(arrived == output, f"the Neuron returned {output!r}, and {arrived!r} arrives")


NEURON_ID = "under-test"
"""The id of the hosted Neuron."""


class _Member:
    dropped = 0

    def __init__(
        self, table: SubjectTable[_Member], pattern: str, handler: FrameHandler, queue_group: str | None
    ) -> None:
        self.handler = handler
        self._table = table
        self._pattern = pattern
        self._queue_group = queue_group
        table.add(pattern, self, queue_group)

    async def unsubscribe(self) -> None:
        self._table.remove(self._pattern, self, self._queue_group)


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
        """Do nothing: there is no connection."""

    async def close(self) -> None:
        """Wait for running handlers."""
        await asyncio.gather(*self._working)

    async def publish(
        self,
        subject: str,
        frame: bytes,
        *,
        undelivered: UndeliveredHandler | None = None,
        message_id: str | None = None,
    ) -> None:
        """Record the frame, and call the handlers that subscribe to ``subject``."""
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
        return _Member(self._table, pattern, handler, queue_group)


@asynccontextmanager
async def hosted(
    source: SourceUnderTest, scenario: Scenario, options: dict[str, Any]
) -> AsyncIterator[tuple[Dendrite, RecordingBus]]:
    """Make a Neuron, host it as `NEURON_ID` on one Dendrite, and yield another Dendrite as the caller.

    Installed hooks are not used. At the end, the host closes the Neuron.
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
