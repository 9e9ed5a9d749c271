"""Fixtures of the faults: a bus, worker processes on it, Dendrites here, and a record of what was measured.

What a fault may cost is part of the promise, so here, and nowhere else, tests look at the clock.
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

_RECORDED: Final = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Begin the record."""
    config.stash[_RECORDED] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Show what each fault was measured to cost."""
    if config.stash[_RECORDED]:
        terminalreporter.section("what the faults cost")
        for line in config.stash[_RECORDED]:
            terminalreporter.line(line)


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Record:
    """Note a figure for the summary: what it is of, and how much."""

    def record(what: str, value: object) -> None:
        on = f" [{request.node.callspec.id}]" if hasattr(request.node, "callspec") else ""
        shown = f"{value:.3g}" if isinstance(value, float) else str(value)
        request.config.stash[_RECORDED].append(f"{what}{on}: {shown}")

    return record


@pytest.fixture
async def stack() -> AsyncIterator[contextlib.AsyncExitStack]:
    """What a test started ends with it, the last first."""
    async with contextlib.AsyncExitStack() as stack:
        yield stack


@pytest.fixture
async def bus(request: pytest.FixtureRequest, stack: contextlib.AsyncExitStack) -> Bus:
    """The bus that the test's parameter names: ``memory``, ``zmq``, ``nats`` or ``nats-durable``."""
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
    """Start a nats-server; where there is none, a user's machine skips the test and CI fails it."""
    try:
        return NatsServer.start(**options)
    except FileNotFoundError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


@pytest.fixture
def worker(bus: Bus, stack: contextlib.AsyncExitStack) -> Worker:
    """Start a worker process that hosts ``id=neuron`` of `tests.faults.neurons`; it is on the bus then."""

    async def worker(*arguments: str, ready: bool = True) -> Child:
        child = await Child.start(str(FOLDER / "worker.py"), bus.url, *arguments)
        stack.push_async_callback(child.kill)
        if ready:
            await child.says("^ready$")
        return child

    return worker


@pytest.fixture
def connect(bus: Bus, stack: contextlib.AsyncExitStack) -> Connect:
    """Connect a Synapse of its own to the bus."""

    async def connect() -> Synapse:
        synapse = await connect_synapse(bus.url)
        stack.push_async_callback(synapse.close)
        return synapse

    return connect


@pytest.fixture
def start(connect: Connect, stack: contextlib.AsyncExitStack) -> Start:
    """Start a Dendrite here, with a Synapse of its own, that hosts the given Axons."""

    async def start(*axons: Axon, synapse: Synapse | None = None, **options: Any) -> Dendrite:
        synapse = await connect() if synapse is None else synapse
        dendrite = Dendrite(synapse=synapse, namespace=NAMESPACE, **options)
        for axon in axons:
            dendrite.attach_axon(axon)
        return await stack.enter_async_context(dendrite)

    return start


@pytest.fixture
async def orchestrator(start: Start) -> Dendrite:
    """A Dendrite that asks."""
    return await start()
