"""Fixtures of the fault tests: a bus, worker processes, local Dendrites, and a record of measurements.

The time that a fault may cost is part of the guarantees. So these tests, and no others, measure time.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import pytest

from cosmo_core import Axon, Dendrite, Synapse, connect_synapse
from cosmo_synapse_nats.testing import NatsServer
from tests.faults.buses import ACK_WAIT_S, Bus, InProcess, Nats, ZmqHub
from tests.faults.processes import FOLDER, Child

NAMESPACE: Final = "faults"

Worker = Callable[..., Awaitable[Child]]
Connect = Callable[[], Awaitable[Synapse]]
Start = Callable[..., Awaitable[Dendrite]]
Record = Callable[[str, object], None]

_MEASURED: Final = "measured"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the recorded measurements, those of other processes included."""
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    properties = [each for report in reports for each in getattr(report, "user_properties", ())]
    if lines := dict.fromkeys(str(value) for name, value in properties if name == _MEASURED):
        terminalreporter.section("measurements of the faults")
        for line in lines:
            terminalreporter.line(line)


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Record:
    """Record a measurement for the summary: its name and its value."""

    def record(what: str, value: object) -> None:
        on = f" [{request.node.callspec.id}]" if hasattr(request.node, "callspec") else ""
        shown = f"{value:.3g}" if isinstance(value, float) else str(value)
        request.node.user_properties.append((_MEASURED, f"{what}{on}: {shown}"))

    return record


@pytest.fixture
async def stack() -> AsyncIterator[contextlib.AsyncExitStack]:
    """A stack that stops everything the test started, in reverse order."""
    async with contextlib.AsyncExitStack() as stack:
        yield stack


@pytest.fixture
async def bus(request: pytest.FixtureRequest, stack: contextlib.AsyncExitStack) -> Bus:
    """The bus named by the test's parameter: ``memory``, ``zmq``, ``nats`` or ``nats-durable``."""
    if request.param == "memory":
        return InProcess("memory", f"memory://{uuid.uuid4().hex}")
    if request.param == "zmq":
        hub = ZmqHub()
        await hub.restart()
        stack.push_async_callback(hub.kill)
        return hub
    durable = request.param == "nats-durable"
    server = stack.enter_context(nats_server(jetstream=durable))
    return Nats(server, request.param, f"?durable=true&ack_wait_s={ACK_WAIT_S}" if durable else "")


def nats_server(**options: Any) -> NatsServer:
    """Start a nats-server. If it is not installed, skip the test; in CI, fail."""
    try:
        return NatsServer.start(**options)
    except FileNotFoundError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


@pytest.fixture
def worker(bus: Bus, stack: contextlib.AsyncExitStack) -> Worker:
    """Start a worker process that hosts ``id=neuron`` of `tests.faults.neurons`; wait until it is ready."""

    async def worker(*arguments: str, ready: bool = True) -> Child:
        child = await Child.start(str(FOLDER / "worker.py"), bus.url, *arguments)
        stack.push_async_callback(child.kill)
        if ready:
            await child.wait_for_line("^ready$")
        return child

    return worker


@pytest.fixture
def connect(bus: Bus, stack: contextlib.AsyncExitStack) -> Connect:
    """Connect a new Synapse to the bus."""

    async def connect() -> Synapse:
        synapse = await connect_synapse(bus.url)
        stack.push_async_callback(synapse.close)
        return synapse

    return connect


@pytest.fixture
def start(connect: Connect, stack: contextlib.AsyncExitStack) -> Start:
    """Start a Dendrite in this process, with a new Synapse, that hosts the given Axons."""

    async def start(*axons: Axon, synapse: Synapse | None = None, **options: Any) -> Dendrite:
        synapse = await connect() if synapse is None else synapse
        dendrite = Dendrite(synapse=synapse, namespace=NAMESPACE, **options)
        for axon in axons:
            dendrite.attach_axon(axon)
        return await stack.enter_async_context(dendrite)

    return start


@pytest.fixture
async def orchestrator(start: Start) -> Dendrite:
    """A Dendrite that dispatches TASKs."""
    return await start()
